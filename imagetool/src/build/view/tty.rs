//! What people look at: every step with its time, drawn over and over, of those that run the last
//! lines they wrote. Laid out as BuildKit's.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use super::trace::{Fate, Trace};
use crate::build::progress::{Event, StepId};

/// What is left beside a log line.
const MARGIN: usize = 10;
/// So many of a step's last lines are told again when it failed.
const KEPT: usize = 200;
/// A longer line is broken.
const LINE: usize = 64 << 10;

/// Colours by SGR parameters; empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Colors {
    /// What has ended well.
    pub run: String,
    /// What was cancelled, and warnings.
    pub cancel: String,
    /// What failed.
    pub error: String,
}

impl Colors {
    /// BuildKit's own.
    pub fn usual() -> Self {
        Self { run: "34".into(), cancel: "33".into(), error: "31".into() }
    }

    /// `run=blue:error=1,2,3`, as BUILDKIT_COLORS has it; what can't be read stays as it was.
    #[must_use]
    pub fn with(mut self, text: &str) -> Self {
        const NAMES: [&str; 8] =
            ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
        for (key, value) in text.split(':').filter_map(|field| field.split_once('=')) {
            let value = value.to_ascii_lowercase();
            let place = |name: &str| NAMES.iter().position(|n| *n == name);
            let rgb: Option<Vec<u8>> = value.split(',').map(|n| n.trim().parse().ok()).collect();
            let code = match (value.strip_prefix("light-"), rgb) {
                (Some(name), _) => place(name).map(|n| (90 + n).to_string()),
                (None, Some(rgb)) if rgb.len() == 3 => {
                    Some(format!("38;2;{};{};{}", rgb[0], rgb[1], rgb[2]))
                }
                _ if value == "default" => Some("39".to_owned()),
                _ => place(&value).map(|n| (30 + n).to_string()),
            };
            let Some(code) = code else { continue };
            match key.to_ascii_lowercase().as_str() {
                "run" => self.run = code,
                "cancel" => self.cancel = code,
                "error" => self.error = code,
                _ => {}
            }
        }
        self
    }
}

/// The view.
pub struct Tty {
    title: String,
    colors: Colors,
    log_lines: usize,
    drawn: usize,
    repeated: bool,
    logs: Vec<(StepId, Log)>,
}

/// The last lines of a step.
#[derive(Default)]
struct Log {
    lines: VecDeque<String>,
    open: bool,
    bytes: usize,
    /// How often it was shown: who was, gives way less easily.
    shown: usize,
}

/// A line of the picture.
struct Line {
    text: String,
    amount: String,
    took: Duration,
    running: bool,
    color: String,
    log: Option<usize>,
}

impl Tty {
    /// With its title at the right.
    pub fn new(title: String, colors: Colors, log_lines: usize) -> Self {
        let logs = Vec::new();
        Self { title, colors, log_lines: log_lines.max(1), drawn: 0, repeated: false, logs }
    }

    /// Takes note of an event.
    pub fn tell(&mut self, trace: &mut Trace, event: &Event<'_>, at: Duration) {
        trace.tell(event, at);
        let Event::Wrote(id, _, bytes) = event else { return };
        if trace.place(*id).is_none() {
            return;
        }
        let place = self.logs.iter().position(|(known, _)| known == id).unwrap_or_else(|| {
            self.logs.push((*id, Log::default()));
            self.logs.len() - 1
        });
        self.logs[place].1.write(bytes);
    }

