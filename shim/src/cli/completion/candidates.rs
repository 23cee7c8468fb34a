//! What may stand at the cursor.

use clap::{Arg, ArgAction, Command};

use crate::cli::help::flags::is_bool;

/// What a positional argument or a flag's value names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
    /// Any of the four.
    Object,
}

/// Flags that name something.
const FLAGS: [(&str, Kind); 2] = [("network", Kind::Network), ("volumes-from", Kind::Container)];

/// Values of flags whose definition takes any text.
const VALUES: [(&str, &[&str]); 4] = [
    ("pull", &["always", "missing", "never"]),
    ("restart", &["no", "on-failure", "always", "unless-stopped"]),
    ("cgroupns", &["private", "host"]),
    ("log-driver", &["json-file", "local", "journald", "none"]),
];

/// The candidates for the last of `words`; `names` tells what the stores have.
pub fn of(root: &Command, words: &[String], names: &dyn Fn(Kind) -> Vec<String>) -> Vec<String> {
    let (typed, before) = words.split_last().map_or(("", &[][..]), |(last, rest)| (last, rest));
    let place = Place::after(root, before);
    if let Some(flag) = place.flag {
        return values(flag, typed, "", names);
    }
    if let Some((name, value)) = typed.split_once('=').filter(|_| typed.starts_with("--")) {
        let flag = place.command.get_arguments().find(|a| a.get_long() == name.strip_prefix("--"));
        return flag.map_or_else(Vec::new, |flag| values(flag, value, &format!("{name}="), names));
    }
    let mut found = Vec::new();
    if typed.starts_with('-') && !place.is_over {
        found = flags(place.command);
    } else if place.command.has_subcommands() {
        found = commands(place.command);
    } else if let Some(arg) = place.positional() {
        let values = arg.get_possible_values();
        found = values.iter().map(|v| v.get_name().to_owned()).collect();
        found.extend(kind_of(arg).map_or_else(Vec::new, names));
    }
    found.retain(|line| line.starts_with(typed));
    found
}

fn commands(command: &Command) -> Vec<String> {
    let shown = command.get_subcommands().filter(|c| !c.is_hide_set());
    let line = |c: &Command| match c.get_about() {
        Some(about) => format!("{}\t{about}", c.get_name()),
        None => c.get_name().to_owned(),
    };
    shown.map(line).collect()
}

fn flags(command: &Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|a| !a.is_hide_set());
    let line = |arg: &Arg| {
        let long = arg.get_long()?;
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        Some(format!("--{long}\t{help}"))
    };
    shown.filter_map(line).collect()
}

fn values(
    arg: &Arg,
    typed: &str,
    prefix: &str,
    names: &dyn Fn(Kind) -> Vec<String>,
) -> Vec<String> {
    let kind = FLAGS.iter().find(|(name, _)| arg.get_long() == Some(name));
    let mut found = match kind {
        Some((_, kind)) => names(*kind),
        None => match VALUES.iter().find(|(name, _)| arg.get_long() == Some(name)) {
            Some((_, values)) => values.iter().map(|v| (*v).to_owned()).collect(),
            None => arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect(),
        },
    };
    found.retain(|value| value.starts_with(typed));
    found.iter().map(|value| format!("{prefix}{value}")).collect()
}

/// Where the words before the cursor have led.
struct Place<'a> {
    command: &'a Command,
    /// A flag that still wants its value.
    flag: Option<&'a Arg>,
    /// How many arguments the verb has had.
    arguments: usize,
    /// Flags are no longer flags: after `--`, or after the image of `run`.
    is_over: bool,
}

impl<'a> Place<'a> {
    fn after(root: &'a Command, words: &[String]) -> Self {
        let mut place = Self { command: root, flag: None, arguments: 0, is_over: false };
        for word in words {
            place.take(word);
        }
        place
    }

    fn take(&mut self, word: &str) {
        if self.flag.take().is_some() {
            return;
        }
        if word == "--" {
            self.is_over = true;
        } else if word.starts_with('-') && word.len() > 1 && !self.is_over {
            self.flag = self.awaiting(word);
        } else if let Some(inner) =
            self.command.find_subcommand(word).filter(|_| self.arguments == 0)
        {
            self.command = inner;
        } else {
            self.arguments += 1;
            self.is_over |= self.command.get_positionals().any(Arg::is_trailing_var_arg_set);
        }
    }

    /// The flag that this word begins and whose value is the next word.
    fn awaiting(&self, word: &str) -> Option<&'a Arg> {
        let mut all = self.command.get_arguments();
        let found = match word.strip_prefix("--") {
            Some(long) if long.contains('=') => None,
            Some(long) => all.find(|a| a.get_long() == Some(long)),
            None => {
                let letter = word.chars().last();
                all.find(|a| letter.is_some() && a.get_short() == letter)
            }
        };
        found
            .filter(|a| !is_bool(a) && matches!(a.get_action(), ArgAction::Set | ArgAction::Append))
    }

    /// The next argument; nothing within a container's command.
    fn positional(&self) -> Option<&'a Arg> {
        let mut all = self.command.get_positionals();
        let many = |a: &&Arg| matches!(a.get_action(), ArgAction::Append);
        let last = self.command.get_positionals().last().filter(many);
        let arg = all.nth(self.arguments).or(last)?;
        (self.arguments == 0 || !arg.is_trailing_var_arg_set()).then_some(arg)
    }
}

/// What an argument names.
fn kind_of(arg: &Arg) -> Option<Kind> {
    let name = arg.get_value_names().and_then(|names| names.first())?.as_str();
    match name {
        _ if name.starts_with("CONTAINER") => Some(Kind::Container),
        _ if name.starts_with("IMAGE") || name.starts_with("SOURCE_IMAGE") => Some(Kind::Image),
        _ if name.starts_with("NETWORK") => Some(Kind::Network),
        _ if name.starts_with("VOLUME") => Some(Kind::Volume),
        "NAME|ID" => Some(Kind::Object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(String::from).collect();
        let names = |kind| match kind {
            Kind::Container => vec!["web".to_owned(), "db".to_owned()],
            Kind::Image => vec!["busybox:latest".to_owned()],
            Kind::Network => vec!["bridge".to_owned(), "front".to_owned()],
            Kind::Volume => vec!["data".to_owned()],
            Kind::Object => vec!["web".to_owned()],
        };
        let found = of(&crate::cli::definition(), &words, &names);
        found.iter().map(|l| l.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn commands_flags_values_and_names() {
        assert_eq!(at("ren"), ["rename"]);
        assert_eq!(at("container ren"), ["rename"]);
        assert_eq!(at("rm w"), ["web"]);
        assert_eq!(at("rm -f web "), ["web", "db"]);
        assert_eq!(at("ps --no"), ["--no-trunc"]);
        assert_eq!(at("run -it --rm busy"), ["busybox:latest"]);
        assert_eq!(at("run -e A=1 --name x busy"), ["busybox:latest"]);
        assert_eq!(at("run --name "), Vec::<String>::new());
        assert_eq!(at("run --pull a"), ["always"]);
        assert_eq!(at("run --pull=a"), ["--pull=always"]);
        assert_eq!(at("run --volumes-from w"), ["web"]);
        assert_eq!(at("run busybox --r"), Vec::<String>::new());
        assert_eq!(at("volume rm d"), ["data"]);
        assert_eq!(at("network rm f"), ["front"]);
        assert_eq!(at("run --network b"), ["bridge"]);
        assert_eq!(at("completion z"), ["zsh"]);
    }
}
