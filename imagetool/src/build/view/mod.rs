//! What is seen of a build: `--progress`.

mod plain;
mod raw;
mod trace;
mod tty;

use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::progress::{Event, Watcher};
use crate::error::{Error, Result};
use plain::Plain;
use raw::Raw;
use trace::{Fate, Trace};
use tty::Tty;

pub use trace::Warning;
pub use tty::Colors;

/// Drawn anew after so long, and not sooner.
const TICK: Duration = Duration::from_millis(100);
/// A build that takes less has no summary.
const SUMMARY: Duration = Duration::from_secs(10);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A line each.
    Plain,
    /// A picture on a terminal.
    Tty,
    /// Nothing.
    Quiet,
    /// JSON.
    RawJson,
}

impl Mode {
    /// What `--progress` and `--quiet` mean, with BUILDKIT_PROGRESS and whether stderr is a terminal.
    pub fn new(progress: &str, quiet: bool, usual: Option<&str>, terminal: bool) -> Result<Self> {
        let typed = match progress {
            "" | "auto" if quiet => return Ok(Self::Quiet),
            "" | "auto" => usual.filter(|word| !word.is_empty()).unwrap_or("auto"),
            "quiet" | "none" => return Ok(Self::Quiet),
            other if quiet => {
                return Err(Error::Conflict(format!(
                    "progress={other} and quiet cannot be used together"
                )));
            }
            other => other,
        };
        match typed {
            "auto" | "tty" if terminal => Ok(Self::Tty),
            "auto" | "plain" => Ok(Self::Plain),
            "tty" => Err(Error::Conflict(
                "failed to get console: stderr is no terminal; take --progress=plain".into(),
            )),
            "quiet" | "none" => Ok(Self::Quiet),
            "rawjson" => Ok(Self::RawJson),
            other => Err(Error::Conflict(format!(
                "invalid progress mode {other}; it is one of auto, plain, tty, quiet, rawjson"
            ))),
        }
    }
}

/// How it looks.
#[derive(Clone, Debug)]
pub struct Look {
    /// The terminal's height and width.
    pub size: fn() -> Option<(u16, u16)>,
    /// NO_COLOR, BUILDKIT_COLORS.
    pub colors: Colors,
    /// BUILDKIT_TTY_LOG_LINES: how many lines of a step are shown while it runs.
    pub log_lines: usize,
    /// PROGRESS_NO_TRUNC=0: no longer texts of steps than so many letters.
    pub limit: Option<usize>,
}

impl Default for Look {
    fn default() -> Self {
        Self { size: || None, colors: Colors::usual(), log_lines: 6, limit: None }
    }
}

/// Shows a build on a stream while it goes on. To be [ended](View::end).
pub struct View {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    start: Instant,
    size: fn() -> Option<(u16, u16)>,
}

struct State {
    face: Face,
    trace: Trace,
    /// What is told at once goes out at once, in one write.
    out: BufWriter<Box<dyn Write + Send>>,
    over: bool,
}

enum Face {
    Plain(Plain),
    Tty(Box<Tty>),
    Raw(Raw),
    Quiet,
}