    /// Draws all anew; `last` draws every step, however many there are.
    pub fn draw(
        &mut self,
        trace: &Trace,
        now: Duration,
        (height, width): (usize, usize),
        last: bool,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut text = "\x1b[1A".repeat(self.drawn + 1);
        if !self.repeated {
            text += "\x1b[1B";
        }
        self.repeated = true;
        text += "\x1b[0G\x1b[?25l";
        let ended = trace.steps.iter().filter(|s| s.ended.is_some()).count();
        let all = trace.steps.len();
        let state = if last && ended > 0 && ended == all { "FINISHED" } else { "" };
        let took = now.as_secs_f64();
        let head = format!("[+] Building {took:.1}s ({ended}/{all}) {state}");
        text += &cut(&align(&head, &self.title, width.saturating_sub(1)), width);
        text.push('\n');
        let mut lines = self.lines(trace, now);
        let logs = self.chosen(&lines, height);
        if !last {
            let hidden: usize =
                logs.iter().map(|&log| self.logs[log].1.tail(self.log_lines).count()).sum();
            lines = fitting(lines, height.saturating_sub(2 + hidden));
        }
        let mut count = 0;
        for line in &lines {
            let Some(drawn) = line.drawn(width) else { continue };
            text += &drawn;
            count += 1;
            let Some(log) = line.log.filter(|log| logs.contains(log)) else { continue };
            self.logs[log].1.shown += 1;
            for line in self.logs[log].1.tail(self.log_lines) {
                let line = cut(line, width.saturating_sub(MARGIN));
                let _ = writeln!(text, "\x1b[2m => => # {line}\x1b[0m\x1b[K");
                count += 1;
            }
        }
        if let Some(more) = self.drawn.checked_sub(count).filter(|more| *more > 0) {
            text += &"\x1b[2K\n".repeat(more);
            let _ = write!(text, "\x1b[{more}A\x1b[0G");
        }
        self.drawn = count;
        text += "\x1b[?25h";
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// A line a step, and one for each part of its work.
    fn lines(&self, trace: &Trace, now: Duration) -> Vec<Line> {
        let mut lines = Vec::new();
        for (place, step) in trace.steps.iter().enumerate() {
            let name = tame(&step.name);
            let (text, color) = match step.fate() {
                None => (name, String::new()),
                Some(Fate::Done(_)) => (name, self.colors.run.clone()),
                Some(Fate::Cached) => (format!("CACHED {name}"), self.colors.run.clone()),
                Some(Fate::Failed(_)) => (format!("ERROR {name}"), self.colors.error.clone()),
                Some(Fate::Canceled) => (format!("CANCELED {name}"), self.colors.cancel.clone()),
            };
            let log = self.logs.iter().position(|(id, _)| trace.place(*id) == Some(place));
            let running = step.ended.is_none();
            let took = step.took(now);
            lines.push(Line { text, amount: String::new(), took, running, color, log });
            for part in &step.parts {
                let until = if part.done { part.told } else { now };
                lines.push(Line {
                    text: format!("=> {}", tame(&part.name)),
                    amount: part.amount(),
                    took: until.saturating_sub(part.began),
                    running: !part.done,
                    color: if part.done { self.colors.run.clone() } else { String::new() },
                    log: None,
                });
            }
            if place > 0 {
                continue;
            }
            lines.extend(trace.warnings.iter().map(|warning| Line {
                text: format!("WARN: {}", tame(&warning.short())),
                amount: String::new(),
                took: Duration::ZERO,
                running: false,
                color: self.colors.cancel.clone(),
                log: None,
            }));
        }
        lines
    }

    /// Whose last lines are shown: as many as there is room for, who wrote most first.
    fn chosen(&self, lines: &[Line], height: usize) -> Vec<usize> {
        let running = lines.iter().filter(|line| line.running).count();
        let mut all: Vec<usize> = (lines.iter())
            .filter(|line| line.running)
            .filter_map(|line| line.log.filter(|&log| self.logs[log].1.bytes > 0))
            .collect();
        let weight = |log: &usize| self.logs[*log].1.bytes + self.logs[*log].1.shown * 50;
        all.sort_by_key(|log| std::cmp::Reverse(weight(log)));
        let free = height.saturating_sub(2 + running);
        // Each takes its lines, and three more for air.
        let fit = free.saturating_sub(1) / (self.log_lines + 3);
        all.truncate(fit);
        all
    }

    /// The last lines of what failed.
    pub fn end(&self, trace: &Trace, out: &mut dyn Write) -> io::Result<()> {
        for (place, step) in trace.steps.iter().enumerate() {
            if !matches!(step.fate(), Some(Fate::Failed(_))) {
                continue;
            }
            writeln!(out, "------\n > {}:", tame(&step.name))?;
            let log = self.logs.iter().find(|(id, _)| trace.place(*id) == Some(place));
            for line in log.iter().flat_map(|(_, log)| &log.lines) {
                writeln!(out, "{line}")?;
            }
            writeln!(out, "------")?;
        }
        out.flush()
    }
}

impl Log {
    /// Takes what a RUN wrote; what would move the cursor doesn't.
    fn write(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, whole) = piece.strip_suffix(b"\n").map_or((piece, false), |t| (t, true));
            let text = String::from_utf8_lossy(text);
            let text = text.strip_suffix('\r').filter(|_| whole).unwrap_or(&text);
            if !self.open {
                self.lines.push_back(String::new());
            }
            if let Some(line) = self.lines.back_mut() {
                // A carriage return begins the line again.
                match text.rsplit_once('\r') {
                    Some((_, last)) => *line = tame(last),
                    None => *line += &tame(text),
                }
            }
            // One without an end is broken: what is kept has bounds.
            self.open = !whole && self.lines.back().is_some_and(|line| line.len() < LINE);
            while self.lines.len() > KEPT {
                self.lines.pop_front();
            }
        }
    }

    /// The last lines that say something.
    fn tail(&self, most: usize) -> impl Iterator<Item = &str> {
        let said = || self.lines.iter().map(String::as_str).filter(|line| !line.trim().is_empty());
        said().skip(said().count().saturating_sub(most))
    }
}

