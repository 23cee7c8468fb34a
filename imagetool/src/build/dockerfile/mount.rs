//! `RUN --mount=type=…,…` and `--device=…`.

use super::flags::boolean;
use super::suggest::with_hint;
use super::{Device, MountKind, RunMount, Sharing};
use crate::amount;

/// A `--mount=` as written: but for `from`, its values may have variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountText {
    /// All behind `--mount=`.
    pub text: String,
    /// A stage, an image or a named context.
    pub from: Option<String>,
}

type Expand<'a> = &'a dyn Fn(&str) -> Result<String, String>;

impl MountText {
    /// Reads what can be known before variables are.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let mut from = None;
        for field in fields(text)? {
            let Some((key, value)) = field.split_once('=') else { continue };
            if !key.eq_ignore_ascii_case("from") {
                continue;
            }
            if value.find('$').is_some_and(|at| at + 1 != value.len()) {
                return Err(format!(
                    "'{}' doesn't support variable expansion, define alias stage instead",
                    key.to_lowercase()
                ));
            }
            from = Some(value.to_owned()).filter(|value| !value.is_empty());
        }
        Ok(Self { text: text.to_owned(), from })
    }

    /// Reads all of it; `expand` is told each value.
    ///
    /// # Errors
    ///
    /// On fields that there are not, or not for this type, and values that make no sense.
    pub fn read(&self, expand: Expand) -> Result<RunMount, String> {
        let mut mount = Read::default();
        for field in fields(&self.text)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(expand(value)?)),
                None => (field.to_lowercase(), None),
            };
            match value {
                Some(value) => mount.valued(&key, value, &field)?,
                None => mount.bare(&key, &field)?,
            }
        }
        mount.finished()
    }
}

/// A mount while it is read.
#[derive(Default)]
struct Read {
    mount: RunMount,
    readonly: Option<bool>,
    sharing: Option<Sharing>,
}

const KINDS: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
const SHARINGS: [&str; 3] = ["shared", "private", "locked"];
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "env",
];

impl Read {
    fn bare(&mut self, key: &str, field: &str) -> Result<(), String> {
        match key {
            "readonly" | "ro" => self.readonly = Some(true),
            "readwrite" | "rw" => self.readonly = Some(false),
            "required" => self.required(true)?,
            _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
        }
        Ok(())
    }

    fn valued(&mut self, key: &str, value: String, field: &str) -> Result<(), String> {
        let switch = || boolean(&value).ok_or_else(|| format!("invalid value for {key}: {value}"));
        let number = |base, value: &str| {
            let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            let number = u32::from_str_radix(value, base).ok().filter(|_| digits);
            number.ok_or_else(|| format!("invalid value {value} for {key}"))
        };
        match key {
            "type" => self.mount.kind = kind(&value)?,
            "from" => self.mount.from = filled(value),
            "source" | "src" => self.mount.source = filled(value),
            "target" | "dst" | "destination" => self.mount.target = filled(value),
            "readonly" | "ro" => self.readonly = Some(switch()?),
            "readwrite" | "rw" => self.readonly = Some(!switch()?),
            "required" => self.required(switch()?)?,
            "size" if self.mount.kind == MountKind::Tmpfs => {
                let size = amount::bytes(&value).ok().and_then(|size| u64::try_from(size).ok());
                self.mount.size =
                    Some(size.ok_or_else(|| format!("invalid value for {key}: {value}"))?);
            }
            "size" => return Err(self.unexpected(key)),
            "id" => self.mount.id = filled(value),
            "sharing" => self.sharing = Some(sharing(&value)?),
            "mode" => self.mount.mode = Some(number(8, &value)?),
            "uid" => self.mount.uid = Some(number(10, &value)?),
            "gid" => self.mount.gid = Some(number(10, &value)?),
            "env" => self.mount.env = Some(value),
            _ => {
                let why = format!("unexpected key '{key}' in '{field}'");
                return Err(with_hint(&why, key, KEYS, ""));
            }
        }
        Ok(())
    }

    fn required(&mut self, on: bool) -> Result<(), String> {
        if !matches!(self.mount.kind, MountKind::Secret | MountKind::Ssh) {
            return Err(self.unexpected("required"));
        }
        self.mount.required = on;
        Ok(())
    }

