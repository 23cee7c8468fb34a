//! Health checks: what the container's own command says of it, as docker counts.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::beside::{Beside, News, Streams};
use super::birth::Birth;
use super::children::Children;
use super::command;
use super::files::Files;
use super::runtime::Runtime;
use crate::events;
use crate::model::{Health, Healthcheck, Probe, Record, Wellness};
use crate::options::time::worded;

/// DOCKER: what holds where the check doesn't say.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: i64 = 3;
/// The runtime gets so long to make a check's process.
const LONGEST_CALL: Duration = Duration::from_secs(30);
/// So much of a check's output is kept.
const LONGEST_OUTPUT: usize = 4096;
/// More than this is not read at once: the container's own output comes first.
const PIECE: usize = 64 * 1024;

/// When and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

impl Plan {
    fn of(check: &Healthcheck) -> Self {
        let or = |nanos: i64, usual: Duration| match u64::try_from(nanos) {
            Ok(0) | Err(_) => usual,
            Ok(nanos) => Duration::from_nanos(nanos),
        };
        let retries = if check.retries > 0 { check.retries } else { RETRIES };
        Self {
            interval: or(check.interval, INTERVAL),
            timeout: or(check.timeout, TIMEOUT),
            start_period: or(check.start_period, Duration::ZERO),
            start_interval: or(check.start_interval, START_INTERVAL),
            retries: u32::try_from(retries).unwrap_or(u32::MAX),
        }
    }

    /// The pause before the next check, `age` after the container's start.
    fn pause(&self, age: Duration, status: Wellness) -> Duration {
        let left = self.start_period.saturating_sub(age);
        if left.is_zero() || status != Wellness::Starting {
            self.interval
        } else {
            self.start_interval.min(left)
        }
    }

    /// Counts a check that was begun `age` after the container's start.
    fn count(&self, health: &mut Health, probe: Probe, age: Duration) {
        if probe.exit_code == 0 {
            (health.failing_streak, health.status) = (0, Wellness::Healthy);
        } else if health.status != Wellness::Starting || age >= self.start_period {
            health.failing_streak = health.failing_streak.saturating_add(1);
            if health.failing_streak >= self.retries {
                health.status = Wellness::Unhealthy;
            }
        }
        health.remember(probe);
    }
}

/// How a container is when its life begins: docker keeps what the last one's checks said.
pub fn at_start(record: &Record, before: Option<Health>) -> Option<Health> {
    let config = &record.config;
    command::check(config.healthcheck.as_ref()?, config.shell.as_deref())?;
    let log = before.map(|health| health.log).unwrap_or_default();
    Some(Health { log, ..Health::default() })
}

/// The checks of one life.
pub struct Checks {
    plan: Plan,
    args: Vec<String>,
    files: Files,
    due: Instant,
    current: Option<Check>,
}

/// A check that is being made.
struct Check {
    beside: Beside,
    exec: String,
    start: Timestamp,
    /// When it has taken too long.
    until: Instant,
    /// It has taken too long, was counted, and is on its way out.
    dying: bool,
    output: Vec<u8>,
    /// There was more output than is kept.
    cut: bool,
}

impl Checks {
    /// The checks of the container that `birth` has begun; nothing when it has none.
    pub fn of(birth: &Birth<'_>) -> Option<Self> {
        let config = &birth.record.config;
        let check = config.healthcheck.as_ref()?;
        let args = command::check(check, config.shell.as_deref())?;
        let plan = Plan::of(check);
        let files = Files::named(birth.dir.clone(), "health".into());
        // A file that can't be written shows at the first check.
        let _ = command::of_check(birth.host, birth.record, &args, &files.path("json"));
        let mut checks = Self { plan, args, files, due: Instant::now(), current: None };
        checks.rest(birth);
        Some(checks)
    }

    /// When [`Checks::tick`] has something to do, if nothing else happens.
    pub fn due(&self) -> Instant {
        match &self.current {
            None => self.due,
            // Its end wakes us.
            Some(check) if check.dying => Instant::now() + LONGEST_CALL,
            Some(check) => check.until,
        }
    }

