//! `/etc/default/docker`: dockerd's flags in a shell's variable, `DOCKER_OPTS`, as Debian's package
//! and old installations have them. The file is read, never executed; what the flags say comes out
//! in daemon.json's form.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// Where it is.
pub const DOCKER_DEFAULTS: &str = "/etc/default/docker";
/// More than this is no such file.
const LARGEST: u64 = 1 << 20;

/// The settings that `DOCKER_OPTS` of the file at `path` stands for; none where there is no file.
pub fn read(path: &Path) -> Result<Map<String, Value>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    match std::fs::File::open(path) {
        Ok(file) => file.take(LARGEST).read_to_end(&mut bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(e) => Err(e),
    }
    .map_err(|e| Error::io("read", path, e))?;
    let invalid = |why: String| Error::invalid(format!("settings {}", path.display()), why);
    let value = variable(&String::from_utf8_lossy(&bytes), "DOCKER_OPTS").map_err(invalid)?;
    let words = words(&value).map_err(|why| invalid(format!("DOCKER_OPTS: {why}")))?;
    settings(&words).map_err(|why| invalid(format!("DOCKER_OPTS: {why}")))
}

/// The value of a variable after the assignments of a shell's file; other lines are left alone.
fn variable(text: &str, wanted: &str) -> std::result::Result<String, String> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut rest = text;
    let mut at = 1;
    while !rest.is_empty() {
        let line = rest.trim_start_matches([' ', '\t']);
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let end = line.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(line.len());
        let (name, after) = line.split_at(end);
        let (used, value) = match after.strip_prefix('=') {
            Some(typed) if !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) => {
                let (value, left) = word(typed, &known);
                (&rest[..rest.len() - left.len()], Some(value))
            }
            _ => ("", None),
        };
        match value {
            Some(Ok(value)) => drop(known.insert(name.to_owned(), value)),
            // Another variable's trouble is not ours.
            Some(Err(why)) if name == wanted => return Err(format!("line {at}: {why}")),
            _ => {}
        }
        let left = &rest[used.len()..];
        let next = left.find('\n').map_or(left.len(), |n| n + 1);
        let whole = &rest[..used.len() + next];
        at += whole.matches('\n').count();
        rest = &rest[whole.len()..];
    }
    Ok(known.remove(wanted).unwrap_or_default())
}

/// One word of a shell, and what follows it: quotes, backslashes, and variables of the same file.
fn word<'a>(
    text: &'a str,
    known: &BTreeMap<String, String>,
) -> (std::result::Result<String, String>, &'a str) {
    let (mut out, mut quote, mut chars) = (String::new(), None, text.char_indices().peekable());
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (c, Some('\'')) => out.push(c),
            ('"' | '\'', None) => quote = Some(c),
            ('\\', _) => match chars.next() {
                Some((_, '\n')) | None => {}
                Some((_, c)) if quote.is_none() || "\\\"$`".contains(c) => out.push(c),
                Some((_, c)) => out.extend(['\\', c]),
            },
            ('`', _) => return (Err(commands()), &text[at..]),
            ('$', _) => {
                let (value, used) = match reference(&text[at + 1..], known) {
                    Ok(found) => found,
                    Err(why) => return (Err(why), &text[at..]),
                };
                out.push_str(value);
                let end = at + 1 + used;
                while chars.next_if(|(next, _)| *next < end).is_some() {}
            }
            (' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')', None) => {
                return (Ok(out), &text[at..]);
            }
            (c, _) => out.push(c),
        }
    }
    match quote {
        Some(q) => (Err(format!("the {q} has no second one")), ""),
        None => (Ok(out), ""),
    }
}

/// The value of `NAME` or `{NAME}` behind a `$`, and how many bytes it is; a `$` alone is one.
fn reference<'a>(
    text: &str,
    known: &'a BTreeMap<String, String>,
) -> std::result::Result<(&'a str, usize), String> {
    if text.starts_with('(') {
        return Err(commands());
    }
    let braces = text.starts_with('{');
    let inner = &text[usize::from(braces)..];
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    if braces && !inner[end..].starts_with('}') {
        return Err("${…} with more than a name; write the value itself".to_owned());
    }
    if end == 0 {
        return Ok(("$", 0));
    }
    let value = known.get(&inner[..end]).map(String::as_str).unwrap_or_default();
    Ok((value, end + 2 * usize::from(braces)))
}