impl View {
    /// A view of this mode that writes to `out`; what can't be written is lost, and nothing else.
    pub fn new(mode: Mode, look: Look, out: Box<dyn Write + Send>) -> Self {
        let face = match mode {
            Mode::Plain => Face::Plain(Plain::new(Some("building with dhow".into()), look.limit)),
            Mode::Tty => Face::Tty(Box::new(Tty::new("dhow".into(), look.colors, look.log_lines))),
            Mode::RawJson => Face::Raw(Raw::new(Timestamp::now())),
            Mode::Quiet => Face::Quiet,
        };
        let state = State { face, trace: Trace::default(), out: BufWriter::new(out), over: false };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            wake: Condvar::new(),
            start: Instant::now(),
            size: look.size,
        });
        // Without a thread it is drawn less often.
        let ticks = matches!(mode, Mode::Plain | Mode::Tty);
        let ticker = ticks.then(|| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("progress".into()).spawn(move || shared.tick())
        });
        Self { shared, ticker: ticker.and_then(std::result::Result::ok) }
    }

    /// The last picture, the last lines of what failed, what was warned of, what was slow. What was
    /// warned of is returned.
    pub fn end(mut self) -> Vec<Warning> {
        self.stop();
        let now = self.shared.start.elapsed();
        let mut state = self.shared.lock();
        let State { face, trace, out, .. } = &mut *state;
        let _ = match face {
            Face::Plain(plain) => {
                plain.refresh(trace, now, out).and_then(|()| plain.end(trace, out))
            }
            Face::Tty(tty) => {
                let size = self.shared.size();
                tty.draw(trace, now, size, true, out).and_then(|()| tty.end(trace, out))
            }
            Face::Raw(_) | Face::Quiet => Ok(()),
        }
        .and_then(|()| out.flush());
        if matches!(face, Face::Plain(_) | Face::Tty(_)) {
            let text = warned(&trace.warnings) + &slow(trace, now);
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
        std::mem::take(&mut trace.warnings)
    }

    fn stop(&mut self) {
        self.shared.lock().over = true;
        self.shared.wake.notify_all();
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Watcher for View {
    fn tell(&self, event: Event<'_>) {
        let at = self.shared.start.elapsed();
        let mut state = self.shared.lock();
        let State { face, trace, out, .. } = &mut *state;
        let _ = match face {
            Face::Plain(plain) => plain.tell(trace, &event, at, out),
            Face::Raw(raw) => raw.tell(trace, &event, at, out),
            Face::Tty(tty) => {
                tty.tell(trace, &event, at);
                Ok(())
            }
            Face::Quiet => {
                trace.tell(&event, at);
                Ok(())
            }
        }
        .and_then(|()| out.flush());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn size(&self) -> (usize, usize) {
        let size = (self.size)().filter(|(height, width)| *height > 0 && *width > 0);
        size.map_or((10, 80), |(height, width)| (height.into(), width.into()))
    }

    fn tick(&self) {
        let mut state = self.lock();
        while !state.over {
            let waited = self.wake.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let now = self.start.elapsed();
            let State { face, trace, out, over } = &mut *state;
            let _ = match face {
                _ if *over => Ok(()),
                Face::Plain(plain) => plain.refresh(trace, now, out),
                Face::Tty(tty) => tty.draw(trace, now, self.size(), false, out),
                Face::Raw(_) | Face::Quiet => Ok(()),
            }
            .and_then(|()| out.flush());
        }
    }
}

/// buildx's words about warnings.
fn warned(warnings: &[Warning]) -> String {
    let mut text = match warnings.len() {
        0 => return String::new(),
        1 => "\n 1 warning found:\n".to_owned(),
        n => format!("\n {n} warnings found:\n"),
    };
    for warning in warnings {
        let _ = writeln!(text, " - {}", warning.short());
    }
    text
}

/// The slowest steps of a build that took its time.
fn slow(trace: &Trace, took: Duration) -> String {
    let ended = |fate: Option<&Fate>| matches!(fate, Some(Fate::Done(_)));
    let mut steps: Vec<_> = trace.steps.iter().filter(|step| ended(step.fate())).collect();
    steps.sort_by_key(|step| std::cmp::Reverse(step.took(took)));
    steps.retain(|step| step.took(took) >= Duration::from_secs(1));
    if took < SUMMARY || steps.len() < 2 {
        return String::new();
    }
    let mut text = format!("\n slowest of {:.1}s:\n", took.as_secs_f64());
    for step in steps.iter().take(3) {
        let _ = writeln!(text, " {:6.1}s {}", step.took(took).as_secs_f64(), step.name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that is looked at afterwards.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn modes_are_chosen_as_buildx_chooses() {
        let mode = |progress, quiet, usual, terminal| Mode::new(progress, quiet, usual, terminal);
        assert_eq!(mode("auto", false, None, true).unwrap(), Mode::Tty);
        assert_eq!(mode("auto", false, None, false).unwrap(), Mode::Plain);
        assert_eq!(mode("auto", false, Some("plain"), true).unwrap(), Mode::Plain);
        assert_eq!(mode("tty", false, Some("plain"), true).unwrap(), Mode::Tty);
        assert_eq!(mode("auto", true, Some("plain"), true).unwrap(), Mode::Quiet);
        assert_eq!(mode("none", false, None, true).unwrap(), Mode::Quiet);
        let told = mode("plain", true, None, true).unwrap_err().to_string();
        assert_eq!(told, "progress=plain and quiet cannot be used together");
        assert!(mode("tty", false, None, false).is_err());
        assert!(mode("fancy", false, None, false).is_err());
    }

    #[test]
    fn a_view_tells_of_warnings_in_the_end() {
        let kept = Kept::default();
        for (mode, told) in [
            (Mode::Plain, "\n 1 warning found:\n - A: b (line 2)\n"),
            (Mode::Tty, "\n 1 warning found:\n - A: b (line 2)\n"),
            (Mode::Quiet, ""),
        ] {
            kept.0.lock().unwrap().clear();
            let view = View::new(mode, Look::default(), Box::new(kept.clone()));
            view.tell(Event::Began(1, "one"));
            view.tell(Event::Warning("A", "b", 2));
            view.tell(Event::Warning("A", "b", 2));
            view.tell(Event::Done(1, Duration::ZERO));
            assert_eq!(view.end().len(), 1);
            let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
            assert!(text.ends_with(told) && text.is_empty() == told.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn the_slowest_steps_are_named() {
        let mut trace = Trace::default();
        for (id, seconds) in [(1, 3), (2, 0), (3, 30), (4, 1), (5, 2)] {
            let name = format!("step {id}");
            trace.tell(&Event::Began(id, &name), Duration::ZERO);
            trace.tell(&Event::Done(id, Duration::from_secs(seconds)), Duration::ZERO);
        }
        let text = slow(&trace, Duration::from_secs(36));
        assert_eq!(
            text,
            "\n slowest of 36.0s:\n   30.0s step 3\n    3.0s step 1\n    2.0s step 5\n"
        );
        assert_eq!(slow(&trace, Duration::from_secs(9)), "");
    }
}
