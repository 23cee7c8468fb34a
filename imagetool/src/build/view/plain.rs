//! Line by line, for pipes and logs; to the letter as BuildKit's plain progress, which scripts read.
//!
//! Of steps side by side one is shown, and goes on being shown until it ends, says less than
//! others for long, or others were kept waiting for long; what others say is kept till then.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::time::Duration;

use super::trace::{Fate, Trace};
use crate::build::progress::Event;

/// A step is shown for so long before another one that says as much gets its turn.
const ANTI_FLICKER: f64 = 5.0;
/// No step waits for longer.
const MAX_DELAY: Duration = Duration::from_secs(10);
/// A part is told of again after so long …
const MIN_TIME: Duration = Duration::from_secs(5);
/// … or such a share of it.
const MIN_SHARE: f64 = 0.05;
/// So many of a step's last lines are told again when it failed.
const LAST_LINES: usize = 10;
/// So many bytes of a step wait until it is shown: BuildKit's limit of a log.
const WAITING: usize = 2 << 20;
/// A longer line is broken.
const LINE: usize = 64 << 10;

/// The view.
pub struct Plain {
    heading: Option<String>,
    /// Longest text of a step; PROGRESS_NO_TRUNC=0 asks for that.
    limit: Option<usize>,
    steps: Vec<Shown>,
    current: Option<usize>,
    numbers: usize,
    begun: bool,
    warned: usize,
}

/// What this view knows of a step.
#[derive(Default)]
struct Shown {
    number: Option<usize>,
    /// News since it was last printed.
    news: bool,
    /// How much news, since when: who says more is shown first.
    count: u32,
    since: Option<Duration>,
    /// Lines not yet printed; the last of them may be a part of one.
    lines: Vec<Vec<u8>>,
    partial: bool,
    /// So much of the first of them is printed.
    offset: usize,
    /// Bytes taken since lines were last printed.
    waiting: usize,
    /// What came since then is too much to be kept.
    clipped: bool,
    last: VecDeque<Vec<u8>>,
    /// What was last said of its parts: bytes, when.
    parts: BTreeMap<String, (u64, Duration)>,
}

impl Plain {
    /// Begins with `#0 heading`.
    pub fn new(heading: Option<String>, limit: Option<usize>) -> Self {
        Self {
            heading,
            limit,
            steps: Vec::new(),
            current: None,
            numbers: 0,
            begun: false,
            warned: 0,
        }
    }

    /// Prints what an event changes.
    pub fn tell(
        &mut self,
        trace: &mut Trace,
        event: &Event<'_>,
        at: Duration,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(place) = trace.tell(event, at) else { return Ok(()) };
        self.steps.resize_with(trace.steps.len(), Shown::default);
        let began = trace.steps[place].began;
        let shown = &mut self.steps[place];
        if shown.count == 0 {
            shown.since = Some(at);
        }
        shown.count += 1;
        match event {
            // Told of with the step, and not before: BuildKit's clients do so.
            Event::Warning(..) => return Ok(()),
            Event::Wrote(_, _, bytes) => shown.write(bytes, at.saturating_sub(began)),
            // Most parts are done before anybody has to know that they were begun.
            Event::Moved(_, _, current, total) if *total != Some(*current) => {
                shown.news = true;
                return Ok(());
            }
            _ => {}
        }
        shown.news = true;
        self.refresh(trace, at, out)
    }

    /// Prints what has waited for long enough.
    pub fn refresh(
        &mut self,
        trace: &mut Trace,
        at: Duration,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let before = self.current;
        let ended = |trace: &Trace, i: usize| trace.steps[i].ended.as_ref().map(|(at, _)| *at);
        let mut completed: Vec<usize> = (0..self.steps.len())
            .filter(|&i| self.steps[i].news && ended(trace, i).is_some())
            .collect();
        completed.sort_by_key(|&i| (Some(i) != before, ended(trace, i)));
        let mut rest: Vec<usize> = (0..self.steps.len())
            .filter(|&i| self.steps[i].news && ended(trace, i).is_none())
            .collect();
        for &i in &completed {
            self.print(trace, i, out)?;
        }
        if rest.is_empty() {
            if before.is_some_and(|i| ended(trace, i).is_none()) {
                return Ok(());
            }
            let open = (0..trace.steps.len()).find(|&i| ended(trace, i).is_none());
            return open.map_or(Ok(()), |i| self.print(trace, i, out));
        }
        if let Some(i) = before.filter(|i| rest.contains(i)) {
            self.print(trace, i, out)?;
        } else {
            rest.extend(before);
        }
        self.next(trace, &rest, before, at).map_or(Ok(()), |i| self.print(trace, i, out))
    }