fn commands() -> String {
    "a command in it, which dhow doesn't run; write the value itself".to_owned()
}

/// The value's words; quotes in it hold words together.
fn words(value: &str) -> std::result::Result<Vec<String>, String> {
    let (mut all, mut rest) = (Vec::new(), value.trim_start());
    while !rest.is_empty() {
        // What the shell has left of it is text: its dollars and commands have been seen to.
        let (mut out, mut quote, mut end) = (String::new(), None, rest.len());
        for (at, c) in rest.char_indices() {
            match (c, quote) {
                (c, Some(q)) if c == q => quote = None,
                ('"' | '\'', None) => quote = Some(c),
                (c, None) if c.is_whitespace() => {
                    end = at;
                    break;
                }
                (c, _) => out.push(c),
            }
        }
        if let Some(q) = quote {
            return Err(format!("the {q} has no second one"));
        }
        all.push(out);
        rest = rest[end..].trim_start();
    }
    Ok(all)
}

/// How a flag stands in daemon.json.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    List,
    Switch,
    Number,
    /// `KEY=VALUE`, in an object.
    Pairs,
    /// `NAME=SOFT[:HARD]`
    Ulimits,
    /// `NAME=PATH`
    Runtimes,
    /// `base=…,size=…`
    Pools,
    /// Of the daemon's own business: not read, as in daemon.json.
    Skipped,
    SkippedSwitch,
}

use Kind::*;

/// dockerd's flags: long, short, the key in daemon.json, and how it stands there.
const FLAGS: &[(&str, &str, &str, Kind)] = &[
    ("registry-mirror", "", "registry-mirrors", List),
    ("insecure-registry", "", "insecure-registries", List),
    ("dns", "", "dns", List),
    ("dns-search", "", "dns-search", List),
    ("dns-opt", "", "dns-opts", List),
    ("dns-option", "", "dns-opts", List),
    ("bip", "", "bip", Text),
    ("bip6", "", "bip6", Text),
    ("bridge", "b", "bridge", Text),
    ("fixed-cidr", "", "fixed-cidr", Text),
    ("fixed-cidr-v6", "", "fixed-cidr-v6", Text),
    ("default-gateway", "", "default-gateway", Text),
    ("default-gateway-v6", "", "default-gateway-v6", Text),
    ("default-address-pool", "", "default-address-pools", Pools),
    ("ipv6", "", "ipv6", Switch),
    ("mtu", "", "mtu", Number),
    ("icc", "", "icc", Switch),
    ("ip", "", "ip", Text),
    ("ip-masq", "", "ip-masq", Switch),
    ("ip-forward", "", "ip-forward", Switch),
    ("ip-forward-no-drop", "", "ip-forward-no-drop", Switch),
    ("iptables", "", "iptables", Switch),
    ("ip6tables", "", "ip6tables", Switch),
    ("allow-direct-routing", "", "allow-direct-routing", Switch),
    ("userland-proxy", "", "userland-proxy", Switch),
    ("userland-proxy-path", "", "userland-proxy-path", Text),
    ("host-gateway-ip", "", "host-gateway-ips", List),
    ("log-driver", "", "log-driver", Text),
    ("log-opt", "", "log-opts", Pairs),
    ("default-ulimit", "", "default-ulimits", Ulimits),
    ("default-runtime", "", "default-runtime", Text),
    ("add-runtime", "", "runtimes", Runtimes),
    ("default-shm-size", "", "default-shm-size", Text),
    ("default-ipc-mode", "", "default-ipc-mode", Text),
    ("default-cgroupns-mode", "", "default-cgroupns-mode", Text),
    ("cgroup-parent", "", "cgroup-parent", Text),
    ("init", "", "init", Switch),
    ("no-new-privileges", "", "no-new-privileges", Switch),
    ("seccomp-profile", "", "seccomp-profile", Text),
    ("userns-remap", "", "userns-remap", Text),
    ("cdi-spec-dir", "", "cdi-spec-dirs", List),
    ("label", "", "labels", List),
    ("data-root", "g", "", Skipped),
    ("graph", "", "", Skipped),
    ("storage-driver", "s", "", Skipped),
    ("host", "H", "", Skipped),
    ("group", "G", "", Skipped),
    ("pidfile", "p", "", Skipped),
    ("log-level", "l", "", Skipped),
    ("debug", "D", "", SkippedSwitch),
    ("tls", "", "", SkippedSwitch),
    ("tlsverify", "", "", SkippedSwitch),
    ("experimental", "", "", SkippedSwitch),
    ("live-restore", "", "", SkippedSwitch),
    ("raw-logs", "", "", SkippedSwitch),
    ("selinux-enabled", "", "", SkippedSwitch),
    ("rootless", "", "", SkippedSwitch),
    ("disable-legacy-registry", "", "", SkippedSwitch),
];

