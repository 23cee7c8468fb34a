//! argv to flags: in the ways that runc's callers have of writing them, and then by clap.
//!
//! runc's parser is Go's: `-bundle X` is `--bundle X`, `--detach=false` is a flag, a value may
//! begin with a dash, an empty one is none, global flags may follow the verb, and what is given
//! twice counts as given last. Here all of it becomes `--flag=value` before clap sees it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, FromArgMatches};

use crate::cli::{self, Command, Global, VERBS, Verb};

/// Why there is no command to perform.
pub enum Stop {
    /// Help was asked for: a verb's, or all of it.
    Help(Option<&'static Verb>),
    /// The version was asked for.
    Version,
    /// It was typed wrongly.
    Wrong {
        /// The global flags, as far as they were right: the log is told too.
        global: Box<Global>,
        /// What is wrong, in a line.
        why: String,
    },
}

impl Stop {
    fn wrong(why: impl Into<String>) -> Self {
        Self::Wrong { global: Box::default(), why: why.into() }
    }
}

/// What was typed.
pub struct Typed {
    /// The flags before the verb.
    pub global: Global,
    /// The verb and its flags.
    pub command: Command,
    /// The container it is about; empty for none.
    pub id: String,
}

/// Reads the words after the program's name.
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Typed, Stop> {
    let mut words = words.into_iter();
    let root = cli::root();
    let mut scopes = [Scope::new(&root)];
    let name = settle(&mut scopes, &mut words, Ends::AtFirst).map_err(Stop::wrong)?;
    let [Scope { words: mut before, .. }] = scopes;
    let verb = name.as_deref().and_then(find);
    let name = name.map(|name| name.to_string_lossy().into_owned());
    let Some(verb) = verb else {
        let mut global = global(root, before)?;
        return Err(match name.as_deref() {
            _ if std::mem::take(&mut global.version) => Stop::Version,
            None => Stop::Help(None),
            Some("help" | "h") => Stop::Help(words.next().and_then(|name| find(&name))),
            Some(name) => Stop::Wrong { global: Box::new(global), why: unknown(name) },
        });
    };
    let command = verb.command();
    let mut scopes = [Scope::new(&command), Scope::new(&root)];
    let ends = if verb.ends_at_id() { Ends::AfterFirst } else { Ends::Never };
    let settled = settle(&mut scopes, &mut words, ends);
    let [Scope { words: own, .. }, Scope { words: mut hoisted, .. }] = scopes;
    before.append(&mut hoisted);
    let global = global(root, before)?;
    if global.version {
        return Err(Stop::Version);
    }
    match settled.map(|_| read(verb, command, own)) {
        Ok(Ok((command, id))) => Ok(Typed { global, command, id }),
        Ok(Err(None)) => Err(Stop::Help(Some(verb))),
        Ok(Err(Some(why))) | Err(why) => Err(Stop::Wrong { global: Box::new(global), why }),
    }
}

fn global(root: clap::Command, words: Vec<OsString>) -> Result<Global, Stop> {
    let typed = root.try_get_matches_from(words).and_then(|m| Global::from_arg_matches(&m));
    typed.map_err(|e| match e.kind() {
        ErrorKind::DisplayHelp => Stop::Help(None),
        _ => Stop::wrong(worded(&e, "a command is missing: try dhow-runtime --help")),
    })
}

/// The verb's flags; `None` when help was asked for.
fn read(
    verb: &Verb,
    command: clap::Command,
    own: Vec<OsString>,
) -> Result<(Command, String), Option<String>> {
    let count = count(verb.name, &command, &own);
    let typed = command.try_get_matches_from(own).and_then(|matches| {
        let id = matches.try_get_one::<String>("id").ok().flatten().cloned();
        Ok(((verb.read)(&matches)?, id.unwrap_or_default()))
    });
    typed.map_err(|e| (e.kind() != ErrorKind::DisplayHelp).then(|| worded(&e, &count)))
}

fn find(name: &OsStr) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| name == verb.name)
}

