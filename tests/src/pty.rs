//! A command on a terminal, driven as a person would: type, read, resize, hang up.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

use crate::Cmd;

#[derive(Default)]
struct Screen {
    bytes: Vec<u8>,
    read: usize,
    closed: bool,
}

/// A terminal with one command on it, as its controlling terminal.
pub struct Pty {
    child: Child,
    keys: File,
    screen: Arc<(Mutex<Screen>, Condvar)>,
    device: String,
    line: String,
    limit: Duration,
}

impl Pty {
    /// Starts the command on a new terminal of 24 rows and 80 columns.
    pub fn start(cmd: Cmd) -> Self {
        let line = cmd.line();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).unwrap();
        let device = nix::unistd::ttyname(&pair.slave).unwrap().to_string_lossy().into_owned();
        let slave = File::from(pair.slave);
        // setsid(1) makes its stdin the controlling terminal before it becomes the command.
        let cmd = cmd.under(["setsid", "--ctty"]).env("TERM", "xterm");
        let mut command = cmd.command();
        command
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave));
        let child = cmd.spawn(&mut command);
        let keys = File::from(pair.master);
        let screen = Arc::new((Mutex::new(Screen::default()), Condvar::new()));
        let (mut from, to) = (keys.try_clone().unwrap(), Arc::clone(&screen));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let n = from.read(&mut buffer).unwrap_or(0);
                let mut screen = to.0.lock().unwrap();
                screen.bytes.extend_from_slice(&buffer[..n]);
                screen.closed = n == 0;
                to.1.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        Self { child, keys, screen, device, line, limit: Duration::from_mins(1) }
    }

    /// Types.
    #[track_caller]
    pub fn send(&mut self, keys: &str) -> &mut Self {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self
    }

    /// Waits until `part` is printed, and gives back all that came before it since the last call.
    #[track_caller]
    pub fn expect(&mut self, part: &str) -> String {
        let until = Instant::now() + self.limit;
        let mut screen = self.screen.0.lock().unwrap();
        loop {
            let fresh = &screen.bytes[screen.read..];
            if let Some(at) = fresh.windows(part.len()).position(|w| w == part.as_bytes()) {
                let before = String::from_utf8_lossy(&fresh[..at]).into_owned();
                screen.read += at + part.len();
                return before;
            }
            let left = until.saturating_duration_since(Instant::now());
            let seen = String::from_utf8_lossy(fresh).into_owned();
            assert!(!screen.closed, "`{}` ended before {part:?} came; it said:\n{seen}", self.line);
            assert!(!left.is_zero(), "`{}`: no {part:?} in time; it said:\n{seen}", self.line);
            screen = self.screen.1.wait_timeout(screen, left).unwrap().0;
        }
    }

    /// Changes the terminal's size, as a window manager would; the command gets its SIGWINCH.
    pub fn resize(&mut self, rows: u16, columns: u16) -> &mut Self {
        let (rows, columns) = (rows.to_string(), columns.to_string());
        Cmd::new("stty").args(["-F", &self.device, "rows", &rows, "cols", &columns]).run().ok();
        self
    }

    /// The terminal's settings, as `stty -g` prints them: to see that they were put back.
    pub fn settings(&self) -> String {
        Cmd::new("stty").args(["-F", &self.device, "-g"]).run().ok().out()
    }

    /// The command's process id.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits for the command's end: its exit code, or 128 + signal.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let until = Instant::now() + self.limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            }
            if Instant::now() > until {
                let seen =
                    String::from_utf8_lossy(&self.screen.0.lock().unwrap().bytes).into_owned();
                panic!("`{}` did not end; it said:\n{seen}", self.line);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
