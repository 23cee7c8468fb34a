//! Questions on the terminal, asked on stdout as podman's and skopeo's are.

use std::io::{self, IsTerminal, Read, Write};

use dhow_image::{Error, Result};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// The terminal as it was, put back when dropped.
struct Restore(Termios);

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

fn failed(what: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Conflict(format!("reading {what}: {why}"))
}

fn tell(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::at("write", "stdout"))
}

/// A line, seen while it is typed.
pub fn line(what: &str, question: &str) -> Result<String> {
    tell(question)?;
    let mut line = String::new();
    let n = io::stdin().read_line(&mut line).map_err(|e| failed(what, &e))?;
    if n == 0 { Err(failed(what, &"EOF")) } else { Ok(line.trim().to_owned()) }
}

/// A line that isn't shown. Without a terminal it is refused: a flag is for that.
///
/// It is read key by key: with the terminal's own line editing a ctrl-c would end this program and
/// leave the terminal without its echo.
pub fn secret(what: &str, question: &str) -> Result<String> {
    if !io::stdin().is_terminal() {
        return Err(failed(what, &"stdin is no terminal"));
    }
    let before = tcgetattr(io::stdin()).map_err(|e| failed(what, &e))?;
    let mut quiet = before.clone();
    quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
    let restore = Restore(before);
    tcsetattr(io::stdin(), SetArg::TCSADRAIN, &quiet).map_err(|e| failed(what, &e))?;
    tell(question)?;
    let typed = keys(&mut io::stdin().lock());
    drop(restore);
    tell("\n")?;
    typed.map_err(|e| failed(what, &e))
}

/// A line from keys: backspace, ctrl-u, ctrl-c and ctrl-d do what they do on a terminal.
fn keys(from: &mut impl Read) -> io::Result<String> {
    let mut line: Vec<u8> = Vec::new();
    let mut key = [0];
    loop {
        match from.read(&mut key) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
            Ok(0) => break,
            Ok(_) => {}
        }
        match key[0] {
            b'\r' | b'\n' | 4 => break,
            3 => return Err(io::Error::other("interrupted")),
            8 | 127 => while line.pop().is_some_and(|b| b & 0xc0 == 0x80) {},
            21 => line.clear(),
            other => line.push(other),
        }
    }
    String::from_utf8(line).map_err(|_| io::Error::other("it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_edit_the_line() {
        let typed = |text: &[u8]| keys(&mut &text[..]).map_err(|e| e.to_string());
        assert_eq!(typed(b"ab\x7fc\nd"), Ok("ac".into()));
        assert_eq!(typed("é\x7fx\r".as_bytes()), Ok("x".into()));
        assert_eq!(typed(b"ab\x15c\x04"), Ok("c".into()));
        assert_eq!(typed(b"ab\x03"), Err("interrupted".into()));
    }
}
