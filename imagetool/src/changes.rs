//! `--change`: a few Dockerfile instructions upon an image's config.

mod health;

use crate::config::RunConfig;
use crate::error::{Error, Result};

/// Applies instructions such as `CMD ["sh"]` or `ENV A=1`, in order.
pub fn apply<S: AsRef<str>>(config: &mut RunConfig, changes: &[S]) -> Result<()> {
    let mut commanded = false;
    changes.iter().map(AsRef::as_ref).try_for_each(|text| one(config, text, &mut commanded))
}

/// `commanded`: a CMD of these very changes was seen.
fn one(config: &mut RunConfig, text: &str, commanded: &mut bool) -> Result<()> {
    let bad = |why: &str| Error::usage("change", text, why);
    let text_end = text.trim();
    let (word, rest) = text_end.split_once(char::is_whitespace).unwrap_or((text_end, ""));
    let rest = rest.trim();
    let instruction = word.to_ascii_uppercase();
    if word.is_empty() || word.starts_with('#') {
        return Err(bad("file with no instructions"));
    }
    if rest.is_empty() && KNOWN.contains(&instruction.as_str()) {
        return Err(bad(&format!("{instruction} requires at least one argument")));
    }
    match instruction.as_str() {
        "CMD" => {
            config.cmd = Some(command(rest));
            *commanded = true;
        }
        "ENTRYPOINT" => {
            config.entrypoint = Some(command(rest));
            // SPEC: Dockerfile: another entrypoint has no use for the old one's arguments.
            if !*commanded {
                config.cmd = None;
            }
        }
        "HEALTHCHECK" => {
            config.healthcheck = Some(health::parse(rest).map_err(|why| bad(&why))?);
        }
        "ENV" => {
            for (name, value) in pairs(rest).map_err(bad)? {
                let prefix = format!("{name}=");
                let new = format!("{prefix}{value}");
                match config.env.iter_mut().find(|v| v.starts_with(&prefix)) {
                    Some(old) => *old = new,
                    None => config.env.push(new),
                }
            }
        }
        "LABEL" => config.labels.extend(pairs(rest).map_err(bad)?),
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                config.exposed_ports.extend(ports(port).map_err(bad)?);
            }
        }
        "USER" => rest.clone_into(&mut config.user),
        "VOLUME" => {
            let list = json(rest).map_or_else(|| words(rest), Ok).map_err(bad)?;
            config.volumes.extend(list);
        }
        "WORKDIR" => config.working_dir = within(&config.working_dir, rest),
        "STOPSIGNAL" if is_signal(rest) => rest.clone_into(&mut config.stop_signal),
        "STOPSIGNAL" => return Err(bad(&format!("invalid signal: {rest}"))),
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        _ => return Err(bad(&format!("{instruction} is not a valid change command"))),
    }
    Ok(())
}

/// What must say something; CMD and ENTRYPOINT may be emptied.
const KNOWN: [&str; 9] =
    ["ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"];

/// A number or a name, with or without SIG.
fn is_signal(text: &str) -> bool {
    const NAMES: &str = " HUP INT QUIT ILL TRAP ABRT IOT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM \
        STKFLT CHLD CLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS \
        UNUSED RTMIN RTMAX ";
    if let Ok(number) = text.parse::<u32>() {
        return (1..=64).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let (base, offset) = name.split_once(['+', '-']).unwrap_or((name, "0"));
    let real_time = base == "RTMIN" || base == "RTMAX";
    NAMES.contains(&format!(" {base} "))
        && !base.is_empty()
        && offset.parse::<u32>().is_ok_and(|n| n <= 30)
        && (real_time || base == name)
}

/// The JSON form as it is; anything else is for a shell.
fn command(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    json(text).unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), text.into()])
}

fn json(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// `a=1 b="2 3"`, or the old `a 1 2 3`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    let first = text.split_whitespace().next().unwrap_or("");
    if !first.contains('=') {
        let (name, value) = text.split_once(char::is_whitespace).ok_or("write NAME=VALUE")?;
        return Ok(vec![(name.into(), value.trim().into())]);
    }
    words(text)?
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
            _ => Err("write NAME=VALUE"),
        })
        .collect()
}