    fn unexpected(&self, key: &str) -> String {
        format!("unexpected key '{key}' for mount type '{}'", name(self.mount.kind))
    }

    fn finished(self) -> Result<RunMount, String> {
        let Self { mut mount, readonly, sharing } = self;
        let kind = mount.kind;
        if matches!(kind, MountKind::Bind | MountKind::Tmpfs) {
            for (key, given) in [
                ("mode", mount.mode.is_some()),
                ("uid", mount.uid.is_some()),
                ("gid", mount.gid.is_some()),
            ] {
                if given {
                    return Err(format!("{key} not allowed for {:?} type mounts", name(kind)));
                }
            }
        }
        mount.writable = match readonly {
            Some(readonly) => !readonly,
            None => matches!(kind, MountKind::Cache | MountKind::Tmpfs),
        };
        if kind == MountKind::Secret {
            if mount.from.is_some() {
                return Err("secret mount should not have a from".into());
            }
            if sharing.is_some() {
                return Err("secret mount should not define sharing".into());
            }
            if mount.source.is_none() && mount.target.is_none() && mount.id.is_none() {
                return Err("invalid secret mount. one of source, target required".into());
            }
            if mount.source.is_some() && mount.id.is_some() {
                return Err("both source and id can't be set".into());
            }
        }
        if sharing.is_some() && kind != MountKind::Cache {
            return Err(format!("invalid cache sharing set for {} mount", name(kind)));
        }
        mount.sharing = sharing.unwrap_or_default();
        Ok(mount)
    }
}

fn filled(value: String) -> Option<String> {
    Some(value).filter(|value| !value.is_empty())
}

fn name(kind: MountKind) -> &'static str {
    match kind {
        MountKind::Bind => "bind",
        MountKind::Cache => "cache",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Secret => "secret",
        MountKind::Ssh => "ssh",
    }
}

fn kind(value: &str) -> Result<MountKind, String> {
    Ok(match value.to_lowercase().as_str() {
        "bind" => MountKind::Bind,
        "cache" => MountKind::Cache,
        "tmpfs" => MountKind::Tmpfs,
        "secret" => MountKind::Secret,
        "ssh" => MountKind::Ssh,
        _ => return Err(with_hint(&format!("unsupported mount type {value:?}"), value, KINDS, "")),
    })
}

fn sharing(value: &str) -> Result<Sharing, String> {
    Ok(match value.to_lowercase().as_str() {
        "shared" => Sharing::Shared,
        "private" => Sharing::Private,
        "locked" => Sharing::Locked,
        _ => {
            let why = format!("unsupported sharing value {value:?}");
            return Err(with_hint(&why, value, SHARINGS, ""));
        }
    })
}

/// `--device=name`, `--device=name=x,required`
pub(super) fn device(text: &str) -> Result<Device, String> {
    let mut device = Device::default();
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("required", None) => device.required = true,
            ("required", Some(value)) => {
                device.required =
                    boolean(value).ok_or_else(|| format!("invalid value for required: {value}"))?;
            }
            ("name", Some(_)) if !device.name.is_empty() => {
                return Err(format!("device name already set to {}", device.name));
            }
            ("name", Some(value)) => value.clone_into(&mut device.name),
            _ if device.name.is_empty() => device.name = field,
            (_, None) => return Err(format!("invalid field '{field}' must be a key=value pair")),
            (_, Some(_)) => {
                let why = format!("unexpected key '{key}' in '{field}'");
                return Err(with_hint(&why, &key, ["name", "required"], ""));
            }
        }
    }
    Ok(device)
}

