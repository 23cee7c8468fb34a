//! `--mount`.

use std::collections::BTreeMap;
use std::path::Path;

use dhow_image::amount;

use super::{PROPAGATION, clean, csv, is_local, target};
use crate::error::{Error, Result};
use crate::model::{BindOptions, Driver, ImageOptions, Mount, TmpfsOptions, VolumeOptions};

/// `type=bind|volume|tmpfs|image,src=…,dst=…[,…]`, fields in CSV as docker has them.
pub fn mount(text: &str, cwd: &Path) -> Result<Mount> {
    let bad = |why: String| Error::argument("--mount", text, &why);
    if text.trim().is_empty() {
        return Err(bad("EOF".into()));
    }
    let mut mount = Mount { kind: "volume".into(), ..Mount::default() };
    for field in csv(text.trim()).map_err(bad)? {
        let (key, value) = pair(&field).map_err(bad)?;
        set(&mut mount, &field, &key, value, cwd).map_err(bad)?;
    }
    alone(&mount).map_err(bad)?;
    check(&mut mount).map_err(|why| {
        Error::conflict(format!("invalid mount config for type \"{}\": {why}", mount.kind))
    })?;
    Ok(mount)
}

/// Keys that say something without a value.
const SWITCHES: [&str; 5] =
    ["readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"];

fn pair(field: &str) -> Result<(String, Option<&str>), String> {
    let (key, value) = field.split_once('=').map_or((field, None), |(k, v)| (k, Some(v)));
    let key = key.to_ascii_lowercase();
    if value.is_none() && !SWITCHES.contains(&key.as_str()) {
        return Err(format!("invalid field '{field}' must be a key=value pair"));
    }
    Ok((key, value))
}

fn set(
    mount: &mut Mount,
    field: &str,
    key: &str,
    given: Option<&str>,
    cwd: &Path,
) -> Result<(), String> {
    let value = given.unwrap_or_default();
    match key {
        "type" => mount.kind = value.to_ascii_lowercase(),
        "source" | "src" => mount.source = source(value, cwd)?,
        "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
        "readonly" | "ro" => mount.read_only = truth(key, given)?,
        "consistency" => mount.consistency = value.to_ascii_lowercase(),
        _ if key.starts_with("bind-") => {
            return of_bind(mount.bind_options.get_or_insert_default(), field, key, given);
        }
        _ if key.starts_with("volume-") => {
            return of_volume(mount.volume_options.get_or_insert_default(), field, key, given);
        }
        "image-subpath" => {
            mount.image_options = Some(ImageOptions { subpath: value.to_owned() });
        }
        "tmpfs-size" => {
            let bytes =
                amount::bytes(value).map_err(|_| format!("invalid value for {key}: {value}"))?;
            mount.tmpfs_options.get_or_insert_with(TmpfsOptions::default).size_bytes = bytes;
        }
        "tmpfs-mode" => {
            let mode = u32::from_str_radix(value, 8).ok().filter(|m| *m <= 0o7777);
            let mode = mode.ok_or_else(|| format!("invalid value for {key}: {value}"))?;
            mount.tmpfs_options.get_or_insert_with(TmpfsOptions::default).mode = mode;
        }
        _ => return Err(unknown(field, key)),
    }
    Ok(())
}

fn unknown(field: &str, key: &str) -> String {
    format!("unexpected key '{key}' in '{field}'")
}

fn of_bind(
    bind: &mut BindOptions,
    field: &str,
    key: &str,
    given: Option<&str>,
) -> Result<(), String> {
    let value = given.unwrap_or_default();
    match (key, value) {
        ("bind-propagation", _) => bind.propagation = value.to_ascii_lowercase(),
        ("bind-nonrecursive", _) => {
            return Err(
                "bind-nonrecursive is deprecated, use bind-recursive=disabled instead".into()
            );
        }
        ("bind-recursive", "enabled") => {}
        ("bind-recursive", "disabled") => bind.non_recursive = true,
        ("bind-recursive", "writable") => bind.read_only_non_recursive = true,
        ("bind-recursive", "readonly") => bind.read_only_force_recursive = true,
        ("bind-recursive", _) => {
            return Err(format!(
                "invalid value for {key}: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
            ));
        }
        ("bind-create-src", _) => bind.create_mountpoint = truth(key, given)?,
        _ => return Err(unknown(field, key)),
    }
    Ok(())
}