impl Line {
    /// With its time at the right; `None` on a screen that is too narrow.
    fn drawn(&self, width: usize) -> Option<String> {
        let took = self.took.as_secs_f64();
        let timer = format!(" {:3.1}s", if took < 0.05 { 0.0 } else { took });
        // One for the line's end, one for the gap.
        let mut left = width.checked_sub(" => ".len() + timer.len() + 2)?;
        let amount = !self.amount.is_empty() && left + self.amount.len() > 20;
        if amount {
            left = left.saturating_sub(self.amount.len() + 1);
        }
        if left < 12 {
            return None;
        }
        let mut text = format!(" => {}", cut(&self.text, left));
        if amount {
            let _ = write!(text, " {}", self.amount);
        }
        let text = align(&text, &timer, width - 1);
        Some(match self.color.as_str() {
            color if !self.running && !color.is_empty() => {
                format!("\x1b[{color}m{text}\x1b[0m\x1b[K\n")
            }
            _ => format!("{text}\x1b[K\n"),
        })
    }
}

/// As many lines as there is room for: the last ones, but those that run before those that don't.
fn fitting(lines: Vec<Line>, limit: usize) -> Vec<Line> {
    let Some(cut) = lines.len().checked_sub(limit).filter(|cut| *cut > 0) else { return lines };
    let mut lines = lines;
    let rest = lines.split_off(cut);
    let mut hidden: Vec<Line> = lines.into_iter().filter(|line| line.running).collect();
    let mut give = hidden.len();
    let mut kept = Vec::new();
    for line in rest {
        if line.running || give == 0 {
            kept.push(line);
        } else {
            give -= 1;
        }
    }
    let mut all = hidden.split_off(give);
    all.extend(kept);
    all
}

/// `left` and `right` at the ends of a line.
fn align(left: &str, right: &str, width: usize) -> String {
    let room = width.saturating_sub(right.chars().count());
    format!("{left:<room$}{right}")
}

