//! The command line that made a container, made into one for a unit.

use clap::{Arg, Command};

/// A flag as typed, by its long name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flag {
    name: String,
    value: Option<String>,
}

impl Flag {
    fn word(&self) -> String {
        match &self.value {
            Some(value) => format!("--{}={value}", self.name),
            None => format!("--{}", self.name),
        }
    }

    fn is_on(&self) -> bool {
        self.value.as_deref().is_none_or(|value| crate::cli::switch(value).unwrap_or(false))
    }
}

/// What systemd does, or the unit itself says.
const NOT_A_UNITS: [&str; 9] =
    ["detach", "rm", "name", "cidfile", "restart", "sdnotify", "timing", "attach", "sig-proxy"];

/// The flags, image and command of a `dhow run` that does in the foreground what `words` did; they
/// are the arguments of this program, and `root` is its definition. Variables that were taken over
/// from the caller have their values from `env`. Nothing for what makes no container.
pub fn reworked(root: &Command, words: &[String], env: &[String]) -> Option<Vec<String>> {
    let mut words = words;
    let mut verb = root;
    while !matches!(verb.get_name(), "run" | "create") {
        split(verb, &mut words)?;
        let (first, rest) = words.split_first()?;
        verb = verb.find_subcommand(first)?;
        words = rest;
    }
    let mut flags = split(verb, &mut words)?;
    let interactive = flags.iter().rfind(|f| f.name == "interactive").is_some_and(Flag::is_on);
    flags.retain(|flag| !NOT_A_UNITS.contains(&flag.name.as_str()));
    let mut out: Vec<String> = Vec::new();
    if interactive {
        // Its stdin stays open, and nobody is there to write to it.
        out.extend(["--attach=stdout", "--attach=stderr"].map(str::to_owned));
    }
    for mut flag in flags {
        if let ("env", Some(name)) = (flag.name.as_str(), &flag.value)
            && !name.contains('=')
        {
            let prefix = format!("{name}=");
            let Some(set) = env.iter().find(|set| set.starts_with(&prefix)) else { continue };
            flag.value = Some(set.clone());
        }
        out.push(flag.word());
    }
    out.extend(words.iter().cloned());
    Some(out)
}

/// Takes flags off the front of `words`, up to what is none.
fn split(command: &Command, words: &mut &[String]) -> Option<Vec<Flag>> {
    let mut flags = Vec::new();
    while let Some((word, rest)) = words.split_first() {
        if word == "--" {
            *words = rest;
            break;
        }
        if let Some(long) = word.strip_prefix("--") {
            *words = rest;
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let arg = named(command, name)?;
            let value = match value {
                None if wants(arg) => Some(next(words)?),
                value => value,
            };
            flags.push(Flag { name: arg.get_long()?.to_owned(), value });
        } else if let Some(cluster) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            *words = rest;
            cluster_of(command, cluster, words, &mut flags)?;
        } else {
            break;
        }
    }
    Some(flags)
}

/// `-it`, `-eA=1`, `-it=false`.
fn cluster_of(
    command: &Command,
    cluster: &str,
    words: &mut &[String],
    flags: &mut Vec<Flag>,
) -> Option<()> {
    let mut rest = cluster;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let arg = command.get_arguments().find(|arg| arg.get_short() == Some(c))?;
        let name = arg.get_long()?.to_owned();
        let value = if wants(arg) {
            let value = std::mem::take(&mut rest);
            let value = value.strip_prefix('=').unwrap_or(value);
            Some(if value.is_empty() { next(words)? } else { value.to_owned() })
        } else {
            let value = rest.strip_prefix('=');
            if value.is_some() {
                rest = "";
            }
            value.map(str::to_owned)
        };
        flags.push(Flag { name, value });
    }
    Some(())
}

fn named<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| {
        arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|a| a.contains(&name))
    })
}

/// Whether the value is a word of its own; that of a switch stands behind `=`.
fn wants(arg: &Arg) -> bool {
    arg.get_action().takes_values() && arg.get_num_args().is_none_or(|n| n.min_values() > 0)
}

fn next(words: &mut &[String]) -> Option<String> {
    let (first, rest) = words.split_first()?;
    *words = rest;
    Some(first.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let root = crate::cli::definition();
        reworked(&root, &words, &["B=2".to_owned(), "A=0".to_owned()]).map(|words| words.join(" "))
    }

    #[test]
    fn what_systemd_does_is_left_away() {
        let line = "--root /x run -d --rm --name web --restart=always -p 80:80 -eA=1 -e B busybox sh -c x -d";
        assert_eq!(of(line).unwrap(), "--publish=80:80 --env=A=1 --env=B=2 busybox sh -c x -d");
        assert_eq!(of("container create --memory 64m x").unwrap(), "--memory=64m x");
    }

    #[test]
    fn a_stdin_stays_open_without_a_terminal_of_ours() {
        assert_eq!(
            of("run -dit x").unwrap(),
            "--attach=stdout --attach=stderr --interactive --tty x"
        );
        assert_eq!(
            of("run -it=false x").unwrap(),
            "--attach=stdout --attach=stderr --interactive --tty=false x"
        );
        assert_eq!(of("run --init --read-only=true x").unwrap(), "--init --read-only=true x");
    }

    #[test]
    fn what_makes_no_container_is_none() {
        for line in ["ps", "run --nope x", "run -e", "system df", ""] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_words_panic(words in proptest::collection::vec("-{0,2}[a-zé=]{0,4}", 0..6)) {
            let words: Vec<String> = std::iter::once("run".to_owned()).chain(words).collect();
            let command = Command::new("dhow").subcommand(
                Command::new("run").arg(Arg::new("e").short('e').long("env")),
            );
            let _ = reworked(&command, &words, &[]);
        }
    }
}
