//! Counts: every command and flag of docker's is either done, and then spelled as docker spells
//! it, or refused by name; nothing is in neither, and nothing in both.

use std::collections::BTreeSet;

use clap::{Arg, Command};
use serde::Deserialize;

use super::{help, refusal};

/// docker's command tree.
#[derive(Deserialize)]
pub struct Docker {
    pub commands: Vec<Entry>,
}

#[derive(Deserialize)]
pub struct Entry {
    pub command: String,
    pub usage: String,
    pub spelled: Vec<String>,
    pub flags: Vec<Flag>,
}

#[derive(Deserialize)]
pub struct Flag {
    pub name: String,
    #[serde(default)]
    pub short: Option<char>,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub default: String,
}

/// What dhow has and docker hasn't.
const BUILDX: &str = "as buildx has it";
const PODMAN: &str = "as podman has it";

pub const EXTRAS: [(&str, &str, &str); 26] = [
    ("container run", "--timing", "says how long each step took"),
    ("container create", "--detach-keys", "are remembered for `attach`"),
    ("container start", "--sig-proxy", "as `run` and `attach` have it"),
    ("container run", "--sdnotify", PODMAN),
    ("container create", "--sdnotify", PODMAN),
    ("container start", "--sdnotify", PODMAN),
    ("image build", "--allow", BUILDX),
    ("image build", "--annotation", BUILDX),
    ("image build", "--attest", BUILDX),
    ("image build", "--build-context", BUILDX),
    ("image build", "--builder", BUILDX),
    ("image build", "--cache-to", BUILDX),
    ("image build", "--call", BUILDX),
    ("image build", "--check", BUILDX),
    ("image build", "--load", BUILDX),
    ("image build", "--metadata-file", BUILDX),
    ("image build", "--no-cache-filter", BUILDX),
    ("image build", "--output", BUILDX),
    ("image build", "--progress", BUILDX),
    ("image build", "--provenance", BUILDX),
    ("image build", "--push", BUILDX),
    ("image build", "--resource", BUILDX),
    ("image build", "--sbom", BUILDX),
    ("image build", "--secret", BUILDX),
    ("image build", "--ssh", BUILDX),
    ("image build", "--timestamp", "as buildah has it"),
];

pub fn docker() -> Docker {
    let text = include_str!("../../../tests/docker/commands.json");
    serde_json::from_str(text).expect("the list is JSON")
}

/// The definition of a command as typed, `container list`.
pub fn find(root: &Command, spelled: &str) -> Option<Command> {
    let mut words = spelled.split(' ');
    words.try_fold(root.clone(), |at, word| at.find_subcommand(word).cloned())
}

pub fn arg<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|a| {
        a.get_long() == Some(name) || a.get_all_aliases().is_some_and(|all| all.contains(&name))
    })
}

/// docker's word for a type of its definition, as it prints it.
fn docker_type(kind: &str) -> &str {
    match kind {
        "bool" => "",
        "int64" => "int",
        "uint64" => "uint",
        "float64" => "float",
        "stringSlice" => "strings",
        other => other,
    }
}

/// What a flag of ours has other than docker's.
fn unlike(arg: &Arg, flag: &Flag) -> Vec<String> {
    let mut found = Vec::new();
    let alias = arg.get_long() != Some(&flag.name);
    if !alias && arg.get_short() != flag.short {
        found.push(format!("short {:?}, docker's {:?}", arg.get_short(), flag.short));
    }
    if help::flags::is_bool(arg) != (flag.kind == "bool") {
        found.push(format!("a switch: {}, docker's type {}", help::flags::is_bool(arg), flag.kind));
    }
    if !alias && help::type_of(arg) != docker_type(&flag.kind) {
        let (ours, theirs) = (help::type_of(arg), docker_type(&flag.kind));
        found.push(format!("type {ours}, docker's {theirs}"));
    }
    let theirs = help::flags::shown_default(&flag.default);
    if !alias && help::flags::default_of(arg) != theirs {
        found.push(format!("default {:?}, docker's {theirs:?}", help::flags::default_of(arg)));
    }
    found
}

/// Done and refused, commands before flags; what is wrong is added to `faults`.
pub struct Counts {
    pub commands: [usize; 2],
    pub flags: [usize; 2],
}