fn of_volume(
    volume: &mut VolumeOptions,
    field: &str,
    key: &str,
    given: Option<&str>,
) -> Result<(), String> {
    let value = given.unwrap_or_default();
    volume.driver_config.get_or_insert_default(); // docker's client always sends one
    let put = |map: &mut BTreeMap<String, String>| {
        let (key, value) = value.split_once('=').unwrap_or((value, ""));
        if !key.is_empty() {
            map.insert(key.to_owned(), value.to_owned());
        }
    };
    match key {
        "volume-nocopy" => volume.no_copy = truth(key, given)?,
        "volume-subpath" => value.clone_into(&mut volume.subpath),
        "volume-label" => put(&mut volume.labels),
        "volume-driver" => {
            value.clone_into(&mut volume.driver_config.get_or_insert_with(Driver::default).name);
        }
        "volume-opt" => put(&mut volume.driver_config.get_or_insert_with(Driver::default).options),
        _ => return Err(unknown(field, key)),
    }
    Ok(())
}

fn source(value: &str, cwd: &Path) -> Result<String, String> {
    if !value.starts_with('.') {
        return Ok(value.to_owned());
    }
    let joined = cwd.join(value);
    joined.to_str().map(clean).ok_or_else(|| "the current directory's name is not UTF-8".to_owned())
}

/// docker's client: options of another type, and options that need each other.
fn alone(mount: &Mount) -> Result<(), String> {
    let kind = mount.kind.as_str();
    if kind.is_empty() {
        return Err("type is required".into());
    }
    if mount.target.is_empty() {
        return Err("target is required; add dst=".into());
    }
    for (own, given) in [
        ("bind", mount.bind_options.is_some()),
        ("volume", mount.volume_options.is_some()),
        ("image", mount.image_options.is_some()),
        ("tmpfs", mount.tmpfs_options.is_some()),
    ] {
        if given && own != kind {
            return Err(format!("cannot mix '{own}-*' options with mount type '{kind}'"));
        }
    }
    let Some(bind) = &mount.bind_options else { return Ok(()) };
    let needs = |what: &str, also: &str| {
        Err(format!(
            "option 'bind-recursive={what}' requires '{also}' to be specified in conjunction"
        ))
    };
    match (bind.read_only_non_recursive, bind.read_only_force_recursive) {
        (true, _) if !mount.read_only => needs("writable", "readonly"),
        (_, true) if !mount.read_only => needs("readonly", "readonly"),
        (_, true) if bind.propagation != "rprivate" => {
            needs("readonly", "bind-propagation=rprivate")
        }
        _ => Ok(()),
    }
}

/// docker's daemon.
fn check(mount: &mut Mount) -> Result<(), String> {
    mount.target = target(&mount.target)?;
    let missing = || Err("field Source must not be empty; add src=".to_owned());
    let subpath = |path: &str| {
        let good = path.is_empty() || is_local(path);
        if good {
            Ok(())
        } else {
            Err("subpath must be a relative path within the volume".to_owned())
        }
    };
    match mount.kind.as_str() {
        "bind" | "image" if mount.source.is_empty() => missing(),
        "bind" if !mount.source.starts_with('/') => {
            Err(format!("invalid mount path: '{}' mount path must be absolute", mount.source))
        }
        "bind" => {
            mount.source = clean(&mount.source);
            match mount.bind_options.as_ref().map(|b| b.propagation.as_str()) {
                Some(p) if !p.is_empty() && !PROPAGATION.contains(&p) => {
                    Err(format!("invalid propagation mode: {p}"))
                }
                _ => Ok(()),
            }
        }
        "volume" => {
            let options = mount.volume_options.clone().unwrap_or_default();
            if mount.source.is_empty() && !options.subpath.is_empty() {
                return Err("must not set Subpath when using anonymous volumes".into());
            }
            if !mount.source.is_empty() {
                crate::store::check_volume_name(&mount.source).map_err(|e| e.message)?;
            }
            let driver = options.driver_config.unwrap_or_default();
            super::local_driver("volume-driver", &driver.name).map_err(|e| e.message)?;
            subpath(&options.subpath)
        }
        "tmpfs" if !mount.source.is_empty() => Err("field Source must not be specified".into()),
        "tmpfs" => Ok(()),
        "image" => subpath(&mount.image_options.clone().unwrap_or_default().subpath),
        "npipe" => Err("mount type unknown; npipe is for Windows".into()),
        "cluster" => Err("mount type unknown; cluster volumes are part of Swarm".into()),
        _ => Err("mount type unknown; use bind, volume, tmpfs or image".into()),
    }
}

