//! A unit that runs one container, in the foreground of `dhow start` or `dhow run`.

use super::{Manager, Text, line};
use crate::error::Result;
use crate::model::Sdnotify;

/// What of other units is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wants {
    /// `After=`
    pub after: Vec<String>,
    /// `Wants=`
    pub wants: Vec<String>,
    /// `Requires=`
    pub requires: Vec<String>,
}

/// What is known of the container, and how the unit is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The unit's own file name.
    pub file: String,
    /// What it is called in commands: its name, or its id.
    pub name: String,
    /// The program, and the flags that choose its world.
    pub dhow: Vec<String>,
    /// Where what is kept lies.
    pub root: String,
    /// Flags, image and command of a `dhow run` that makes it at each start; nothing for one that
    /// is there.
    pub new: Option<Vec<String>>,
    /// Where relative paths of it begin.
    pub directory: Option<String>,
    /// Who says that it is up.
    pub sdnotify: Sdnotify,
    /// Its output is in the journal already, or nowhere.
    pub quiet: bool,
    /// Seconds that `stop` waits.
    pub stop_timeout: i64,
    /// `Restart=`
    pub restart: String,
    /// `RestartSec=`
    pub restart_sec: Option<u64>,
    /// `TimeoutStartSec=`
    pub start_timeout: Option<u64>,
    /// `Environment=`
    pub env: Vec<String>,
    /// What else.
    pub others: Wants,
    /// `ListenStream=` and `ListenDatagram=` of a socket unit beside it, each with its address.
    pub sockets: Vec<(&'static str, String)>,
    /// Whose systemd.
    pub manager: Manager,
    /// A first line that says what wrote it.
    pub header: bool,
}

/// `container-web.service`
pub fn file_name(prefix: &str, separator: &str, name: &str) -> String {
    // systemd.unit(5): what a name is made of; a container's has no more than that.
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}{separator}") };
    format!("{prefix}{name}.service")
}

/// So much longer than `stop` waits is systemd to wait.
const CLEANING: i64 = 60;
/// An image may have to be pulled first.
const PULLING: u64 = 900;

impl Container {
    /// The unit.
    pub fn text(&self) -> Result<String> {
        let mut unit = Text::default();
        if self.header {
            let version = env!("CARGO_PKG_VERSION");
            unit.0 = format!("# {}, written by dhow system generate {version}\n\n", self.file);
        }
        self.unit(&mut unit)?;
        self.service(&mut unit)?;
        unit.section("Install");
        unit.set("WantedBy", self.manager.target());
        Ok(unit.0)
    }

    /// The unit of the sockets that the container is given, if there are any: its file, and its text.
    pub fn socket(&self) -> Option<(String, String)> {
        if self.sockets.is_empty() {
            return None;
        }
        let file = self.socket_file();
        let mut unit = Text::default();
        if self.header {
            let version = env!("CARGO_PKG_VERSION");
            unit.0 = format!("# {file}, written by dhow system generate {version}\n\n");
        }
        unit.section("Unit");
        let name = self.name.replace('%', "%%");
        unit.set("Description", &format!("Sockets of the container {name} of dhow"));
        unit.set("Documentation", "man:dhow-system-generate(1)");
        unit.section("Socket");
        for (kind, address) in &self.sockets {
            unit.set(kind, address);
        }
        unit.section("Install");
        unit.set("WantedBy", "sockets.target");
        Some((file, unit.0))
    }

    fn socket_file(&self) -> String {
        format!("{}.socket", self.file.strip_suffix(".service").unwrap_or(&self.file))
    }

    fn unit(&self, unit: &mut Text) -> Result<()> {
        unit.section("Unit");
        unit.set("Description", &format!("Container {} of dhow", self.name.replace('%', "%%")));
        unit.set("Documentation", "man:dhow-system-generate(1)");
        if self.manager == Manager::System {
            unit.set("Wants", "network-online.target");
            unit.set("After", "network-online.target dhow.service");
        }
        unit.set("RequiresMountsFor", &super::word(&self.root)?);
        let others = &self.others;
        let socket = (!self.sockets.is_empty()).then(|| self.socket_file());
        for (key, names, socket) in [
            ("After", &others.after, &socket),
            ("Wants", &others.wants, &None),
            ("Requires", &others.requires, &socket),
        ] {
            let names: Vec<&str> = socket.iter().chain(names).map(String::as_str).collect();
            if !names.is_empty() {
                unit.set(key, &names.join(" "));
            }
        }
        Ok(())
    }

