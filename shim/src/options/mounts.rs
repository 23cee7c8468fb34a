//! `-v`, `--mount`, `--tmpfs`: text → typed mounts.

use std::path::Path;

use crate::error::{Error, Result};
use crate::model::{BindOptions, Mount, TmpfsOptions, VolumeOptions};
use crate::options::size;

/// One `-v`, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Host path (absolute), volume name, or nothing for an anonymous volume.
    pub source: Option<String>,
    /// In the container, absolute.
    pub target: String,
    /// Options as typed, `ro,z`.
    pub mode: String,
    /// Mounted read-only.
    pub read_only: bool,
    /// Mount propagation, empty for the default.
    pub propagation: String,
    /// The image's files are not copied in.
    pub no_copy: bool,
}

impl Volume {
    /// The source is a path of the host.
    pub fn is_bind(&self) -> bool {
        self.source.as_deref().is_some_and(|s| s.starts_with('/'))
    }
}

/// `shared` would need the host's own mount namespace, which a monitor leaves.
const PROPAGATION: [&str; 4] = ["rprivate", "private", "rslave", "slave"];

/// `[SRC:]DST[:OPTIONS]`; a source with a slash is a path, `.` and `..` relative to `cwd`.
pub fn volume(text: &str, cwd: &Path) -> Result<Volume> {
    let bad = |why: &str| Error::usage(format!("--volume \"{text}\": {why}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] if target.starts_with('/') => (Some(source), target, ""),
        [target, mode] if target.starts_with('/') => (None, target, mode),
        [source, target] => (Some(source), target, ""),
        [source, target, mode] => (Some(source), target, mode),
        _ => return Err(bad("too many colons; write SOURCE:PATH[:OPTIONS], or use --mount")),
    };
    if !target.starts_with('/') {
        return Err(bad("the path in the container must be absolute"));
    }
    let target = clean(target);
    if target == "/" {
        return Err(bad("the destination can't be \"/\""));
    }
    let source = source.map(|s| settle_source(s, cwd).map_err(|why| bad(&why))).transpose()?;
    let mut volume = Volume {
        source,
        target,
        mode: mode.to_owned(),
        read_only: false,
        propagation: String::new(),
        no_copy: false,
    };
    for option in mode.split(',').filter(|o| !o.is_empty()) {
        match option {
            "ro" => volume.read_only = true,
            // SELinux relabelling and consistency hints: nothing to do on a machine without the LSM.
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            "nocopy" => volume.no_copy = true,
            p if PROPAGATION.contains(&p) => p.clone_into(&mut volume.propagation),
            other => return Err(bad(&format!("unknown option \"{other}\""))),
        }
    }
    if !volume.propagation.is_empty() && !volume.is_bind() {
        return Err(bad("propagation is for host paths only"));
    }
    Ok(volume)
}

fn settle_source(source: &str, cwd: &Path) -> Result<String, String> {
    if source.is_empty() {
        return Err("the source is empty".into());
    }
    if source.starts_with('/') {
        return Ok(clean(source));
    }
    if matches!(source, "." | "..") || source.starts_with("./") || source.starts_with("../") {
        let joined = cwd.join(source);
        let text = joined.to_str().ok_or("the current directory's name is not UTF-8")?;
        return Ok(clean(text));
    }
    crate::store::check_volume_name(source).map_err(|e| e.message)?;
    Ok(source.to_owned())
}

/// Lexically: no `.`, no `//`, `..` taken back.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

/// `type=bind|volume|tmpfs,src=…,dst=…[,…]`, fields in CSV as docker has them.
pub fn mount(text: &str, cwd: &Path) -> Result<Mount> {
    let bad = |why: String| Error::usage(format!("--mount \"{text}\": {why}"));
    let mut mount = Mount { kind: "volume".into(), ..Mount::default() };
    let (mut bind, mut volume, mut tmpfs) = (None, None, None);
    for field in csv(text).map_err(|e| bad(e.into()))? {
        let (key, value) =
            field.split_once('=').map_or((field.as_str(), None), |(k, v)| (k, Some(v)));
        let need = || value.ok_or_else(|| bad(format!("\"{key}\" needs a value")));
        match key.to_ascii_lowercase().as_str() {
            "type" => mount.kind = need()?.to_ascii_lowercase(),
            "source" | "src" => need()?.clone_into(&mut mount.source),
            "target" | "dst" | "destination" => need()?.clone_into(&mut mount.target),
            "readonly" | "ro" => mount.read_only = truth(value).map_err(bad)?,
            "consistency" => {}
            "bind-propagation" => {
                let value = need()?;
                if !PROPAGATION.contains(&value) {
                    return Err(bad(format!("invalid propagation \"{value}\"")));
                }
                let bind = bind.get_or_insert_with(BindOptions::default);
                value.clone_into(&mut bind.propagation);
            }
            "bind-nonrecursive" => {
                let on = truth(value).map_err(bad)?;
                bind.get_or_insert_with(BindOptions::default).non_recursive = on;
            }
            "bind-recursive" => match need()? {
                "enabled" => {}
                "disabled" => {
                    bind.get_or_insert_with(BindOptions::default).non_recursive = true;
                }
                other => return Err(bad(format!("bind-recursive={other} is not supported"))),
            },
            "bind-create-src" => {
                let on = truth(value).map_err(bad)?;
                bind.get_or_insert_with(BindOptions::default).create_mountpoint = on;
            }
            "volume-nocopy" => {
                let on = truth(value).map_err(bad)?;
                volume.get_or_insert_with(VolumeOptions::default).no_copy = on;
            }
            "tmpfs-size" => {
                let bytes = size::bytes("tmpfs-size", need()?)?;
                tmpfs.get_or_insert_with(TmpfsOptions::default).size_bytes = bytes;
            }
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(need()?, 8).ok().filter(|m| *m <= 0o7777);
                let mode = mode.ok_or_else(|| bad("tmpfs-mode is no octal mode".into()))?;
                tmpfs.get_or_insert_with(TmpfsOptions::default).mode = mode;
            }
            "volume-driver" if value == Some("local") => {}
            other => return Err(bad(format!("\"{other}\" is not supported"))),
        }
    }
    mount.bind_options = bind;
    mount.volume_options = volume;
    mount.tmpfs_options = tmpfs;
    check(mount, cwd).map_err(bad)
}