    /// Whose turn it is, if it is not the current one's.
    fn next(
        &self,
        trace: &Trace,
        rest: &[usize],
        current: Option<usize>,
        at: Duration,
    ) -> Option<usize> {
        let waited = |i: usize| at.saturating_sub(self.steps[i].since.unwrap_or(at));
        let over = |i: usize| waited(i) > MAX_DELAY && Some(i) != current;
        let speed = |i: usize| f64::from(self.steps[i].count) / waited(i).as_secs_f64().max(1e-9);
        let most = rest.iter().copied().reduce(|most, i| {
            if over(i) || (!over(most) && speed(most) < speed(i)) { i } else { most }
        })?;
        let Some(current) = current.filter(|&i| trace.steps[i].ended.is_none()) else {
            return Some(most);
        };
        if let Some(&kept) = rest.iter().find(|&&i| over(i)) {
            return Some(kept);
        }
        let all: f64 = rest.iter().map(|&i| speed(i)).sum();
        let share = speed(current) / all.max(1e-9);
        let due = ANTI_FLICKER / (1.0 - share) < waited(current).as_secs_f64();
        (due && most != current).then_some(most)
    }

    fn print(&mut self, trace: &mut Trace, place: usize, out: &mut dyn Write) -> io::Result<()> {
        self.turn_to(trace, place, out)?;
        let shown = &mut self.steps[place];
        let Some(number) = shown.number else { return Ok(()) };
        let step = &mut trace.steps[place];
        for part in step.parts.iter_mut().filter(|part| part.news) {
            part.news = false;
            let told = shown.parts.get(&part.name);
            #[allow(clippy::cast_precision_loss)] // a share
            let little = told.is_some_and(|(bytes, when)| {
                let more = part.current.saturating_sub(*bytes) as f64;
                let share = if part.total > 0 { more / part.total as f64 } else { 0.0 };
                share < MIN_SHARE && part.told.saturating_sub(*when) < MIN_TIME
            });
            if little && !part.done {
                continue;
            }
            shown.parts.insert(part.name.clone(), (part.current, part.told));
            let amount = part.amount();
            let gap = if amount.is_empty() { "" } else { " " };
            write!(out, "#{number} {}{gap}{amount}", part.name)?;
            let took = part.told.saturating_sub(part.began).as_secs_f64();
            if took > 0.01 {
                write!(out, " {took:.1}s")?;
            }
            writeln!(out, "{}", if part.done { " done" } else { "" })?;
        }
        if place == 0 {
            for warning in &trace.warnings[self.warned..] {
                writeln!(out, "#{number} WARN: {}", warning.short())?;
            }
            self.warned = trace.warnings.len();
        }
        shown.print_lines(number, out)?;
        shown.news = false;
        self.current = Some(place);
        let Some(fate) = step.fate() else { return out.flush() };
        self.current = None;
        shown.count = 0;
        if std::mem::take(&mut shown.partial) {
            writeln!(out)?;
            shown.last.extend(shown.lines.drain(..));
        }
        match fate {
            Fate::Done(took) => writeln!(out, "#{number} DONE {:.1}s", took.as_secs_f64())?,
            Fate::Cached => writeln!(out, "#{number} CACHED")?,
            Fate::Failed(why) => writeln!(out, "#{number} ERROR: {why}")?,
            Fate::Canceled => writeln!(out, "#{number} CANCELED")?,
        }
        out.flush()
    }

    /// Its heading, if another step was shown.
    fn turn_to(&mut self, trace: &Trace, place: usize, out: &mut dyn Write) -> io::Result<()> {
        let number = *self.steps[place].number.get_or_insert_with(|| {
            self.numbers += 1;
            self.numbers
        });
        if self.current == Some(place) {
            return Ok(());
        }
        if let Some(old) = self.current {
            let old = &mut self.steps[old];
            if old.partial {
                writeln!(out)?;
            }
            (old.offset, old.count) = (0, 0);
            writeln!(out, "#{} ...", old.number.unwrap_or_default())?;
        }
        if self.begun {
            writeln!(out)?;
        } else if let Some(heading) = &self.heading {
            writeln!(out, "#0 {heading}\n")?;
        }
        self.begun = true;
        let name = &trace.steps[place].name;
        let cut = self.limit.and_then(|limit| name.char_indices().nth(limit));
        match cut {
            Some((end, _)) => writeln!(out, "#{number} {}...", &name[..end]),
            None => writeln!(out, "#{number} {name}"),
        }
    }

    /// The last lines of what failed.
    pub fn end(&mut self, trace: &Trace, out: &mut dyn Write) -> io::Result<()> {
        for (step, shown) in trace.steps.iter().zip(&self.steps) {
            if !matches!(step.fate(), Some(Fate::Failed(_))) {
                continue;
            }
            writeln!(out, "------\n > {}:", step.name)?;
            for line in &shown.last {
                out.write_all(line)?;
                writeln!(out)?;
            }
            writeln!(out, "------")?;
        }
        out.flush()
    }
}

