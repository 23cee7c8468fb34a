//! The mounts of a container: every source settled, volumes made.

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{Depth, Mount, MountPoint};
use crate::options::Intent;
use crate::options::mounts::{Volume, from};
use crate::store::VolumeSpec;

use super::naming;

/// Mount points by docker's order of right: `-v` with a source, `--mount` and `--tmpfs`; then
/// `--volumes-from`, the last of which wins; then `-v PATH` and the image's VOLUMEs. And the
/// names of the volumes made for them.
pub fn settle(
    host: &Host,
    intent: &Intent,
    image_volumes: &[String],
    made: &mut Vec<String>,
) -> Result<Vec<MountPoint>> {
    let mut points: Vec<MountPoint> = Vec::new();
    let driver = &intent.host_config.volume_driver;
    for volume in intent.volumes.iter().filter(|v| v.source.is_some()) {
        points.push(of_volume(host, volume, driver, made)?);
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
    for text in intent.host_config.volumes_from.iter().flatten().rev() {
        for point in of_container(host, text)? {
            add(&mut points, point);
        }
    }
    let free =
        |points: &[MountPoint], target: &str| !points.iter().any(|p| p.destination == target);
    for volume in intent.volumes.iter().filter(|v| v.source.is_none()) {
        if free(&points, &volume.target) {
            points.push(of_volume(host, volume, driver, made)?);
        }
    }
    for path in image_volumes {
        let target = crate::options::mounts::clean(path);
        harmless(&target)?;
        if free(&points, &target) {
            points.push(named(host, None, &target, &VolumeSpec::default(), made)?);
        }
    }
    Ok(points)
}

/// Adds `point` where nothing is mounted yet.
fn add(points: &mut Vec<MountPoint>, point: MountPoint) {
    if !points.iter().any(|p| p.destination == point.destination) {
        points.push(point);
    }
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

fn of_volume(
    host: &Host,
    volume: &Volume,
    driver: &str,
    made: &mut Vec<String>,
) -> Result<MountPoint> {
    let rw = !volume.read_only;
    let mode = volume.mode.clone();
    let Some(source) = volume.source.as_deref() else {
        return Ok(MountPoint {
            mode,
            rw,
            ..named(host, None, &volume.target, &VolumeSpec::default(), made)?
        });
    };
    if !volume.is_bind() {
        crate::options::mounts::local_driver("--volume-driver", driver)?;
        let copy_up = !volume.no_copy;
        let point = named(host, Some(source), &volume.target, &VolumeSpec::default(), made)?;
        return Ok(MountPoint {
            mode: if mode.is_empty() { "z".into() } else { mode },
            rw,
            copy_up,
            ..point
        });
    }
    // As docker: `-v` makes a directory of a source that isn't there at the start; `--mount` refuses.
    Ok(MountPoint {
        mode,
        rw,
        make_source: true,
        ..bind(source, &volume.target, &volume.propagation)
    })
}

fn bind(source: &str, target: &str, propagation: &str) -> MountPoint {
    let propagation = if propagation.is_empty() { "rprivate" } else { propagation };
    MountPoint {
        kind: "bind".into(),
        source: source.to_owned(),
        destination: target.to_owned(),
        propagation: propagation.to_owned(),
        ..MountPoint::default()
    }
}

/// A volume; without a name, one for this container alone.
fn named(
    host: &Host,
    name: Option<&str>,
    target: &str,
    spec: &VolumeSpec,
    made: &mut Vec<String>,
) -> Result<MountPoint> {
    let fresh = naming::id()?;
    let volume = host.volumes.create(name.unwrap_or(&fresh), spec)?;
    // As docker, a failure leaves a named volume: another container may have it by now.
    if name.is_none() {
        made.push(volume.name.clone());
    }
    Ok(MountPoint {
        kind: "volume".into(),
        source: volume.data.display().to_string(),
        name: volume.name,
        destination: target.to_owned(),
        driver: "local".into(),
        mounted: !volume.spec.options.is_empty(),
        rw: true,
        anonymous: name.is_none(),
        copy_up: true,
        ..MountPoint::default()
    })
}

fn of_mount(host: &Host, mount: &Mount, made: &mut Vec<String>) -> Result<MountPoint> {
    let rw = !mount.read_only;
    match mount.kind.as_str() {
        "bind" => of_bind(mount),
        "tmpfs" => {
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            let mut words = Vec::new();
            if !rw {
                words.push("ro".to_owned());
            }
            if options.mode != 0 {
                words.push(format!("mode={:o}", options.mode));
            }
            if options.size_bytes != 0 {
                words.push(format!("size={}", options.size_bytes));
            }
            Ok(MountPoint {
                kind: "tmpfs".into(),
                destination: mount.target.clone(),
                mode: words.join(","),
                rw,
                ..MountPoint::default()
            })
        }
        "image" => of_image(host, mount),
        _ => {
            let name = Some(mount.source.as_str()).filter(|s| !s.is_empty());
            let options = mount.volume_options.clone().unwrap_or_default();
            let driver = options.driver_config.unwrap_or_default();
            let spec = VolumeSpec { labels: options.labels, options: driver.options };
            let point = named(host, name, &mount.target, &spec, made)?;
            let copy_up = !options.no_copy;
            Ok(MountPoint { mode: "z".into(), rw, copy_up, subpath: options.subpath, ..point })
        }
    }
}

fn of_bind(mount: &Mount) -> Result<MountPoint> {
    let options = mount.bind_options.clone().unwrap_or_default();
    let make_source = options.create_mountpoint;
    if !make_source && std::fs::symlink_metadata(&mount.source).is_err() {
        return Err(Error::conflict(format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {}; \
             make it, or add bind-create-src",
            mount.source
        )));
    }
    let depth = if options.non_recursive {
        Depth::Alone
    } else if options.read_only_non_recursive {
        Depth::Writable
    } else if options.read_only_force_recursive {
        Depth::Forced
    } else {
        Depth::Usual
    };
    let point = bind(&mount.source, &mount.target, &options.propagation);
    Ok(MountPoint { rw: !mount.read_only, depth, make_source, ..point })
}

/// An image's files, read-only; it must be there already, as docker has it.
fn of_image(host: &Host, mount: &Mount) -> Result<MountPoint> {
    let image = super::image::local(host.images()?, &mount.source)?;
    Ok(MountPoint {
        kind: "image".into(),
        name: mount.source.clone(),
        source: image.id().to_string(),
        destination: mount.target.clone(),
        propagation: "rprivate".into(),
        subpath: mount.image_options.clone().unwrap_or_default().subpath,
        layers: super::image::layers(host, &image)?,
        ..MountPoint::default()
    })
}

/// `CONTAINER[:ro|rw]`
fn of_container(host: &Host, text: &str) -> Result<Vec<MountPoint>> {
    let (name, rw) = from(text)?;
    let other = host.containers.find(name)?;
    // docker fills volumes when a container is made: one that never ran has the say here.
    let unborn = other.state.started_at.is_none();
    let image = other.record.layers;
    let points = other.record.mounts.into_iter().filter(|p| p.kind != "tmpfs");
    let taken = points.map(|p| {
        let first = unborn && p.copy_up && p.layers.is_empty();
        let layers = if first { image.clone() } else { p.layers };
        MountPoint { rw: p.rw && rw, layers, ..p }
    });
    Ok(taken.collect())
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