    fn service(&self, unit: &mut Text) -> Result<()> {
        let call = |words: &[&str]| {
            let dhow = self.dhow.iter().map(String::as_str);
            line(&dhow.chain(words.iter().copied()).collect::<Vec<_>>())
        };
        let name = self.name.as_str();
        let notify = format!("--sdnotify={}", self.sdnotify.as_str());
        unit.section("Service");
        if self.sdnotify == Sdnotify::Ignore {
            unit.set("Type", "exec");
        } else {
            unit.set("Type", "notify");
            unit.set("NotifyAccess", "main");
        }
        for set in &self.env {
            unit.set("Environment", &super::word(set)?);
        }
        if let Some(directory) = self.directory.as_ref().filter(|_| self.new.is_some()) {
            // The dash: one that is gone since keeps no container back that needs nothing of it.
            // The slash: a backslash there would go on with the next line, and blanks would be lost.
            let ends = directory.ends_with(|c: char| c == '\\' || c.is_whitespace());
            let slash = if ends { "/" } else { "" };
            unit.set("WorkingDirectory", &format!("-{}{slash}", directory.replace('%', "%%")));
        }
        let remove = format!("-{}", call(&["rm", "--force", "--volumes", name])?);
        match &self.new {
            None => {
                unit.set("ExecStart", &call(&["start", "--attach", &notify, name])?);
            }
            Some(words) => {
                let named = format!("--name={name}");
                let mut all = vec!["run", "--rm", &named, &notify];
                all.extend(words.iter().map(String::as_str));
                unit.set("ExecStartPre", &remove);
                unit.set("ExecStart", &call(&all)?);
            }
        }
        let seconds = self.stop_timeout.to_string();
        unit.set("ExecStop", &format!("-{}", call(&["stop", "--timeout", &seconds, name])?));
        if self.new.is_some() {
            unit.set("ExecStopPost", &remove);
        }
        unit.set("Restart", &self.restart);
        if let Some(seconds) = self.restart_sec {
            unit.set("RestartSec", &seconds.to_string());
        }
        let pulls = self.new.is_some().then_some(PULLING);
        if let Some(seconds) = self.start_timeout.or(pulls) {
            unit.set("TimeoutStartSec", &seconds.to_string());
        }
        let patience = match self.stop_timeout {
            forever if forever < 0 => "infinity".to_owned(),
            seconds => seconds.saturating_add(CLEANING).to_string(),
        };
        unit.set("TimeoutStopSec", &patience);
        // 143: it was ended by the signal that was asked for.
        unit.set("SuccessExitStatus", "143");
        unit.set("KillMode", "mixed");
        unit.set("Delegate", "yes");
        if self.quiet {
            unit.set("StandardOutput", "null");
            unit.set("StandardError", "null");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(new: Option<&[&str]>) -> Container {
        Container {
            file: file_name("container", "-", "web"),
            name: "web".into(),
            dhow: vec!["/usr/bin/dhow".into()],
            root: "/var/lib/dhow".into(),
            new: new.map(|words| words.iter().map(|&word| word.to_owned()).collect()),
            directory: Some("/srv".into()),
            sdnotify: Sdnotify::Conmon,
            quiet: false,
            stop_timeout: 10,
            restart: "on-failure".into(),
            restart_sec: None,
            start_timeout: None,
            env: vec!["A=b c".into()],
            others: Wants { after: vec!["db.service".into()], ..Wants::default() },
            sockets: Vec::new(),
            manager: Manager::System,
            header: true,
        }
    }

    #[test]
    fn one_that_is_there_is_started_and_stopped() {
        let unit = container(None).text().unwrap();
        for line in [
            "# container-web.service, written by dhow system generate",
            "Type=notify\n",
            "Environment=\"A=b c\"\n",
            "ExecStart=/usr/bin/dhow start --attach --sdnotify=conmon web\n",
            "ExecStop=-/usr/bin/dhow stop --timeout 10 web\n",
            "TimeoutStopSec=70\n",
            "After=db.service\n",
            "WantedBy=multi-user.target\n",
        ] {
            assert!(unit.contains(line), "{line}: {unit}");
        }
        assert!(!unit.contains("ExecStartPre") && !unit.contains("WorkingDirectory"), "{unit}");
    }

    #[test]
    fn a_new_one_is_made_each_time_with_its_words_as_they_are() {
        let unit = container(Some(&["busybox", "sh", "-c", "echo $x; %h"])).text().unwrap();
        let run = "ExecStart=/usr/bin/dhow run --rm --name=web --sdnotify=conmon busybox sh -c \"echo $$x; %%h\"\n";
        assert!(unit.contains(run), "{unit}");
        assert!(unit.contains("ExecStopPost=-/usr/bin/dhow rm --force --volumes web\n"), "{unit}");
        assert!(unit.contains("WorkingDirectory=-/srv\n"), "{unit}");
    }

    #[test]
    fn bug_a_directory_s_last_backslash_took_the_next_line() {
        let directory = Some("/srv/%\\".to_owned());
        let unit = Container { directory, ..container(Some(&["busybox"])) }.text().unwrap();
        assert!(unit.contains("WorkingDirectory=-/srv/%%\\/\n"), "{unit}");
    }

    #[test]
    fn without_word_of_its_start_it_is_no_notify_unit() {
        let quiet = Container { sdnotify: Sdnotify::Ignore, quiet: true, ..container(None) };
        let unit = quiet.text().unwrap();
        assert!(unit.contains("Type=exec\n") && unit.contains("StandardOutput=null\n"), "{unit}");
    }

    #[test]
    fn sockets_are_a_unit_beside_it_that_it_requires() {
        assert_eq!(container(None).socket(), None);
        let sockets = vec![("ListenStream", "8080".into()), ("ListenDatagram", "/run/x".into())];
        let it = Container { sockets, ..container(None) };
        let (file, unit) = it.socket().unwrap();
        assert_eq!(file, "container-web.socket");
        let lines = "[Socket]\nListenStream=8080\nListenDatagram=/run/x\n\n[Install]\nWantedBy=sockets.target\n";
        assert!(unit.ends_with(lines), "{unit}");
        let unit = it.text().unwrap();
        assert!(unit.contains("After=container-web.socket db.service\n"), "{unit}");
        assert!(unit.contains("Requires=container-web.socket\n"), "{unit}");
    }
}