    /// A check may yet ask how its process ended.
    pub fn waits(&self) -> bool {
        self.current.is_some()
    }

    /// The output of the check that is being made.
    pub fn output(&self) -> Option<&File> {
        self.current.as_ref()?.beside.output.as_ref()
    }

    /// Reads from the check that is being made.
    pub fn pump(&mut self) {
        if let Some(check) = &mut self.current {
            check.pump();
        }
    }

    /// Begins, counts and ends checks; true when the state has changed.
    /// While the container is frozen only the end of the last one is waited for.
    pub fn tick(&mut self, paused: bool, birth: &mut Birth<'_>, children: &mut Children) -> bool {
        let runtime = Runtime::of(birth.host, birth.record, self.files.path("log"));
        let Some(check) = &mut self.current else {
            return !paused && Instant::now() >= self.due && self.begin(birth, &runtime);
        };
        // It may have begun and ended since the last look.
        while let Some(news) = check.beside.look(&runtime, &self.files, children) {
            match news {
                News::Started => {
                    check.until = Instant::now() + self.plan.timeout;
                    tell_exec(birth, "exec_start", &check.exec, &self.args, None);
                }
                News::Ended(code) => {
                    tell_exec(birth, "exec_die", &check.exec, &self.args, Some(code));
                    return self.end(birth, |check| (code, check.text()));
                }
                News::Failed(error) => return self.end(birth, |_| (-1, error.message)),
            }
        }
        if check.dying || Instant::now() < check.until {
            return false;
        }
        check.beside.kill();
        check.dying = true;
        let (probe, start) = check.late(birth, self.plan.timeout);
        self.count(birth, probe, start);
        true
    }

    fn begin(&mut self, birth: &mut Birth<'_>, runtime: &Runtime<'_>) -> bool {
        let start = Timestamp::now();
        let begun = crate::making::new_id()
            .and_then(|exec| Ok((exec, Beside::begin(runtime, &self.files, Streams::Output)?)));
        match begun {
            Ok((exec, beside)) => {
                tell_exec(birth, "exec_create", &exec, &self.args, None);
                let until = Instant::now() + LONGEST_CALL;
                let (output, cut, dying) = (Vec::new(), false, false);
                self.current = Some(Check { beside, exec, start, until, dying, output, cut });
                false
            }
            Err(error) => {
                let (exit_code, output) = (-1, error.message);
                let probe = Probe { start, end: Timestamp::now(), exit_code, output };
                self.count(birth, probe, start);
                self.rest(birth);
                true
            }
        }
    }

    /// The check's process is no more; what it came to, unless it was counted before.
    fn end(
        &mut self,
        birth: &mut Birth<'_>,
        result: impl FnOnce(&mut Check) -> (i32, String),
    ) -> bool {
        let Some(mut check) = self.current.take() else { return false };
        if !check.dying {
            check.pump();
            let (exit_code, output) = result(&mut check);
            let (start, end) = (check.start, Timestamp::now());
            self.count(birth, Probe { start, end, exit_code, output }, start);
        }
        self.rest(birth);
        !check.dying
    }

    fn count(&self, birth: &mut Birth<'_>, probe: Probe, start: Timestamp) {
        let age = age(birth, start);
        let health = birth.state.health.get_or_insert_default();
        let before = health.status;
        self.plan.count(health, probe, age);
        let now = health.status;
        if now != before {
            let action = format!("health_status: {}", now.as_str());
            events::of_container(&birth.host.paths, birth.record, &action, &[]);
        }
    }

    /// Until the next one.
    fn rest(&mut self, birth: &Birth<'_>) {
        let age = age(birth, Timestamp::now());
        let status = birth.state.health.as_ref().map(|health| health.status).unwrap_or_default();
        self.due = Instant::now() + self.plan.pause(age, status);
    }