fn check(mut mount: Mount, cwd: &Path) -> Result<Mount, String> {
    if !mount.target.starts_with('/') {
        return Err("target (dst=) must be an absolute path".into());
    }
    mount.target = clean(&mount.target);
    if mount.target == "/" {
        return Err("the target can't be \"/\"".into());
    }
    let wrong = |what: &str| Err(format!("{what} options don't go with type={}", mount.kind));
    match mount.kind.as_str() {
        "bind" if mount.volume_options.is_some() => return wrong("volume"),
        "bind" | "volume" if mount.tmpfs_options.is_some() => return wrong("tmpfs"),
        "tmpfs" | "volume" if mount.bind_options.is_some() => return wrong("bind"),
        "tmpfs" if mount.volume_options.is_some() => return wrong("volume"),
        "tmpfs" if !mount.source.is_empty() => return Err("a tmpfs has no source".into()),
        "bind" if mount.source.is_empty() => return Err("a bind needs src=".into()),
        "bind" => {
            let joined = cwd.join(&mount.source);
            let text = joined.to_str().ok_or("the current directory's name is not UTF-8")?;
            mount.source = clean(text);
        }
        "volume" if !mount.source.is_empty() => {
            crate::store::check_volume_name(&mount.source).map_err(|e| e.message)?;
        }
        "volume" | "tmpfs" => {}
        other => return Err(format!("type={other} is not supported; use bind, volume or tmpfs")),
    }
    Ok(mount)
}

fn truth(value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("\"{other}\" is neither true nor false")),
    }
}

/// One line of CSV: a field in double quotes may hold commas, `""` is a quote.
fn csv(text: &str) -> Result<Vec<String>, &'static str> {
    let mut fields = vec![String::new()];
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        let field = fields.last_mut().ok_or("empty")?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            '"' => return Err("a quote in the middle of a field"),
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    if quoted { Err("a quote is not closed") } else { Ok(fields) }
}

/// `PATH[:OPTIONS]`.
pub fn tmpfs(text: &str) -> Result<(String, String)> {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    if !path.starts_with('/') || clean(path) == "/" {
        return Err(Error::usage(format!(
            "--tmpfs \"{text}\": an absolute path below / is needed before \":\""
        )));
    }
    Ok((clean(path), options.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Volume> {
        volume(text, Path::new("/here"))
    }

    #[test]
    fn volumes_read_as_docker_reads_them() {
        for (text, source, target, ro) in [
            ("/a", None, "/a", false),
            ("/a:ro", None, "/a", true),
            ("/a:/b", Some("/a"), "/b", false),
            ("/a:/b/:ro", Some("/a"), "/b", true),
            ("./a:/b:ro,z", Some("/here/a"), "/b", true),
            ("..:/b", Some("/"), "/b", false),
            ("data:/b:nocopy", Some("data"), "/b", false),
            ("/a:/b:rslave", Some("/a"), "/b", false),
        ] {
            let got = parse(text).unwrap();
            assert_eq!(got.source.as_deref(), source, "{text}");
            assert_eq!((got.target.as_str(), got.read_only), (target, ro), "{text}");
        }
        for bad in
            ["", "a", "a:b", "/a:/", ":/b", "/a:/b:xx", "/a:/b:ro:ro", "data:/b:rslave", "../x/y:b"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mounts_know_their_type() {
        let cwd = Path::new("/here");
        let m = mount("type=bind,src=x,dst=/y,ro,bind-propagation=rslave", cwd).unwrap();
        assert_eq!((m.source.as_str(), m.read_only), ("/here/x", true));
        let m = mount("dst=/y", cwd).unwrap();
        assert_eq!((m.kind.as_str(), m.source.as_str()), ("volume", ""));
        let m = mount("type=tmpfs,dst=/y,tmpfs-size=1m,tmpfs-mode=0700", cwd).unwrap();
        assert_eq!(m.tmpfs_options, Some(TmpfsOptions { size_bytes: 1 << 20, mode: 0o700 }));
        let m = mount("type=bind,\"src=/a,b\",dst=/y", cwd).unwrap();
        assert_eq!(m.source, "/a,b");
        for bad in [
            "",
            "type=bind,dst=/y",
            "type=tmpfs,src=/a,dst=/y",
            "type=bind,src=/a,dst=/y,volume-nocopy",
            "type=what,dst=/y",
            "dst=y",
            "dst=/y,ro=maybe",
            "dst=/y,what=1",
            "type=volume,src=../x,dst=/y",
            "\"dst=/y",
        ] {
            assert!(mount(bad, cwd).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = parse(&text);
            let _ = mount(&text, Path::new("/"));
            let _ = tmpfs(&text);
        }
    }
}
