//! The mounts of a container: every source settled, volumes made.

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{Mount, MountPoint};
use crate::options::{Intent, mounts::Volume};

use super::naming;

/// Mount points of the user's flags, of `--volumes-from`, and of the image's
/// VOLUMEs, in that order of right; and the names of the volumes made for them.
pub fn settle(
    host: &Host,
    intent: &Intent,
    from: &[String],
    image_volumes: &[String],
    made: &mut Vec<String>,
) -> Result<Vec<MountPoint>> {
    let mut points: Vec<MountPoint> = Vec::new();
    for volume in &intent.volumes {
        points.push(of_volume(host, volume, made)?);
    }
    for mount in &intent.host_config.mounts {
        points.push(of_mount(host, mount, made)?);
    }
    for (path, options) in &intent.host_config.tmpfs {
        points.push(MountPoint {
            kind: "tmpfs".into(),
            destination: path.clone(),
            mode: options.clone(),
            rw: !options.split(',').any(|o| o == "ro"),
            ..MountPoint::default()
        });
    }
    for text in from {
        for point in of_container(host, text)? {
            if !points.iter().any(|p| p.destination == point.destination) {
                points.push(point);
            }
        }
    }
    for path in image_volumes {
        let target = crate::options::mounts::clean(path);
        harmless(&target)?;
        if !points.iter().any(|p| p.destination == target) {
            points.push(named(host, None, &target, true, false, made)?);
        }
    }
    Ok(points)
}

/// CVE-2019-16884: an image's VOLUME over /proc would give the runtime false files
/// to write its labels to; one over / or /dev would hide what the container stands on.
fn harmless(target: &str) -> Result<()> {
    let over = |dir: &str| {
        target.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if target == "/" || ["/proc", "/sys", "/dev"].into_iter().any(over) {
        return Err(Error::usage(format!(
            "the image asks for a volume at {target}, which is the system's; don't trust it"
        )));
    }
    Ok(())
}

fn of_volume(host: &Host, volume: &Volume, made: &mut Vec<String>) -> Result<MountPoint> {
    let source = volume.source.clone().unwrap_or_default();
    if !volume.is_bind() {
        let name = volume.source.as_deref();
        let mut point = named(host, name, &volume.target, !volume.read_only, volume.no_copy, made)?;
        point.mode.clone_from(&volume.mode);
        return Ok(point);
    }
    // As docker: `-v` makes a directory of a source that isn't there; `--mount` refuses.
    if std::fs::symlink_metadata(&source).is_err() {
        std::fs::create_dir_all(&source)
            .map_err(|e| Error::io("--volume: create", source.as_ref(), e))?;
    }
    Ok(bind(&source, &volume.target, &volume.mode, !volume.read_only, &volume.propagation))
}

fn bind(source: &str, target: &str, mode: &str, rw: bool, propagation: &str) -> MountPoint {
    let propagation = if propagation.is_empty() { "rprivate" } else { propagation };
    MountPoint {
        kind: "bind".into(),
        source: source.to_owned(),
        destination: target.to_owned(),
        mode: mode.to_owned(),
        rw,
        propagation: propagation.to_owned(),
        ..MountPoint::default()
    }
}

fn named(
    host: &Host,
    name: Option<&str>,
    target: &str,
    rw: bool,
    no_copy: bool,
    made: &mut Vec<String>,
) -> Result<MountPoint> {
    let fresh = naming::id()?;
    let volume = host.volumes.ensure(name.unwrap_or(&fresh))?;
    if name.is_none() {
        made.push(volume.name.clone());
    }
    Ok(MountPoint {
        kind: "volume".into(),
        source: volume.data.display().to_string(),
        name: volume.name,
        destination: target.to_owned(),
        driver: "local".into(),
        mode: String::new(),
        rw,
        propagation: String::new(),
        anonymous: name.is_none(),
        copy_up: !no_copy,
    })
}

fn of_mount(host: &Host, mount: &Mount, made: &mut Vec<String>) -> Result<MountPoint> {
    let rw = !mount.read_only;
    match mount.kind.as_str() {
        "bind" => {
            let options = mount.bind_options.clone().unwrap_or_default();
            if std::fs::symlink_metadata(&mount.source).is_err() {
                if !options.create_mountpoint {
                    return Err(Error::usage(format!(
                        "--mount: bind source path does not exist: {}; make it, or add bind-create-src",
                        mount.source
                    )));
                }
                std::fs::create_dir_all(&mount.source)
                    .map_err(|e| Error::io("--mount: create", mount.source.as_ref(), e))?;
            }
            let mode = if options.non_recursive { "norecurse" } else { "" };
            Ok(bind(&mount.source, &mount.target, mode, rw, &options.propagation))
        }
        "tmpfs" => {
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            let mut words = Vec::new();
            if options.size_bytes != 0 {
                words.push(format!("size={}", options.size_bytes));
            }
            if options.mode != 0 {
                words.push(format!("mode={:o}", options.mode));
            }
            if !rw {
                words.push("ro".to_owned());
            }
            Ok(MountPoint {
                kind: "tmpfs".into(),
                destination: mount.target.clone(),
                mode: words.join(","),
                rw,
                ..MountPoint::default()
            })
        }
        _ => {
            let name = Some(mount.source.as_str()).filter(|s| !s.is_empty());
            let no_copy = mount.volume_options.as_ref().is_some_and(|o| o.no_copy);
            named(host, name, &mount.target, rw, no_copy, made)
        }
    }
}

/// `CONTAINER[:ro|rw]`
fn of_container(host: &Host, text: &str) -> Result<Vec<MountPoint>> {
    let (name, mode) = text.split_once(':').unwrap_or((text, "rw"));
    if !matches!(mode, "ro" | "rw" | "z" | "Z") {
        return Err(Error::usage(format!("--volumes-from \"{text}\": use CONTAINER[:ro]")));
    }
    let other = host.containers.find(name)?;
    let points = other.record.mounts.into_iter().filter(|p| p.kind != "tmpfs");
    Ok(points.map(|p| MountPoint { rw: p.rw && mode != "ro", anonymous: false, ..p }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_volume_never_covers_the_systems_directories() {
        for bad in ["/", "/proc", "/proc/self/attr", "/sys", "/dev/shm"] {
            assert!(harmless(bad).is_err(), "{bad}");
        }
        for good in ["/data", "/processes", "/var/lib/x"] {
            assert!(harmless(good).is_ok(), "{good}");
        }
    }
}