    /// Gives up the check that is being made, and begins to count the time anew: the
    /// container was frozen, or thawed.
    pub fn break_off(&mut self, birth: &mut Birth<'_>) {
        if let Some(health) = &mut birth.state.health {
            health.status = Wellness::Unhealthy; // DOCKER: nobody checks any more
        }
        if let Some(check) = &mut self.current {
            check.beside.kill();
            check.dying = true;
        }
        self.rest(birth);
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        if let Some(check) = &self.current {
            check.beside.kill();
        }
    }
}

impl Check {
    fn pump(&mut self) {
        let Some(mut file) = self.beside.output.take() else { return };
        let (mut buffer, mut total) = ([0; 4096], 0);
        while total < PIECE {
            match file.read(&mut buffer) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Ok(0) | Err(_) => return, // its end
                Ok(n) => {
                    let kept = n.min(LONGEST_OUTPUT - self.output.len());
                    self.output.extend(&buffer[..kept]);
                    self.cut |= kept < n;
                    total += n;
                }
            }
        }
        self.beside.output = Some(file);
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.output).into_owned();
        if self.cut {
            text.push_str("...");
        }
        text
    }

    fn late(&mut self, birth: &Birth<'_>, timeout: Duration) -> (Probe, Timestamp) {
        let start = self.start;
        self.pump();
        let mut output = if self.beside.runs() {
            format!("Health check exceeded timeout ({})", worded(timeout))
        } else {
            format!("timed out starting health check for container {}", birth.record.id)
        };
        if !self.output.is_empty() {
            output = format!("{output}: {}", self.text());
        }
        (Probe { start, end: Timestamp::now(), exit_code: -1, output }, start)
    }
}

/// How long the container has run at `then`.
fn age(birth: &Birth<'_>, then: Timestamp) -> Duration {
    let started = birth.state.started_at.unwrap_or(then);
    Duration::try_from(then.duration_since(started)).unwrap_or_default()
}

/// docker's event of one more process in the container.
fn tell_exec(birth: &Birth<'_>, action: &str, exec: &str, args: &[String], code: Option<i32>) {
    super::exec::tell(birth.host, birth.record, action, exec, args, code);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn plan() -> Plan {
        let second = 1_000_000_000;
        Plan::of(&Healthcheck {
            interval: 10 * second,
            start_period: 30 * second,
            retries: 2,
            ..Healthcheck::default()
        })
    }

    fn after(codes: &[(i32, u64)]) -> (Wellness, u32) {
        let mut health = Health::default();
        for (exit_code, age) in codes {
            let probe = Probe { exit_code: *exit_code, ..Probe::default() };
            plan().count(&mut health, probe, Duration::from_secs(*age));
        }
        (health.status, health.failing_streak)
    }

    #[test]
    fn failures_count_after_the_start_period_or_the_first_success() {
        use Wellness::{Healthy, Starting, Unhealthy};
        assert_eq!(after(&[]), (Starting, 0));
        assert_eq!(after(&[(1, 5), (1, 15), (1, 29)]), (Starting, 0));
        assert_eq!(after(&[(1, 5), (1, 31)]), (Starting, 1));
        assert_eq!(after(&[(1, 31), (-1, 41)]), (Unhealthy, 2));
        assert_eq!(after(&[(0, 1), (1, 2)]), (Healthy, 1));
        assert_eq!(after(&[(0, 1), (1, 2), (1, 3)]), (Unhealthy, 2));
        assert_eq!(after(&[(1, 31), (1, 32), (0, 33)]), (Healthy, 0));
    }

    #[test]
    fn checks_are_frequent_while_it_starts_and_one_comes_when_that_time_ends() {
        let pause = |age, status| plan().pause(SECOND * age, status);
        assert_eq!(pause(0, Wellness::Starting), START_INTERVAL);
        assert_eq!(pause(28, Wellness::Starting), SECOND * 2);
        assert_eq!(pause(0, Wellness::Healthy), SECOND * 10);
        assert_eq!(pause(30, Wellness::Starting), SECOND * 10);
        let bare = Plan::of(&Healthcheck::default());
        assert_eq!((bare.pause(Duration::ZERO, Wellness::Starting), bare.retries), (INTERVAL, 3));
    }
}