/// All of the help, or a verb's, laid out as runc's; `name` is what this program was called by.
pub fn help(name: &str, verb: Option<&Verb>) -> String {
    const LAYOUT: &str =
        "NAME:\n   {name} - {about}\n\nUSAGE:\n   {usage}\n\n{all-args}{after-help}";
    let (command, bin) = match verb {
        None => (cli::tree(), name.to_owned()),
        Some(verb) => (verb.command(), format!("{name} {}", verb.name)),
    };
    let command = match verb {
        Some(verb) => {
            let usage = format!("Usage: {name} [OPTION...] {}{}", verb.name, words(&command));
            command.after_help(format!("{usage}\nThe options before the command: {name} --help"))
        }
        None => command,
    };
    command.display_name(&bin).bin_name(bin).help_template(LAYOUT).render_help().to_string()
}

/// What follows the verb, as crun names it.
fn words(command: &clap::Command) -> String {
    let word = |arg: &Arg| {
        let values = arg.get_value_names().unwrap_or_default();
        let name = values.first().map_or_else(|| arg.get_id().as_str(), |name| name.as_str());
        match arg.get_id().as_str() {
            "id" if arg.is_required_set() => " CONTAINER".to_owned(),
            "id" => " [CONTAINER]".to_owned(),
            "args" => " cmd".to_owned(),
            _ if arg.is_required_set() && !name.contains('|') => format!(" {name}"),
            _ => format!(" [{name}]"),
        }
    };
    command.get_positionals().map(word).collect()
}

fn unknown(name: &str) -> String {
    match name {
        "init" => "init: not supported: it is runc's own second half, and no command".into(),
        // DIFFERS: runc exits with 3 here, and with 1 for all else that is typed wrongly.
        _ => format!("No help topic for '{name}': no such command: try dhow-runtime --help"),
    }
}

/// A command that flags are looked up in, and its words, settled.
struct Scope<'a> {
    command: &'a clap::Command,
    words: Vec<OsString>,
}

impl<'a> Scope<'a> {
    fn new(command: &'a clap::Command) -> Self {
        Self { command, words: vec![] }
    }

    fn long(&self, name: &str) -> Option<&'a Arg> {
        self.command.get_arguments().find(|arg| {
            arg.get_long() == Some(name)
                || arg.get_all_aliases().is_some_and(|all| all.contains(&name))
        })
    }

    fn short(&self, name: char) -> Option<&'a Arg> {
        self.command.get_arguments().find(|arg| {
            arg.get_short() == Some(name)
                || arg.get_all_short_aliases().is_some_and(|all| all.contains(&name))
        })
    }

    /// As Go: one dash or two, a short name or a long one.
    fn named(&self, name: &str) -> Option<&'a Arg> {
        let mut chars = name.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => self.short(only),
            _ => self.long(name),
        }
    }

    /// Writes one flag down; takes its value from `words` where it isn't in the word itself.
    fn put(
        &mut self,
        arg: &Arg,
        value: Option<OsString>,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), String> {
        let name = arg.get_long().unwrap_or_default();
        let bare = OsString::from(format!("--{name}"));
        if !arg.get_action().takes_values() {
            let on = value.as_ref().map_or(Some(true), |v| v.to_str().and_then(cli::boolean));
            match on {
                Some(true) => self.words.push(bare),
                Some(false) => self.words.retain(|word| *word != bare),
                None => {
                    let value = value.unwrap_or_default().into_encoded_bytes();
                    let value = String::from_utf8_lossy(&value);
                    return Err(format!("invalid value {value:?} for flag --{name}: parse error"));
                }
            }
            return Ok(());
        }
        let value = match value {
            None if arg.is_require_equals_set() => {
                self.words.push(bare);
                return Ok(());
            }
            None => words.next().ok_or_else(|| format!("flag needs an argument: --{name}"))?,
            Some(value) => value,
        };
        // The one switch that is three-valued: on, off, and as the config has it.
        let value = match value.to_str().and_then(cli::boolean) {
            Some(on) if arg.is_require_equals_set() => on.to_string().into(),
            _ => value,
        };
        // As runc, whose flags are empty when they aren't given; but a root or a list is meant.
        let given = !value.is_empty() || name == "root";
        if given || !matches!(arg.get_action(), clap::ArgAction::Set) {
            let mut word = bare;
            word.push("=");
            word.push(value);
            self.words.push(word);
        }
        Ok(())
    }

    /// crun's and everybody's `-tu 1000`: short names side by side, the last one with its value.
    fn side_by_side(
        &mut self,
        name: &str,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Option<Result<(), String>> {
        let valued = |arg: &Arg| arg.get_action().takes_values();
        let mut flags = vec![];
        for (at, letter) in name.char_indices() {
            let arg = self.short(letter)?;
            flags.push(arg);
            if valued(arg) {
                let rest = &name[at + letter.len_utf8()..];
                let value = (!rest.is_empty()).then(|| rest.into());
                let (last, others) = flags.split_last()?;
                let done = others.iter().try_for_each(|arg| self.put(arg, None, words));
                return Some(done.and_then(|()| self.put(last, value, words)));
            }
        }
        Some(flags.iter().try_for_each(|arg| self.put(arg, None, words)))
    }
}

