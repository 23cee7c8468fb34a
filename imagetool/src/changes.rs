//! `--change`: a few Dockerfile instructions upon an image's config.

use crate::build::dockerfile::{Command, Instruction, parse_one, ports};
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
    let word = text.split_whitespace().next().unwrap_or_default();
    if word.is_empty() || word.starts_with('#') {
        return Err(bad("file with no instructions"));
    }
    let name = word.to_ascii_uppercase();
    if !KNOWN.contains(&name.as_str()) {
        return Err(bad(&format!("{name} is not a valid change command")));
    }
    let step = parse_one(text, "change").map_err(|error| match error {
        Error::Dockerfile(fault) => bad(&fault.why),
        other => other,
    })?;
    let prefix = |name: &str| format!("{name}=");
    let get = |name: &str| {
        let value = config.env.iter().find_map(|v| v.strip_prefix(&prefix(name)));
        value.map(ToOwned::to_owned)
    };
    let what = step.what.expanded('\\', &get).map_err(|why| bad(&why))?;
    match what {
        Instruction::Cmd(command) => {
            config.cmd = Some(argv(command));
            *commanded = true;
        }
        Instruction::Entrypoint(command) => {
            config.entrypoint = Some(argv(command));
            // SPEC: Dockerfile: another entrypoint has no use for the old one's arguments.
            if !*commanded {
                config.cmd = None;
            }
        }
        Instruction::Healthcheck(check) => config.healthcheck = Some(*check),
        Instruction::Env(pairs) => {
            for (name, value) in pairs {
                let new = prefix(&name) + &value;
                match config.env.iter_mut().find(|v| v.starts_with(&prefix(&name))) {
                    Some(old) => *old = new,
                    None => config.env.push(new),
                }
            }
        }
        Instruction::Label(pairs) => config.labels.extend(pairs),
        Instruction::Expose(given) => {
            for port in given {
                let found = exposed(&port).ok_or_else(|| bad(PORT))?;
                config.exposed_ports.extend(found);
            }
        }
        Instruction::User(user) => config.user = user,
        Instruction::Volume(paths) => config.volumes.extend(paths),
        Instruction::Workdir(path) => config.working_dir = within(&config.working_dir, &path),
        Instruction::Stopsignal(signal) if is_signal(&signal) => config.stop_signal = signal,
        Instruction::Stopsignal(signal) => return Err(bad(&format!("invalid signal: {signal}"))),
        Instruction::Onbuild(text) => config.on_build.push(text),
        _ => return Err(bad(&format!("{name} is not a valid change command"))),
    }
    Ok(())
}

const KNOWN: [&str; 11] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// A number or a name, with or without SIG.
pub(crate) fn is_signal(text: &str) -> bool {
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

/// The list as it is; anything else is for a shell, and nothing at all empties it.
fn argv(command: Command) -> Vec<String> {
    match command {
        Command::Exec(list) => list,
        Command::Shell(text) if text.is_empty() => Vec::new(),
        Command::Shell(text) => vec!["/bin/sh".into(), "-c".into(), text],
    }
}

const PORT: &str = "a port is PORT[-PORT][/tcp|udp|sctp]";

/// `80`, `53/udp`, `8000-8002`; without the address and host's port that a Dockerfile may have.
fn exposed(text: &str) -> Option<Vec<String>> {
    let ports = ports(text).ok()?;
    (!text.contains(':') && !ports.iter().any(|port| port.starts_with("0/"))).then_some(ports)
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
            "WORKDIR $B",
        ]);
        assert_eq!(c.cmd.unwrap(), ["a", "b c"]);
        assert_eq!(c.entrypoint.unwrap(), ["/bin/sh", "-c", "echo hi"]);
        assert_eq!(c.env, ["A=two words", "B=2 3", "C=x y", "D=e f"]);
        let ports: Vec<_> = c.exposed_ports.into_iter().collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
        assert_eq!((c.labels["k"].as_str(), c.user.as_str()), ("v", "app:1"));
        assert_eq!(c.volumes.into_iter().collect::<Vec<_>>(), ["/a", "/b", "/c d"]);
        assert_eq!(c.working_dir, "/x/2 3");
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
        assert!(apply(&mut c, &["RUN x\nRUN y", "ENV A=1\nENV B=2"]).is_err());
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