impl Shown {
    /// Takes what a RUN wrote, in lines that begin with its time. It may write without an end, and
    /// while another step is shown: what is kept has bounds.
    fn write(&mut self, bytes: &[u8], since: Duration) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, whole) = piece.strip_suffix(b"\n").map_or((piece, false), |t| (t, true));
            if self.waiting + text.len() > WAITING {
                self.clip(since);
                return;
            }
            self.waiting += text.len() + 1;
            match self.lines.last_mut().filter(|_| self.partial) {
                Some(line) => line.extend_from_slice(text),
                None => self.lines.push([time(since).as_bytes(), b" ", text].concat()),
            }
            let long = self.lines.last().is_some_and(|line| line.len() >= LINE);
            self.partial = !whole && !long;
        }
    }

    fn clip(&mut self, since: Duration) {
        if !std::mem::replace(&mut self.clipped, true) {
            let words = format!("{} [output clipped, log limit 2MiB reached]", time(since));
            self.lines.push(words.into_bytes());
            self.partial = false;
        }
    }

    fn print_lines(&mut self, number: usize, out: &mut dyn Write) -> io::Result<()> {
        let count = self.lines.len();
        for (i, line) in self.lines.iter().enumerate() {
            let whole = i + 1 < count || !self.partial;
            if i == 0 && self.offset != 0 {
                out.write_all(&line[self.offset..])?;
            } else {
                write!(out, "#{number} ")?;
                out.write_all(line)?;
            }
            if whole {
                writeln!(out)?;
                self.last.push_back(line.clone());
            }
        }
        (self.waiting, self.clipped) = (0, false);
        let kept = if self.partial { self.lines.pop() } else { None };
        self.offset = kept.as_ref().map_or(0, Vec::len);
        self.lines = kept.into_iter().collect();
        while self.last.len() > LAST_LINES {
            self.last.pop_front();
        }
        Ok(())
    }
}

