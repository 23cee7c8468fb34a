//! Questions on the terminal, with or without echo.

use std::io::{self, Read};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::Output;
use crate::error::{Error, Result};

/// What somebody answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A line, without its end.
    Line(String),
    /// ctrl-d, or a terminal that went away.
    End,
    /// ctrl-c.
    Interrupted,
}

/// The terminal as it was, put back when dropped.
struct Restore(Termios);

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

/// Asks. A hidden answer is read key by key: with the terminal's own line editing a ctrl-c
/// would end this program and leave the terminal without its echo.
pub fn ask(out: &mut Output, question: &str, shown: bool) -> Result<Answer> {
    let failed = |e: &dyn std::fmt::Display| Error::engine(format!("read from the terminal: {e}"));
    if shown {
        out.text(question);
        let mut line = String::new();
        let n = io::stdin().read_line(&mut line).map_err(|e| failed(&e))?;
        let line = line.trim_end_matches(['\r', '\n']).to_owned();
        return Ok(if n == 0 { Answer::End } else { Answer::Line(line) });
    }
    let before = tcgetattr(io::stdin()).map_err(|e| failed(&e))?;
    let mut quiet = before.clone();
    quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
    let restore = Restore(before);
    // Before the question, and nothing typed is thrown away: who answers at once is heard, unseen.
    tcsetattr(io::stdin(), SetArg::TCSADRAIN, &quiet).map_err(|e| failed(&e))?;
    out.text(question);
    let answer = hidden(&mut io::stdin().lock()).map_err(|e| failed(&e));
    drop(restore);
    out.text("\n");
    answer
}

/// A line from keys: backspace, ctrl-u, ctrl-c and ctrl-d do what they do on a terminal.
fn hidden(keys: &mut impl Read) -> io::Result<Answer> {
    let mut line: Vec<u8> = Vec::new();
    let mut key = [0];
    loop {
        let read = match keys.read(&mut key) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        match (read, key[0]) {
            (0, _) | (_, b'\r' | b'\n' | 0x04) => {
                let ended = (read == 0 || key[0] == 0x04) && line.is_empty();
                let text = String::from_utf8_lossy(&line).into_owned();
                return Ok(if ended { Answer::End } else { Answer::Line(text) });
            }
            (_, 0x03) => return Ok(Answer::Interrupted),
            (_, 0x08 | 0x7f) => {
                // A character of several bytes goes whole.
                while line.pop().is_some_and(|b| b & 0xc0 == 0x80) {}
            }
            (_, 0x15) => line.clear(),
            (_, b) => line.push(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_edit_a_hidden_line() {
        let of = |keys: &str| hidden(&mut keys.as_bytes()).unwrap();
        assert_eq!(of("pas\u{7f}ssword\n"), Answer::Line("password".into()));
        assert_eq!(of("wrong\u{15}right\r"), Answer::Line("right".into()));
        assert_eq!(of("aé\u{7f}b\n"), Answer::Line("ab".into()));
        assert_eq!(of("a\u{3}b\n"), Answer::Interrupted);
        assert_eq!(of("\u{4}"), Answer::End);
        assert_eq!(of(""), Answer::End);
    }
}