/// One line of CSV.
fn fields(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Err("it is empty: write type=…,target=…".into());
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (field, after) =
                rest.split_once(',').map_or((rest, None), |(field, after)| (field, Some(after)));
            if field.contains('"') {
                return Err(format!("bare \" in non-quoted field {field:?}"));
            }
            fields.push(field.to_owned());
            match after {
                Some(after) => rest = after,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        rest = quoted;
        loop {
            let (piece, after) = rest
                .split_once('"')
                .ok_or_else(|| format!("extraneous or missing \" in quoted field {rest:?}"))?;
            field += piece;
            let Some(after) = after.strip_prefix('"') else {
                rest = after;
                break;
            };
            field.push('"');
            rest = after;
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Ok(fields),
            None => return Err(format!("extraneous or missing \" in quoted field {rest:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RunMount, String> {
        MountText::new(text)?.read(&|value| Ok(value.replace("$X", "x")))
    }

    #[test]
    fn each_kind() {
        let m = read("target=/a,source=b,from=c").unwrap();
        assert_eq!((m.kind, m.writable, m.from.as_deref()), (MountKind::Bind, false, Some("c")));
        let m = read("type=cache,id=$X,dst=/c,sharing=locked,mode=0750,uid=1,gid=2,ro").unwrap();
        assert_eq!((m.kind, m.writable, m.sharing), (MountKind::Cache, false, Sharing::Locked));
        assert_eq!(
            (m.id.as_deref(), m.mode, m.uid, m.gid),
            (Some("x"), Some(0o750), Some(1), Some(2))
        );
        let m = read("Type=TMPFS,target=/t,size=1.5k").unwrap();
        assert_eq!((m.kind, m.size, m.writable), (MountKind::Tmpfs, Some(1536), true));
        let m = read("type=secret,id=a,required,env=A").unwrap();
        assert_eq!((m.required, m.env.as_deref()), (true, Some("A")));
        assert!(read("type=ssh,required=false").is_ok_and(|m| !m.required));
        assert!(read("type=bind,rw,target=/x").unwrap().writable);
        assert_eq!(read("\"source=a,b\",target=/x").unwrap().source.as_deref(), Some("a,b"));
        assert_eq!(read("\"source=a\"\"b\",target=/x").unwrap().source.as_deref(), Some("a\"b"));
    }

    #[test]
    fn what_is_refused() {
        for (text, why) in [
            ("type=chache", "unsupported mount type \"chache\" (did you mean cache?)"),
            (
                "type=cache,sharing=lock",
                "unsupported sharing value \"lock\" (did you mean locked?)",
            ),
            ("type=cache,targt=/x", "unexpected key 'targt' in 'targt=/x' (did you mean target?)"),
            ("target", "invalid field 'target' must be a key=value pair"),
            ("from=$X", "'from' doesn't support variable expansion, define alias stage instead"),
            ("required,type=secret,id=x", "unexpected key 'required' for mount type 'bind'"),
            ("size=1g", "unexpected key 'size' for mount type 'bind'"),
            ("type=tmpfs,size=x", "invalid value for size: x"),
            ("type=tmpfs,mode=0", "mode not allowed for \"tmpfs\" type mounts"),
            ("uid=1", "uid not allowed for \"bind\" type mounts"),
            ("type=cache,uid=-1", "invalid value -1 for uid"),
            ("type=cache,mode=8", "invalid value 8 for mode"),
            ("ro=perhaps", "invalid value for ro: perhaps"),
            ("type=secret", "invalid secret mount. one of source, target required"),
            ("type=secret,from=a,id=b", "secret mount should not have a from"),
            ("type=secret,id=b,sharing=shared", "secret mount should not define sharing"),
            ("type=secret,id=b,source=c", "both source and id can't be set"),
            ("type=tmpfs,sharing=shared", "invalid cache sharing set for tmpfs mount"),
            ("a\"b", "bare \" in non-quoted field \"a\\\"b\""),
            ("\"a", "extraneous or missing \" in quoted field \"a\""),
            ("", "it is empty: write type=…,target=…"),
        ] {
            assert_eq!(read(text).unwrap_err(), why, "{text}");
        }
        assert!(MountText::new("from=a$").is_ok());
    }

    #[test]
    fn devices() {
        assert_eq!(device("a.b/c=d").unwrap().name, "a.b/c=d");
        let d = device("name=a,required").unwrap();
        assert_eq!((d.name.as_str(), d.required), ("a", true));
        assert!(device("a,required=1").unwrap().required);
        for bad in ["a,name=b", "a,b", "a,c=d", "required=x"] {
            assert!(device(bad).is_err(), "{bad}");
        }
    }
}
