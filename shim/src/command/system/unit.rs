//! `dhow system unit`: what has systemd start containers at boot.

use std::path::Path;

use clap::Args;

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::host::Host;
use crate::output::Output;

/// Print a systemd unit that starts containers at boot and stops them at shutdown
#[derive(Debug, Args)]
#[command(after_help = "Install it so:\n  \
                        dhow system unit > /etc/systemd/system/dhow.service\n  \
                        systemctl enable --now dhow")]
pub struct Unit {}

impl Unit {
    /// Prints the unit, for this program, --root and --run.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        match text(host) {
            Ok(text) => {
                out.text(&text);
                out.exit()
            }
            Err(e) => out.end(Err(e)),
        }
    }
}

fn text(host: &Host) -> Result<String> {
    let program = std::fs::read_link("/proc/self/exe")
        .map_err(|e| Error::io("read", "/proc/self/exe".as_ref(), e))?;
    let line =
        [&program, Path::new("--root"), &host.paths.root, Path::new("--run"), &host.paths.run];
    let line: Vec<String> = line.into_iter().map(quoted).collect::<Result<_>>()?;
    let (dhow, root) = (line.join(" "), quoted(&host.paths.root)?);
    // KillMode: monitors are no processes of the unit's, wherever they were started.
    Ok(format!(
        "[Unit]\n\
         Description=Containers of dhow\n\
         Wants=network-online.target\n\
         After=network-online.target local-fs.target\n\
         RequiresMountsFor={root}\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart={dhow} system start\n\
         ExecStop={dhow} system stop\n\
         KillMode=process\n\
         TimeoutSec=infinity\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    ))
}

/// systemd.syntax(7): a word in quotes; `%` and `$` mean something there.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| !text.contains(char::is_control));
    let text = text.ok_or_else(|| Error::io("path", path, "can't stand in a unit"))?;
    let mut word = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => word.extend(['\\', c]),
            '%' | '$' => word.extend([c, c]),
            _ => word.push(c),
        }
    }
    word.push('"');
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_in_a_unit_as_they_are() {
        assert_eq!(quoted("/var/lib/dhow".as_ref()).unwrap(), "\"/var/lib/dhow\"");
        assert_eq!(quoted("/a b/%h/$x/\"".as_ref()).unwrap(), "\"/a b/%%h/$$x/\\\"\"");
        assert!(quoted("/a\nExecStart=b".as_ref()).is_err());
    }
}