/// Words with quotes and backslashes, as the Dockerfile reads them.
fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(q), c) if c == q => quote = None,
            (None | Some('"'), '\\') => {
                word.get_or_insert_default().push(chars.next().ok_or("it ends in a backslash")?);
            }
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote isn't closed");
    }
    words.extend(word);
    Ok(words)
}

/// `80`, `53/udp`, `8000-8002`.
fn ports(text: &str) -> Result<Vec<String>, &'static str> {
    const WHY: &str = "a port is PORT[-PORT][/tcp|udp|sctp]";
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(WHY);
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |p: &str| p.parse::<u16>().ok().filter(|&p| p > 0).ok_or(WHY);
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(WHY);
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn within(now: &str, to: &str) -> String {
    if to.starts_with('/') {
        return to.to_owned();
    }
    format!("{}/{to}", if now == "/" { "" } else { now.trim_end_matches('/') })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn changed(changes: &[&str]) -> RunConfig {
        let mut config = RunConfig::default();
        apply(&mut config, changes).unwrap();
        config
    }

    #[test]
    fn instructions() {
        let c = changed(&[
            "entrypoint echo hi",
            "CMD [\"a\", \"b c\"]",
            "HEALTHCHECK --interval=1m30s --retries=2 CMD curl x",
            "ENV A=1 B=\"2 3\" C='x y' D=e\\ f",
            "ENV A two words",
            "EXPOSE 80 53/udp 8000-8001",
            "LABEL k=v",
            "USER app:1",
            "VOLUME /a /b",
            "VOLUME [\"/c d\"]",
            "WORKDIR /x",
            "WORKDIR y",
        ]);
        assert_eq!(c.cmd.unwrap(), ["a", "b c"]);
        assert_eq!(c.entrypoint.unwrap(), ["/bin/sh", "-c", "echo hi"]);
        assert_eq!(c.env, ["A=two words", "B=2 3", "C=x y", "D=e f"]);
        let ports: Vec<_> = c.exposed_ports.into_iter().collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
        assert_eq!((c.labels["k"].as_str(), c.user.as_str()), ("v", "app:1"));
        assert_eq!(c.volumes.into_iter().collect::<Vec<_>>(), ["/a", "/b", "/c d"]);
        assert_eq!(c.working_dir, "/x/y");
    }

    #[test]
    fn a_new_entrypoint_takes_the_old_command_away() {
        let old = RunConfig { cmd: Some(vec!["old".into()]), ..RunConfig::default() };
        let of = |changes: &[&str]| {
            let mut config = old.clone();
            apply(&mut config, changes).unwrap();
            config.cmd
        };
        assert_eq!(of(&["ENTRYPOINT [\"e\"]"]), None);
        assert_eq!(of(&["CMD [\"new\"]", "ENTRYPOINT [\"e\"]"]).unwrap(), ["new"]);
        assert_eq!(of(&["STOPSIGNAL rtmin+3", "STOPSIGNAL 9"]).unwrap(), ["old"]);
    }

    #[test]
    fn others_are_refused_by_name() {
        let mut c = RunConfig::default();
        for bad in [
            "RUN x",
            "",
            "ENV",
            "ENV =x",
            "EXPOSE 0",
            "EXPOSE 9-1",
            "EXPOSE 80/icmp",
            "LABEL a=\"b",
            "SHELL [\"x\"]",
            "# note",
            "HEALTHCHECK foo",
            "STOPSIGNAL foo",
            "STOPSIGNAL 65",
        ] {
            assert!(apply(&mut c, &[bad]).is_err(), "{bad}");
        }
        let said = apply(&mut c, &["run x"]).unwrap_err().to_string();
        assert!(said.contains("RUN is not a valid change command"), "{said}");
    }

    proptest! {
        #[test]
        fn never_panics(word in "(CMD|ENV|LABEL|EXPOSE|VOLUME|WORKDIR|ENTRYPOINT)", rest in "\\PC{0,30}") {
            let _ = apply(&mut RunConfig::default(), &[format!("{word} {rest}")]);
        }
    }
}