pub fn count(root: &Command, docker: &Docker, faults: &mut Vec<String>) -> Counts {
    let mut counts = Counts { commands: [0; 2], flags: [0; 2] };
    for entry in &docker.commands {
        let canonical = refusal::canonical(&entry.command);
        let refused = refusal::command(&canonical).is_some();
        counts.commands[usize::from(refused)] += 1;
        for spelled in &entry.spelled {
            match (find(root, spelled), refused) {
                (None, false) => faults.push(format!("{spelled}: neither done nor refused")),
                (Some(_), true) => faults.push(format!("{spelled}: done and refused")),
                _ => {}
            }
        }
        let Some(ours) = find(root, &entry.command).filter(|_| !refused) else {
            counts.flags[1] += entry.flags.len();
            continue;
        };
        for flag in &entry.flags {
            let refused = refusal::flag(&canonical, &format!("--{}", flag.name)).is_some();
            counts.flags[usize::from(refused)] += 1;
            let name = format!("{} --{}", entry.command, flag.name);
            match (arg(&ours, &flag.name), refused) {
                (None, false) => faults.push(format!("{name}: neither done nor refused")),
                (Some(_), true) => faults.push(format!("{name}: done and refused")),
                (Some(arg), false) => {
                    faults.extend(unlike(arg, flag).iter().map(|f| format!("{name}: {f}")));
                }
                (None, true) => {}
            }
        }
    }
    counts
}

#[test]
fn every_command_and_flag_of_dockers_is_done_or_refused() {
    let mut faults = Vec::new();
    let counts = count(&super::definition(), &docker(), &mut faults);
    println!(
        "commands: {} done, {} refused; flags: {} done, {} refused",
        counts.commands[0], counts.commands[1], counts.flags[0], counts.flags[1]
    );
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn nothing_is_refused_that_docker_has_not() {
    let docker = docker();
    let names: BTreeSet<String> =
        docker.commands.iter().map(|c| refusal::canonical(&c.command)).collect();
    let flags: BTreeSet<(String, String)> = (docker.commands.iter())
        .flat_map(|c| {
            c.flags.iter().map(|f| (refusal::canonical(&c.command), format!("--{}", f.name)))
        })
        .collect();
    for (name, _) in refusal::commands() {
        let known = names.contains(&refusal::canonical(name)) || refusal::is_further(name);
        assert!(known, "{name} is refused, and docker hasn't it");
    }
    for (command, flag, ..) in refusal::flags() {
        let known = flags.contains(&(command.to_owned(), flag.to_owned()))
            || refusal::is_further(&format!("{command} {flag}"));
        assert!(known, "{command} {flag} is refused, and docker hasn't it");
    }
}

#[test]
fn what_docker_has_not_is_on_the_list_of_extras() {
    let root = super::definition();
    let docker = docker();
    for entry in &docker.commands {
        let Some(ours) = find(&root, &entry.command) else { continue };
        let canonical = refusal::canonical(&entry.command);
        for arg in ours.get_arguments().filter(|a| a.get_long().is_some_and(|l| l != "help")) {
            let long = arg.get_long().unwrap_or_default();
            let extra = |(command, flag, _): &(&str, &str, &str)| {
                canonical == *command && flag.strip_prefix("--") == Some(long)
            };
            let known = entry.flags.iter().any(|f| f.name == long) || EXTRAS.iter().any(extra);
            assert!(known, "{} --{long} is not docker's", entry.command);
        }
    }
}

#[test]
fn usages_and_spellings_are_dockers() {
    let root = super::definition();
    let mut faults = Vec::new();
    for entry in docker().commands {
        let Some(ours) = find(&root, &entry.command).filter(|c| !c.has_subcommands()) else {
            continue;
        };
        let group = entry.command.rsplit_once(' ').map_or("", |(group, _)| group);
        let usage = help::usage(&ours, &format!("dhow {}", entry.command));
        let usage = usage.trim_start_matches("dhow ").trim_start_matches(group).trim_start();
        let theirs = entry.usage.lines().next().unwrap_or_default();
        if usage != theirs {
            faults.push(format!("usage {usage:?}, docker's {theirs:?}"));
        }
        let spelled: BTreeSet<String> =
            help::spellings(&root, &entry.command).into_iter().collect();
        let theirs: BTreeSet<String> = entry.spelled.iter().cloned().collect();
        if !spelled.is_superset(&theirs) {
            faults.push(format!("{}: spelled {spelled:?}, docker's {theirs:?}", entry.command));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
