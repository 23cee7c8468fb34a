//! dhow's man pages, completions and systemd units; the former from the definition that `--help` is from: `make pages`.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::Command;
use dhow::cli::{Shell, definition, script};
use dhow::units::{Manager, machine};

fn main() -> io::Result<()> {
    let dir = env::args_os().nth(1).map_or_else(|| PathBuf::from("target/pages"), PathBuf::from);
    write(&dir)
}

fn write(dir: &Path) -> io::Result<()> {
    let man = dir.join("man1");
    fs::create_dir_all(&man)?;
    let mut all = definition();
    all.build();
    page(&man, &all, "dhow")?;
    for (shell, place) in [
        (Shell::Bash, "bash-completion/completions/dhow"),
        (Shell::Zsh, "zsh/site-functions/_dhow"),
        (Shell::Fish, "fish/vendor_completions.d/dhow.fish"),
        (Shell::Powershell, "powershell/dhow.ps1"),
    ] {
        let place = dir.join(place);
        fs::create_dir_all(place.parent().expect("every place is in a folder"))?;
        fs::write(place, script(shell))?;
    }
    let dhow = ["/usr/bin/dhow".to_owned()];
    for (manager, place, root) in [
        (Manager::System, "systemd/system", Some("/var/lib/dhow")),
        (Manager::User, "systemd/user", None),
    ] {
        let place = dir.join(place);
        fs::create_dir_all(&place)?;
        let unit = machine(manager, &dhow, root).map_err(|e| io::Error::other(e.message))?;
        fs::write(place.join("dhow.service"), unit)?;
    }
    Ok(())
}

/// The command's page, `dhow-container-ls.1`, and those of what is below it.
fn page(dir: &Path, command: &Command, name: &str) -> io::Result<()> {
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
        let mut all = definition();
        all.build();
        for verb in all.get_subcommands().filter(|c| !c.is_hide_set()) {
            let page = read(&format!("man1/dhow-{}.1", verb.get_name()));
            assert!(page.contains(".SH SYNOPSIS"), "{page}");
        }
        assert!(read("man1/dhow-run.1").contains("\\-\\-read\\-only"));
        assert!(read("man1/dhow-container-ls.1").contains("\\-\\-no\\-trunc"));
        assert!(read("bash-completion/completions/dhow").contains("complete -o default"));
        assert!(read("systemd/system/dhow.service").contains("ExecStop=/usr/bin/dhow system stop"));
        assert!(read("systemd/user/dhow.service").contains("WantedBy=default.target"));
        assert!(read("zsh/site-functions/_dhow").starts_with("#compdef dhow"));
        assert!(read("fish/vendor_completions.d/dhow.fish").contains("complete -c dhow"));
    }
}