/// Where flags end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// At the first word that is none, which is answered.
    AtFirst,
    /// After that word.
    AfterFirst,
    /// Only at `--`.
    Never,
}

/// Writes every flag into the scope that has it.
fn settle(
    scopes: &mut [Scope<'_>],
    words: &mut impl Iterator<Item = OsString>,
    ends: Ends,
) -> Result<Option<OsString>, String> {
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        let (dashes, name) = match bytes {
            b"--" => {
                scopes[0].words.push(word);
                scopes[0].words.extend(words);
                return Ok(None);
            }
            [b'-', b'-', name @ ..] => (2, name),
            [b'-', name @ ..] if !name.is_empty() => (1, name),
            _ if ends == Ends::AtFirst => return Ok(Some(word)),
            _ => {
                scopes[0].words.push(word);
                if ends == Ends::AfterFirst {
                    program(&mut scopes[0].words, words);
                    return Ok(None);
                }
                continue;
            }
        };
        let mut halves = name.splitn(2, |byte| *byte == b'=');
        let name = halves.next().and_then(|name| str::from_utf8(name).ok()).unwrap_or_default();
        let value = halves.next().map(|value| OsString::from_vec(value.to_vec()));
        let found = scopes.iter().position(|scope| scope.named(name).is_some());
        if let Some((scope, arg)) = found.and_then(|n| Some((n, scopes[n].named(name)?))) {
            scopes[scope].put(arg, value, words)?;
        } else if matches!(name, "help" | "h") {
            scopes[0].words.push("--help".into());
        } else if let Some(done) =
            (dashes == 1).then(|| scopes[0].side_by_side(name, words)).flatten()
        {
            done?;
        } else {
            scopes[0].words.push(word);
        }
    }
    Ok(None)
}

/// What follows the id is the program's, whatever it looks like; as runc, one `--` is not.
fn program(settled: &mut Vec<OsString>, words: &mut impl Iterator<Item = OsString>) {
    settled.push("--".into());
    settled.extend(words.next().filter(|word| word != "--"));
    settled.extend(words);
}

/// runc's words for too many or too few of them.
fn count(verb: &str, command: &clap::Command, words: &[OsString]) -> String {
    let required = command.get_positionals().filter(|arg| arg.is_required_set()).count();
    let most = command.get_positionals().count();
    let open = command.get_positionals().any(Arg::is_trailing_var_arg_set);
    let given = words.iter().filter(|word| !word.as_bytes().starts_with(b"-")).count();
    let rule = match () {
        () if !open && required == most => format!("exactly {required}"),
        () if given < required => format!("a minimum of {required}"),
        () => format!("a maximum of {most}"),
    };
    format!("{verb:?} requires {rule} argument(s): try dhow-runtime {verb} --help")
}