fn truth(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("invalid value for {key}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Mount> {
        mount(text, Path::new("/here"))
    }

    #[test]
    fn mounts_know_their_type() {
        let m = parse("type=bind,src=./x,dst=/y,ro,bind-propagation=rslave").unwrap();
        assert_eq!((m.source.as_str(), m.read_only), ("/here/x", true));
        let m = parse("dst=/y").unwrap();
        assert_eq!((m.kind.as_str(), m.source.as_str()), ("volume", ""));
        let m = parse("type=tmpfs,dst=/y,tmpfs-size=1m,tmpfs-mode=0700").unwrap();
        assert_eq!(m.tmpfs_options, Some(TmpfsOptions { size_bytes: 1 << 20, mode: 0o700 }));
        let m = parse("type=bind,\"src=/a,b\",dst=/y").unwrap();
        assert_eq!(m.source, "/a,b");
        let m = parse("type=image,src=busybox,dst=/y,image-subpath=bin").unwrap();
        assert_eq!(m.image_options.unwrap().subpath, "bin");
        let m = parse("src=data,dst=/y,volume-opt=type=tmpfs,volume-opt=o=size=1m,volume-label=a=b,volume-driver=local").unwrap();
        let options = m.volume_options.unwrap();
        assert_eq!(options.driver_config.unwrap().options["o"], "size=1m");
        assert_eq!(options.labels["a"], "b");
        let m = parse("type=bind,src=/a,dst=/y,ro,bind-recursive=writable").unwrap();
        assert!(m.bind_options.unwrap().read_only_non_recursive);
    }

    #[test]
    fn mounts_that_docker_refuses_are_refused_in_its_words() {
        for (bad, words) in [
            ("", "EOF"),
            (
                "type=bind,dst=/y",
                "invalid mount config for type \"bind\": field Source must not be empty",
            ),
            ("type=bind,src=/a", "target is required"),
            ("type=bind,src=rel,dst=/y", "mount path must be absolute"),
            ("type=tmpfs,src=/a,dst=/y", "field Source must not be specified"),
            (
                "type=bind,src=/a,dst=/y,volume-nocopy",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
            ("type=what,dst=/y", "mount type unknown"),
            ("dst=y", "mount path must be absolute"),
            ("dst=/", "destination can't be '/'"),
            ("dst=/y,ro=maybe", "invalid value for ro: maybe"),
            ("dst=/y,what=1", "unexpected key 'what' in 'what=1'"),
            ("dst=/y,what", "invalid field 'what' must be a key=value pair"),
            ("dst=/y, ro", "invalid field ' ro' must be a key=value pair"),
            ("dst=", "target is required"),
            ("src=up/x,dst=/y", "includes invalid characters for a local volume name"),
            (
                "src=a1,dst=/y,volume-subpath=../x",
                "subpath must be a relative path within the volume",
            ),
            ("dst=/y,volume-subpath=x", "must not set Subpath when using anonymous volumes"),
            ("type=bind,src=/a,dst=/y,bind-nonrecursive", "bind-nonrecursive is deprecated"),
            ("type=bind,src=/a,dst=/y,bind-recursive=readonly", "requires 'readonly'"),
            (
                "type=bind,src=/a,dst=/y,ro,bind-recursive=readonly",
                "requires 'bind-propagation=rprivate'",
            ),
            ("type=bind,src=/a,dst=/y,bind-propagation=up", "invalid propagation mode: up"),
            ("type=tmpfs,dst=/y,tmpfs-size=x", "invalid value for tmpfs-size: x"),
            ("src=a1,dst=/y,volume-driver=nfs", "plugin \"nfs\" not found"),
            ("\"dst=/y", "parse error on line 1"),
        ] {
            let said = parse(bad).unwrap_err().message;
            assert!(said.contains(words), "{bad}: {said}");
        }
    }
}