/// Flags → daemon.json.
fn settings(words: &[String]) -> std::result::Result<Map<String, Value>, String> {
    let mut all = Map::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let long = word.strip_prefix("--");
        let Some(flag) = long.or_else(|| word.strip_prefix('-')).filter(|f| !f.is_empty()) else {
            return Err(format!("\"{word}\" is no flag"));
        };
        let (name, mut value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let known =
            FLAGS.iter().find(|(l, s, ..)| if long.is_some() { *l == name } else { *s == name });
        // One that isn't known takes what follows it, if that is no flag itself.
        let (key, kind) = known.map_or(("", Skipped), |(_, _, key, kind)| (*key, *kind));
        if !matches!(kind, Switch | SkippedSwitch) && value.is_none() {
            value = words.next_if(|next| known.is_some() || !next.starts_with('-')).cloned();
            if value.is_none() && known.is_some() {
                return Err(format!("{word} has no value"));
            }
        }
        take(&mut all, key, kind, value).map_err(|why| format!("{word}: {why}"))?;
    }
    Ok(all)
}

fn take(
    all: &mut Map<String, Value>,
    key: &str,
    kind: Kind,
    value: Option<String>,
) -> std::result::Result<(), String> {
    let wants = |form: &str| format!("it wants {form}");
    let pair = |text: &str, form: &str| {
        let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
        pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| wants(form))
    };
    let text = value.clone().unwrap_or_default();
    match kind {
        Skipped | SkippedSwitch => {}
        Text => drop(all.insert(key.into(), text.into())),
        Switch => {
            let on = match value.as_deref() {
                None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
                Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
                Some(_) => return Err(wants("true or false")),
            };
            all.insert(key.into(), on.into());
        }
        Number => {
            let number: u32 = text.parse().map_err(|_| wants("a number"))?;
            all.insert(key.into(), number.into());
        }
        List => list(all, key).push(text.into()),
        Pairs => {
            let (name, value) = pair(&text, "KEY=VALUE")?;
            object(all, key).insert(name, value.into());
        }
        Ulimits => {
            let (name, range) = pair(&text, "NAME=SOFT[:HARD]")?;
            let (soft, hard) = range.split_once(':').unwrap_or((&range, &range));
            let number = |text: &str| text.parse::<i64>().map_err(|_| wants("NAME=SOFT[:HARD]"));
            let limit = json!({"Name": name, "Soft": number(soft)?, "Hard": number(hard)?});
            object(all, key).insert(name, limit);
        }
        Runtimes => {
            let (name, path) = pair(&text, "NAME=PATH")?;
            object(all, key).insert(name, json!({"path": path}));
        }
        Pools => {
            let (mut base, mut size) = (None, None);
            for part in text.split(',') {
                match part.split_once('=') {
                    Some(("base", text)) => base = Some(text.to_owned()),
                    Some(("size", text)) => size = text.parse::<u8>().ok(),
                    _ => {}
                }
            }
            let (Some(base), Some(size)) = (base, size) else {
                return Err(wants("base=SUBNET,size=LENGTH"));
            };
            list(all, key).push(json!({"base": base, "size": size}));
        }
    }
    Ok(())
}