/// Its first characters.
fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// Without what a terminal would obey.
fn tame(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' if chars.next_if_eq(&'[').is_some() => {
                // A CSI sequence ends with a letter or one of a few signs.
                for c in chars.by_ref() {
                    if ('\x40'..='\x7e').contains(&c) {
                        break;
                    }
                }
            }
            '\t' => out.push_str("    "),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::progress::Stream::Stdout;
    use proptest::prelude::*;

    fn drawn(events: &[(u64, Event<'_>)], size: (usize, usize), last: bool) -> String {
        let (mut out, mut trace) = (Vec::new(), Trace::default());
        let mut tty = Tty::new("dhow".into(), Colors::default(), 2);
        for (ms, event) in events {
            tty.tell(&mut trace, event, Duration::from_millis(*ms));
        }
        let now = Duration::from_millis(events.last().unwrap().0);
        tty.draw(&trace, now, size, last, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for code in ["\x1b[1A", "\x1b[1B", "\x1b[0G", "\x1b[?25l", "\x1b[?25h"] {
            assert!(text.contains(code));
        }
        tame_all(&text)
    }

    fn tame_all(text: &str) -> String {
        text.split('\n').map(tame).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_step_has_a_line_with_its_time() {
        let text = drawn(
            &[
                (0, Event::Began(1, "[internal] load build definition from Dockerfile")),
                (1, Event::Moved(1, "transferring dockerfile:", 132, Some(132))),
                (2, Event::Done(1, Duration::from_millis(2))),
                (2, Event::Began(2, "[1/2] FROM busybox")),
                (2, Event::Cached(2)),
                (3, Event::Began(3, "[2/2] RUN make")),
                (400, Event::Wrote(3, Stdout, b"one\ntwo\n\n10%\r20%\x1b[2Kx\nthree")),
                (1_003, Event::Moved(1, "late", 0, None)),
            ],
            (24, 60),
            false,
        );
        assert_eq!(
            text,
            "[+] Building 1.0s (2/3)                                dhow\n\
             \x20=> [internal] load build definition from Dockerfile   0.0s\n\
             \x20=> => transferring dockerfile: 132B                   0.0s\n\
             \x20=> => late                                            0.0s\n\
             \x20=> CACHED [1/2] FROM busybox                          0.0s\n\
             \x20=> [2/2] RUN make                                     1.0s\n\
             \x20=> => # 20%x\n => => # three\n"
        );
    }

    #[test]
    fn what_runs_stays_in_sight() {
        let steps: Vec<String> = (0..30).map(|i| format!("[{i}/30] RUN step")).collect();
        let mut events: Vec<(u64, Event<'_>)> =
            steps.iter().enumerate().map(|(i, name)| (0, Event::Began(i, name))).collect();
        events.extend((1..30).map(|i| (9, Event::Done(i, Duration::from_millis(9)))));
        let text = drawn(&events, (10, 60), false);
        assert_eq!(text.lines().count(), 9);
        assert!(text.contains("[0/30] RUN step") && text.contains("[29/30] RUN step"), "{text}");
        assert!(drawn(&events, (10, 60), true).lines().count() == 31);
        assert_eq!(drawn(&events, (10, 12), true).lines().count(), 1);
    }

    #[test]
    fn colours_are_read_as_buildkits() {
        let colors = Colors::usual().with("run=green:error=1,2,300:cancel=10,20,30:x=red:warning");
        assert_eq!(colors.run, "32");
        assert_eq!(colors.error, "31");
        assert_eq!(colors.cancel, "38;2;10;20;30");
    }

    proptest! {
        #[test]
        fn drawing_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            name in "\\PC{0,100}", height in 0usize..50, width in 0usize..200, last: bool,
        ) {
            let (mut out, mut trace) = (Vec::new(), Trace::default());
            let mut tty = Tty::new("dhow".into(), Colors::usual(), 6);
            let at = Duration::from_secs(1);
            tty.tell(&mut trace, &Event::Began(0, &name), at);
            tty.tell(&mut trace, &Event::Wrote(0, Stdout, &bytes), at);
            for _ in 0..2 {
                tty.draw(&trace, at, (height, width), last, &mut out).unwrap();
            }
            // Nothing that a RUN writes reaches the terminal as a command.
            let text = String::from_utf8_lossy(&out).into_owned();
            let mut rest = text.as_str();
            while let Some((_, after)) = rest.split_once('\x1b') {
                prop_assert!(after.starts_with('['));
                rest = after;
            }
        }
    }
}