/// `0.123`, `12.34`, `123.4`
fn time(since: Duration) -> String {
    let seconds = since.as_secs_f64();
    match seconds {
        s if s < 10.0 => format!("{s:.3}"),
        s if s < 100.0 => format!("{s:.2}"),
        s => format!("{s:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::progress::Stream::{Stderr, Stdout};

    /// What the view prints of events at milliseconds.
    fn shown(events: &[(u64, Event<'_>)]) -> String {
        let (mut out, mut trace) = (Vec::new(), Trace::default());
        let mut plain = Plain::new(Some("building".into()), None);
        let mut last = 0;
        for (ms, event) in events {
            // The view's thread looks every now and then.
            if ms - last > 100 {
                plain.refresh(&mut trace, Duration::from_millis(last + 100), &mut out).unwrap();
            }
            plain.tell(&mut trace, event, Duration::from_millis(*ms), &mut out).unwrap();
            last = *ms;
        }
        plain.end(&trace, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn output_without_an_end_is_not_kept_without_one() {
        let (mut out, mut trace) = (Vec::new(), Trace::default());
        let mut plain = Plain::new(None, None);
        let at = Duration::ZERO;
        let endless = vec![b'x'; 32 << 10];
        let mut events = vec![Event::Began(1, "shown"), Event::Began(2, "waits")];
        events.extend((0..1000).map(|_| Event::Wrote(2, Stdout, &endless)));
        for event in &events {
            plain.tell(&mut trace, event, at, &mut out).unwrap();
        }
        let kept: usize = plain.steps.iter().flat_map(|step| &step.lines).map(Vec::len).sum();
        assert!(kept < WAITING + LINE, "{kept}");
        for id in [1, 2] {
            plain.tell(&mut trace, &Event::Done(id, at), at, &mut out).unwrap();
        }
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("[output clipped, log limit 2MiB reached]"));
        assert!(text.lines().all(|line| line.len() < 2 * LINE));
    }

    #[test]
    fn one_step_after_the_other() {
        let text = shown(&[
            (0, Event::Began(1, "[internal] load build definition from Dockerfile")),
            (1, Event::Moved(1, "transferring dockerfile:", 132, Some(132))),
            (1, Event::Warning("FromAsCasing", "'as' and 'FROM' keywords' casing do not match", 1)),
            (2, Event::Done(1, Duration::from_millis(2))),
            (2, Event::Began(2, "[1/3] FROM docker.io/library/busybox:latest")),
            (2, Event::Cached(2)),
            (3, Event::Began(3, "[2/3] RUN make")),
            (126, Event::Wrote(3, Stdout, b"a\nb")),
            (200, Event::Wrote(3, Stderr, b"c\n\n")),
            (12_340, Event::Wrote(3, Stdout, b"end")),
            (12_400, Event::Done(3, Duration::from_millis(12_397))),
        ]);
        assert_eq!(
            text,
            "#0 building\n\n\
             #1 [internal] load build definition from Dockerfile\n\
             #1 transferring dockerfile: 132B done\n\
             #1 WARN: FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)\n\
             #1 DONE 0.0s\n\n\
             #2 [1/3] FROM docker.io/library/busybox:latest\n\
             #2 CACHED\n\n\
             #3 [2/3] RUN make\n\
             #3 0.123 a\n\
             #3 0.123 bc\n\
             #3 0.197 \n\
             #3 12.34 end\n\
             #3 DONE 12.4s\n"
        );
    }

    #[test]
    fn of_two_side_by_side_one_is_shown_till_it_ends() {
        let text = shown(&[
            (0, Event::Began(1, "[a 1/1] RUN x")),
            (1, Event::Began(2, "[b 1/1] RUN y")),
            (10, Event::Wrote(2, Stdout, b"of b\n")),
            (20, Event::Wrote(1, Stdout, b"of a\n")),
            (30, Event::Done(1, Duration::from_millis(30))),
            (40, Event::Done(2, Duration::from_millis(39))),
        ]);
        assert_eq!(
            text,
            "#0 building\n\n\
             #1 [a 1/1] RUN x\n#1 0.020 of a\n#1 DONE 0.0s\n\n\
             #2 [b 1/1] RUN y\n#2 0.009 of b\n#2 DONE 0.0s\n"
        );
    }

    #[test]
    fn what_ends_beside_the_shown_one_comes_between() {
        let text = shown(&[
            (0, Event::Began(1, "long")),
            (1, Event::Began(2, "short")),
            (5, Event::Wrote(1, Stdout, b"half a li")),
            (9, Event::Done(2, Duration::from_millis(8))),
            (15, Event::Wrote(1, Stdout, b"ne\n")),
            (20, Event::Done(1, Duration::from_millis(20))),
        ]);
        assert_eq!(
            text,
            "#0 building\n\n#1 long\n#1 0.005 half a li\n#1 ...\n\n#2 short\n#2 DONE 0.0s\n\n\
             #1 long\n#1 0.005 half a line\n#1 DONE 0.0s\n"
        );
    }

    #[test]
    fn who_waits_too_long_is_shown() {
        let text = shown(&[
            (0, Event::Began(1, "one")),
            (0, Event::Began(2, "two")),
            (9_000, Event::Wrote(2, Stdout, b"x\n")),
            (11_000, Event::Wrote(2, Stdout, b"y\n")),
        ]);
        assert_eq!(text, "#0 building\n\n#1 one\n#1 ...\n\n#2 two\n#2 9.000 x\n#2 11.00 y\n");
    }

    #[test]
    fn what_failed_is_told_again_and_what_was_canceled_is_not() {
        let text = shown(&[
            (0, Event::Began(1, "[2/2] RUN false")),
            (1, Event::Wrote(1, Stderr, b"no such thing\n")),
            (2, Event::Began(2, "other")),
            (
                3,
                Event::Failed(
                    1,
                    "process \"/bin/sh -c false\" did not complete successfully: exit code: 1",
                ),
            ),
            (3, Event::Canceled(2)),
        ]);
        assert_eq!(
            text,
            "#0 building\n\n#1 [2/2] RUN false\n#1 0.001 no such thing\n\
             #1 ERROR: process \"/bin/sh -c false\" did not complete successfully: exit code: 1\n\n\
             #2 other\n#2 CANCELED\n\
             ------\n > [2/2] RUN false:\n0.001 no such thing\n------\n"
        );
    }

    #[test]
    fn parts_are_told_of_when_much_has_moved() {
        let text = shown(&[
            (0, Event::Began(1, "pull")),
            (0, Event::Moved(1, "sha256:aa", 0, Some(100_000))),
            (10, Event::Moved(1, "sha256:aa", 1_000, Some(100_000))),
            (20, Event::Moved(1, "sha256:aa", 50_000, Some(100_000))),
            (300, Event::Moved(1, "sha256:aa", 100_000, Some(100_000))),
            (300, Event::Moved(1, "exporting layers", 0, None)),
            (500, Event::Done(1, Duration::from_millis(500))),
        ]);
        assert_eq!(
            text,
            "#0 building\n\n#1 pull\n\
             #1 sha256:aa 50.00kB / 100.00kB 0.0s\n#1 sha256:aa 100.00kB / 100.00kB 0.3s done\n\
             #1 exporting layers\n#1 exporting layers 0.2s done\n#1 DONE 0.5s\n"
        );
    }
}