fn list<'a>(all: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let entry = all.entry(key).or_insert_with(|| Value::Array(Vec::new()));
    match entry {
        Value::Array(list) => list,
        _ => unreachable!("a key has one kind"),
    }
}

fn object<'a>(all: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let entry = all.entry(key).or_insert_with(|| Value::Object(Map::new()));
    match entry {
        Value::Object(map) => map,
        _ => unreachable!("a key has one kind"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> std::result::Result<Value, String> {
        let value = variable(text, "DOCKER_OPTS")?;
        Ok(Value::Object(settings(&words(&value)?)?))
    }

    #[test]
    fn flags_are_what_daemon_json_has() {
        let text = "# Docker Upstart and SysVinit configuration file\n\n\
            #DOCKER_OPTS=\"--dns 1.1.1.1\"\nexport http_proxy=\"http://x\"\n\
            DOCKER_OPTS=\"--registry-mirror=https://m.example --insecure-registry r:5000 \\\n\
            -g /srv/docker -H unix:///x -D --dns 8.8.8.8 --dns=8.8.4.4\"\n\
            DOCKER_OPTS=\"$DOCKER_OPTS --bip=10.1.0.1/24 --mtu 1400 --icc=false --ipv6\"\n\
            DOCKER_OPTS+=ignored\n\
            DOCKER_OPTS=\"${DOCKER_OPTS} --log-driver local --log-opt max-size=1m\n\
              --default-ulimit nofile=10:20 --storage-driver=overlay2 --unheard-of x\n\
              --add-runtime a=/a --default-address-pool base=10.0.0.0/8,size=24\" # the end\n";
        let want = json!({
            "registry-mirrors": ["https://m.example"], "insecure-registries": ["r:5000"],
            "dns": ["8.8.8.8", "8.8.4.4"], "bip": "10.1.0.1/24", "mtu": 1400, "icc": false,
            "ipv6": true, "log-driver": "local", "log-opts": {"max-size": "1m"},
            "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 10, "Hard": 20}},
            "runtimes": {"a": {"path": "/a"}},
            "default-address-pools": [{"base": "10.0.0.0/8", "size": 24}],
        });
        assert_eq!(of(text).unwrap(), want);
    }

    #[test]
    fn nothing_is_executed() {
        for (text, line) in [
            ("DOCKER_OPTS=`id`", 1),
            ("\nDOCKER_OPTS=\"--dns $(cat /etc/x)\"", 2),
            ("A='\n'\nDOCKER_OPTS=${A:-x}", 3),
            ("DOCKER_OPTS=\"--dns", 1),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.starts_with(&format!("line {line}: ")), "{text}: {error}");
        }
        // In single quotes it is text, and another variable's trouble isn't ours.
        assert_eq!(of("X=`id`\nDOCKER_OPTS='--ip $(id)'").unwrap(), json!({"ip": "$(id)"}));
    }

    #[test]
    fn what_a_flag_wants_is_told() {
        for (text, words) in [
            ("DOCKER_OPTS='--mtu x'", "--mtu: it wants a number"),
            ("DOCKER_OPTS='--dns'", "--dns has no value"),
            ("DOCKER_OPTS='--icc=maybe'", "--icc=maybe: it wants true or false"),
            ("DOCKER_OPTS='word'", "\"word\" is no flag"),
            ("DOCKER_OPTS='--log-opt x'", "--log-opt: it wants KEY=VALUE"),
        ] {
            assert_eq!(of(text).unwrap_err(), words);
        }
        assert_eq!(of("").unwrap(), json!({}));
    }

    #[test]
    fn a_quote_in_a_quote_holds_words_together() {
        let got = of("DOCKER_OPTS='--label \"a b=c\" --label d'").unwrap();
        assert_eq!(got, json!({"labels": ["a b=c", "d"]}));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(DOCKER_OPTS=|[$\"'`\\\\{}() \n=a-c;é-]|--dns|--mtu ){0,40}") {
            let _ = of(&text);
        }
    }
}
