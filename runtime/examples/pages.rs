//! Man pages and completions, from the definitions that `--help` is from: `make pages`.

#[allow(dead_code, reason = "only the definitions are needed here")]
#[path = "../src/cli.rs"]
mod cli;

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap_complete::Shell;

const NAME: &str = "dhow-runtime";

fn main() -> io::Result<()> {
    let dir = env::args_os().nth(1).map_or_else(|| PathBuf::from("target/pages"), PathBuf::from);
    write(&dir)
}

fn write(dir: &Path) -> io::Result<()> {
    let tree = || cli::tree().no_binary_name(false).disable_help_subcommand(true);
    let man = dir.join("man8");
    fs::create_dir_all(&man)?;
    let mut all = tree();
    all.build();
    for command in std::iter::once(&all).chain(all.get_subcommands()) {
        let name = match command.get_name() {
            NAME => NAME.to_owned(),
            verb => format!("{NAME}-{verb}"),
        };
        let mut page = vec![];
        clap_mangen::Man::new(command.clone()).section("8").title(&*name).render(&mut page)?;
        fs::write(man.join(format!("{name}.8")), page)?;
    }
    for (shell, place) in [
        (Shell::Bash, "bash-completion/completions"),
        (Shell::Zsh, "zsh/site-functions"),
        (Shell::Fish, "fish/vendor_completions.d"),
    ] {
        let place = dir.join(place);
        fs::create_dir_all(&place)?;
        let written = clap_complete::generate_to(shell, &mut tree(), NAME, &place)?;
        if shell == Shell::Bash {
            // bash-completion looks for the command's name.
            fs::rename(written, place.join(NAME))?;
        }
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
        for verb in cli::VERBS {
            let page = read(&format!("man8/dhow-runtime-{}.8", verb.name));
            assert!(page.contains(".SH SYNOPSIS"), "{page}");
        }
        assert!(read("man8/dhow-runtime-exec.8").contains("\\-\\-preserve\\-fds"));
        assert!(read("man8/dhow-runtime.8").contains("\\-\\-systemd\\-cgroup"));
        for completion in [
            "bash-completion/completions/dhow-runtime",
            "zsh/site-functions/_dhow-runtime",
            "fish/vendor_completions.d/dhow-runtime.fish",
        ] {
            let text = read(completion);
            assert!(text.contains("ignore-paused") && text.contains("features"), "{completion}");
        }
    }
}
