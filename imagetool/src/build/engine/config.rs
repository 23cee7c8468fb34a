//! Instructions that change the image's config and make no layer.

use dhow_template::quoted;

use super::state::State;
use crate::build::dockerfile::{Argument, Command, Instruction, ports};
use crate::build::expand::{self, Lookup};
use crate::build::plan::Vars;
use crate::config::Healthcheck;

/// What ARGs of a stage are looked up in.
pub(crate) struct Given<'a> {
    /// `--build-arg`
    pub args: &'a std::collections::BTreeMap<String, String>,
    /// The global scope.
    pub globals: &'a Vars,
    /// `# escape=`
    pub escape: char,
    /// This stage has had a CMD.
    pub commanded: &'a mut bool,
}

impl State {
    /// Does one; `false` if it is of another kind. Its variables are expanded.
    pub fn configure(&mut self, what: &Instruction, given: &mut Given<'_>) -> Result<bool, String> {
        match what {
            Instruction::Arg(all) => self.arg(all, given)?,
            Instruction::Env(all) => {
                for (name, value) in all {
                    self.env.set(name, value);
                    set_line(&mut self.image.config.env, name, value);
                }
                self.noted(format!("ENV {}", pairs(all)));
            }
            Instruction::Label(all) => {
                self.image.config.labels.extend(all.iter().cloned());
                self.noted(format!("LABEL {}", pairs(all)));
            }
            Instruction::User(user) => {
                self.image.config.user.clone_from(user);
                self.noted(format!("USER {user}"));
            }
            Instruction::Expose(all) => {
                let mut list = Vec::new();
                for port in all {
                    list.extend(ports(port)?);
                }
                self.noted(format!("EXPOSE [{}]", list.join(" ")));
                self.image.config.exposed_ports.extend(list);
            }
            Instruction::Volume(paths) => {
                self.image.config.volumes.extend(paths.iter().cloned());
                self.noted(format!("VOLUME [{}]", paths.join(" ")));
            }
            Instruction::Cmd(command) => {
                let argv = self.argv(command);
                self.noted(format!("CMD {}", list(&argv)));
                // Go leaves an empty list out.
                self.image.config.cmd = Some(argv).filter(|argv| !argv.is_empty());
                self.image.config.args_escaped = true;
                *given.commanded = true;
            }
            Instruction::Entrypoint(command) => {
                let argv = self.argv(command);
                self.noted(format!("ENTRYPOINT {}", list(&argv)));
                self.image.config.entrypoint = Some(argv).filter(|argv| !argv.is_empty());
                if !*given.commanded {
                    self.image.config.cmd = None;
                }
            }
            Instruction::Shell(shell) => {
                self.image.config.shell = Some(shell.clone());
                self.noted(format!("SHELL [{}]", shell.join(" ")));
            }
            Instruction::Stopsignal(signal) => {
                if !crate::changes::is_signal(signal) {
                    return Err(format!("invalid signal: {signal}"));
                }
                self.image.config.stop_signal.clone_from(signal);
                self.noted(format!("STOPSIGNAL {signal}"));
            }
            Instruction::Healthcheck(check) => {
                self.noted(format!("HEALTHCHECK {}", health(check)));
                self.image.config.healthcheck = Some((**check).clone());
            }
            Instruction::Onbuild(text) => self.image.config.on_build.push(text.clone()),
            Instruction::Maintainer(who) => {
                self.image.author.clone_from(who);
                self.noted(format!("MAINTAINER {who}"));
            }
            Instruction::Run(_)
            | Instruction::Copy(_)
            | Instruction::Add(_)
            | Instruction::Workdir(_) => return Ok(false),
        }
        Ok(true)
    }

    /// ARG: what was given, else its default, else the global scope's.
    fn arg(&mut self, all: &[Argument], given: &Given<'_>) -> Result<(), String> {
        let mut told = Vec::new();
        for arg in all {
            let value = match (given.args.get(&arg.name), &arg.value) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => {
                    let get: Lookup<'_> = &|name| self.env.get(name);
                    Some(expand::word(default, given.escape, get)?)
                }
                (None, None) => given.globals.get(&arg.name),
            };
            told.push(match &value {
                Some(value) => format!("{}={value}", arg.name),
                None => arg.name.clone(),
            });
            if let Some(value) = &value {
                self.env.set(&arg.name, value);
            }
            self.args.push((arg.name.clone(), value));
        }
        self.noted(format!("ARG {}", told.join(" ")));
        Ok(())
    }

    /// A command as it is run.
    pub fn argv(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(argv) => argv.clone(),
            Command::Shell(text) => {
                let shell = self.image.config.shell.as_deref().filter(|shell| !shell.is_empty());
                let default = ["/bin/sh".to_owned(), "-c".to_owned()];
                shell.unwrap_or(&default).iter().cloned().chain([text.clone()]).collect()
            }
        }
    }
}

fn set_line(env: &mut Vec<String>, name: &str, value: &str) {
    let line = format!("{name}={value}");
    let old =
        env.iter_mut().find(|old| old.split_once('=').map_or(old.as_str(), |(n, _)| n) == name);
    match old {
        Some(old) => *old = line,
        None => env.push(line),
    }
}

fn pairs(all: &[(String, String)]) -> String {
    let texts: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    texts.join(" ")
}

/// Go's `%q` of a list.
fn list(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(word, '"')).collect();
    format!("[{}]", words.join(" "))
}

/// Go's `%+v` of moby's type.
fn health(check: &Healthcheck) -> String {
    let time = dhow_template::duration;
    format!(
        "{{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        check.test.join(" "),
        time(check.interval),
        time(check.timeout),
        time(check.start_period),
        time(check.start_interval),
        check.retries
    )
}
