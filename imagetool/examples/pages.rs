//! dhow-image's man pages and completions, from the definition that `--help` is from: `make pages`.
#![allow(dead_code, missing_docs, reason = "only the definitions are needed here")]

#[path = "../src/bar.rs"]
mod bar;
#[path = "../src/cli/mod.rs"]
mod cli;
#[path = "../src/command/mod.rs"]
mod command;
#[path = "../src/context/mod.rs"]
mod context;
#[path = "../src/ending.rs"]
mod ending;

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap_complete::Shell;

const NAME: &str = "dhow-image";

fn main() -> io::Result<()> {
    let dir = env::args_os().nth(1).map_or_else(|| PathBuf::from("target/pages"), PathBuf::from);
    write(&dir)
}

fn write(dir: &Path) -> io::Result<()> {
    let man = dir.join("man1");
    fs::create_dir_all(&man)?;
    page(&man, &cli::Cli::shown(), NAME)?;
    for (shell, place) in [
        (Shell::Bash, "bash-completion/completions"),
        (Shell::Zsh, "zsh/site-functions"),
        (Shell::Fish, "fish/vendor_completions.d"),
    ] {
        let place = dir.join(place);
        fs::create_dir_all(&place)?;
        let written = clap_complete::generate_to(shell, &mut cli::Cli::shown(), NAME, &place)?;
        if shell == Shell::Bash {
            // bash-completion looks for the command's name.
            fs::rename(written, place.join(NAME))?;
        }
    }
    Ok(())
}

fn page(dir: &Path, command: &clap::Command, name: &str) -> io::Result<()> {
    let mut page = vec![];
    let spelled = command.clone().display_name(name.to_owned());
    clap_mangen::Man::new(spelled).section("1").title(name).render(&mut page)?;
    fs::write(dir.join(format!("{name}.1")), page)?;
    for verb in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        self::page(dir, verb, &format!("{name}-{}", verb.get_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_its_page_and_every_shell_its_completion() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        for verb in cli::Cli::shown().get_subcommands().filter(|c| !c.is_hide_set()) {
            let page = read(&format!("man1/dhow-image-{}.1", verb.get_name()));
            assert!(page.contains(".SH SYNOPSIS"), "{page}");
        }
        assert!(read("bash-completion/completions/dhow-image").contains("unpack"));
    }
}