/// clap's report in one line, in Go's words where it has some.
///
/// DIFFERS: runc says "Incorrect Usage." and prints the whole help on standard output, too.
fn worded(e: &clap::Error, count: &str) -> String {
    let text = |kind| match e.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(all)) => all.join(", "),
        _ => String::new(),
    };
    let flag = text(ContextKind::InvalidArg);
    match e.kind() {
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            let near = text(ContextKind::SuggestedArg);
            let near = if near.is_empty() { near } else { format!(" (is {near} meant?)") };
            format!("flag provided but not defined: {flag}{near}")
        }
        ErrorKind::UnknownArgument | ErrorKind::MissingRequiredArgument => count.to_owned(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let flag = flag.split(' ').next().unwrap_or_default();
            let value = text(ContextKind::InvalidValue);
            let valid = text(ContextKind::ValidValue);
            let why = match std::error::Error::source(e) {
                Some(source) => source.to_string(),
                None => format!("one of {valid}"),
            };
            format!("invalid value {value:?} for flag {flag}: {why}")
        }
        _ => {
            let all = e.to_string();
            all.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Typed, Stop> {
        parse(line.split(' ').map(|word| if word == "''" { "".into() } else { word.into() }))
    }

    /// What clap made of it, for a look at all of it at once.
    #[track_caller]
    fn shown(line: &str) -> String {
        match typed(line) {
            Ok(typed) => format!("{:?} {:?}", typed.global, typed.command),
            Err(Stop::Wrong { why, .. }) => panic!("{line}: {why}"),
            Err(Stop::Help(_) | Stop::Version) => panic!("{line}: no command"),
        }
    }

    #[track_caller]
    fn wrong(line: &str) -> String {
        match typed(line) {
            Err(Stop::Wrong { why, .. }) => why,
            Ok(typed) => panic!("{line}: {:?}", typed.command),
            Err(Stop::Help(_) | Stop::Version) => panic!("{line}: help or version"),
        }
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        let plain = shown("--root /r run --bundle /b --detach --pid-file p c");
        for line in [
            "-root /r run -bundle /b -detach -pid-file p c",
            "-root=/r run -bundle=/b -d=true -pid-file=p c",
            "--root=/r run -b /b -d c --pid-file p",
            "run c --b=/b --d --root /r --pid-file p",
            "run --bundle /x --detach=false -db /b --root /x --root /r --pid-file=p -- c",
        ] {
            assert_eq!(shown(line), plain, "{line}");
        }
    }

    #[test]
    fn a_switch_can_be_put_off() {
        assert_eq!(shown("delete --force=false c"), shown("delete c"));
        assert_eq!(shown("delete -f -force=F c"), shown("delete c"));
        assert_eq!(shown("delete --force=1 c"), shown("delete -f c"));
        assert_eq!(shown("--systemd-cgroup=false state c"), shown("state c"));
        assert!(shown("exec --no-new-privs=0 c x").contains("no_new_privs: Some(false)"));
        assert!(shown("exec --no-new-privs c x").contains("no_new_privs: Some(true)"));
        let why = wrong("delete --force=maybe c");
        assert_eq!(why, "invalid value \"maybe\" for flag --force: parse error");
    }

    #[test]
    fn an_empty_value_is_none() {
        let plain = shown("create c");
        assert_eq!(shown("--log '' create --console-socket '' --pid-file= c"), plain);
        assert!(wrong("--root '' create c").contains("--root"));
    }

    #[test]
    fn a_value_may_begin_with_a_dash() {
        assert!(shown("exec --cwd -x c true").contains("cwd: Some(\"-x\")"));
        assert!(shown("update --cpu-quota -1 c").contains("cpu_quota: Some(-1)"));
        assert!(shown("kill c -9").contains("signal: Some(\"-9\")"));
    }

    #[test]
    fn the_lines_that_engines_send_are_read() {
        for line in [
            // conmon, for podman and CRI-O
            "--systemd-cgroup --log-format=json --log /l create --bundle /b --pid-file /p c",
            "--log-format=json --log /l create --bundle /b --pid-file /p --console-socket /s --preserve-fds 2 c",
            "--log-format=json --log /l exec --pid-file /p --process /f --detach c",
            "--log-format=json --log /l exec --pid-file /p --process /f --detach --tty --console-socket /s c",
            "kill c 15",
            "delete --force c",
            "update --resources=/f c",
            "--root=/r kill --all c KILL",
            "--root=/r pause c",
            "--root=/r checkpoint --image-path /i --work-path /w --leave-running --tcp-established c",
            "--root=/r restore --image-path /i --work-path /w -d --bundle /b --pid-file /p c",
            // containerd's shim, for ctr, its CRI plugin and dockerd
            "--root /r --log /l --log-format json create --bundle /b --pid-file /p --no-new-keyring c",
            "--root /r --log /l --log-format json --systemd-cgroup run --bundle /b --detach --no-pivot c",
            "--root /r --log /l --log-format json start c",
            "--root /r --log /l --log-format json exec --process /f --console-socket /s --detach --pid-file /p c",
            "--root /r --log /l --log-format json kill --all c 9",
            "--root /r --log /l --log-format json ps --format json c",
            "--root /r --log /l --log-format json update --resources - c",
            "--root /r --log /l --log-format json events --stats c",
            "--root /r --log /l --log-format json delete --force c",
            // crun's order
            "run c --bundle /b --config /f --detach",
            "--cgroup-manager=cgroupfs --log-level=error list --format json",
        ] {
            shown(line);
        }
    }

    #[test]
    fn what_follows_the_id_is_the_programs() {
        let args = |line: &str| match typed(line) {
            Ok(Typed { command: Command::Exec(exec), .. }) => (exec.id, exec.tty, exec.args),
            _ => panic!("{line}"),
        };
        let expect = |tty, words: &str| {
            ("c".to_owned(), tty, words.split(' ').map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(args("exec c ls -l --root /x --help"), expect(false, "ls -l --root /x --help"));
        assert_eq!(args("exec c -t sh"), expect(false, "-t sh"));
        assert_eq!(args("exec -tu 7 c sh"), expect(true, "sh"));
        assert_eq!(args("exec -t -- c sh -c x"), expect(true, "sh -c x"));
        assert_eq!(args("exec c -- sh -- -c"), expect(false, "sh -- -c"));
        match typed("ps -f table c -o pid,args").map(|typed| typed.command) {
            Ok(Command::Ps(ps)) => assert_eq!(ps.options, ["-o", "pid,args"]),
            _ => panic!("ps"),
        }
    }

    #[test]
    fn wrong_usage_is_told_in_one_line() {
        for (line, start) in [
            ("create", "\"create\" requires exactly 1 argument(s)"),
            ("create a b", "\"create\" requires exactly 1 argument(s)"),
            ("list a", "\"list\" requires exactly 0 argument(s)"),
            ("exec -t", "\"exec\" requires a minimum of 1 argument(s)"),
            ("kill", "\"kill\" requires a minimum of 1 argument(s)"),
            ("kill a b c", "\"kill\" requires a maximum of 2 argument(s)"),
            ("create --no-such c", "flag provided but not defined: --no-such"),
            (
                "create --bundel /b c",
                "flag provided but not defined: --bundel (is --bundle meant?)",
            ),
            ("--no-such state c", "flag provided but not defined: --no-such"),
            ("create c --pid-file", "flag needs an argument: --pid-file"),
            ("list -f xml", "invalid value \"xml\" for flag --format: invalid format option"),
            ("--rootless perhaps list", "invalid value \"perhaps\" for flag --rootless: "),
            ("--log-format xml list", "invalid value \"xml\" for flag --log-format: one of text, "),
            ("mounts add c", "\"mounts\" requires exactly 3 argument(s)"),
            ("mounts move c f", "invalid value \"move\" for "),
            ("-- state c", "a command is missing"),
            ("dance -h", "No help topic for 'dance': no such command"),
        ] {
            let why = wrong(line);
            assert!(why.starts_with(start), "{line}: {why}");
            assert!(!why.contains('\n'), "{line}: {why}");
        }
    }

    #[test]
    fn wrong_usage_of_a_verb_still_goes_to_the_log() {
        match typed("--log /x --log-format json create") {
            Err(Stop::Wrong { global, .. }) => {
                assert_eq!(global.log.as_deref(), Some(std::path::Path::new("/x")));
                assert_eq!(global.log_format, cli::Format::Json);
            }
            _ => panic!("no error"),
        }
    }

    #[test]
    fn help_is_given_in_every_way_of_asking() {
        for line in ["--help", "-h", "help", "''", "-root /x --help"] {
            let line = if line == "''" { "--root=/x" } else { line };
            match typed(line) {
                Err(Stop::Help(None)) => {}
                _ => panic!("{line}"),
            }
        }
        for line in ["run --help", "run -h", "help run", "h run", "run --bundle /b -help c"] {
            match typed(line) {
                Err(Stop::Help(Some(verb))) => assert_eq!(verb.name, "run", "{line}"),
                _ => panic!("{line}"),
            }
        }
    }

    #[test]
    fn help_is_laid_out_as_runc_s() {
        let all = help("runc", None);
        assert!(all.starts_with("NAME:\n   runc - Open Container Initiative runtime"), "{all}");
        assert!(all.contains("USAGE:\n   runc [OPTIONS] ") && all.contains("update"), "{all}");
        for verb in VERBS {
            let text = help("runc", Some(verb));
            assert!(text.starts_with(&format!("NAME:\n   runc {} - ", verb.name)), "{text}");
            assert!(text.contains(&format!("USAGE:\n   runc {}", verb.name)), "{text}");
        }
    }

    #[test]
    fn every_definition_is_sound() {
        cli::tree().debug_assert();
    }
}
