//! Failures and kills at the system calls of the runtime, one at a time: what failed leaves nothing,
//! what was killed is cleaned up by `delete --force`, and nothing is half done in silence.
//!
//! `strike.c` strikes from outside; the steps are those of `--trace`. In short one call of each step
//! is struck; by hand, `DHOW_LONG=1`: every call there is, and a table of what came of it is printed
//! (`--nocapture`).
#![cfg(target_arch = "x86_64")]

mod asked;
mod bugs;
mod criu;
mod kills;
mod makes;
mod reads;
mod scene;
mod uses;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::bundle::Bundle;
use e2e::{Cmd, World};
use nix::errno::Errno;
use nix::libc;

/// Whether every call is struck.
pub fn long() -> bool {
    std::env::var_os("DHOW_LONG").is_some()
}

/// One system call of a command.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whose: 0 is the command, 1 its first child (or the container's waiting process).
    pub who: usize,
    /// Which of its calls, from 1.
    pub nth: u64,
    /// Its number.
    pub nr: i64,
    /// The step of `--trace` that it belongs to.
    pub step: String,
}

/// What strikes.
#[derive(Debug, Clone, Copy)]
pub enum What {
    /// The call fails.
    Fail(Errno),
    /// These are killed: bit N is process N, -1 means all.
    Kill(i64),
}

/// Disks, tables and wires may always fail.
pub const FAIL: (&str, What) = ("fail", What::Fail(Errno::EIO));

/// How a struck command has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// What it, and its container, has written.
    pub out: String,
    /// What it has said.
    pub err: String,
    /// Whether it was struck.
    pub struck: bool,
}

/// What a failing command leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Nothing, as if it had not been: `create`, `run`.
    Nothing,
    /// What was there before: `exec`, `update`.
    Same,
    /// What `delete --force` removes.
    Container,
}

/// A command to strike.
pub struct Case<'a> {
    /// Its name in the table.
    pub name: &'a str,
    /// Where it runs.
    pub w: &'a World,
    /// Its container.
    pub b: &'a Bundle,
    /// Its words.
    pub words: Vec<String>,
    /// Makes what it needs; gives the process that is watched beside it.
    pub ready: Box<dyn Fn() -> Option<i32> + 'a>,
    /// What its failure leaves.
    pub after: After,
    /// PATH, where it isn't the caller's.
    pub path: Option<&'a str>,
}

/// What came of the strikes at each step: how often which.
type Table = BTreeMap<(String, &'static str), u32>;

impl<'a> Case<'a> {
    /// A command that makes the container.
    pub fn makes(name: &'a str, w: &'a World, b: &'a Bundle, words: &[&str]) -> Self {
        let words = words.iter().map(|w| (*w).to_owned()).collect();
        Self { name, w, b, words, ready: Box::new(|| None), after: After::Nothing, path: None }
    }

    fn say(&self, file: &str) -> PathBuf {
        let dir = self.w.path("say");
        fs::create_dir_all(&dir).unwrap();
        dir.join(file)
    }

    /// The program that strikes.
    fn striker(&self) -> String {
        let (path, source) =
            (self.say("strike"), e2e::workspace().join("tests/runtime/strike/strike.c"));
        if !path.exists() {
            Cmd::new("cc").args(["-O1", "-static", "-o"]).arg(&path).arg(source).run().ok();
        }
        path.display().to_string()
    }

    /// Runs it, struck or only listed.
    fn run(&self, beside: Option<i32>, at: Option<(&Call, What)>) -> Ended {
        let [list, out, err, trace] = ["list", "out", "err", "trace"].map(|file| self.say(file));
        let (who, nth, nr) = at.map_or((0, 0, 0), |(call, _)| (call.who, call.nth, call.nr));
        let (error, victim) = match at {
            Some((_, What::Fail(errno))) => (errno as i64, 0),
            Some((_, What::Kill(victim))) => (0, victim),
            None => (0, 0),
        };
        let beside = i64::from(beside.unwrap_or(0));
        let numbers = [beside, who as i64, nth as i64, nr, error, victim];
        let mut strike = vec![self.striker(), list.display().to_string()];
        strike.extend(numbers.map(|number| number.to_string()));
        let quiet = format!("exec \"$@\" >{} 2>{} </dev/null", out.display(), err.display());
        let trace = trace.display().to_string();
        let words = ["--trace", &trace].into_iter().chain(self.words.iter().map(String::as_str));
        let mut command = self.w.runtime_cmd(words).under(strike);
        if let Some(path) = self.path {
            command = command.env("PATH", path);
        }
        let code = command.under(["sh", "-c", &quiet, "sh"]).limit(30).run().code;
        let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let struck = text(list).starts_with("struck");
        Ended { code, out: scene::plain(&text(out)), err: text(err), struck }
    }

    /// Its calls, in the order in which they were made, and how it ends undisturbed.
    fn list(&self) -> (Vec<Call>, Ended) {
        let beside = (self.ready)();
        let ended = self.run(beside, None);
        assert!(
            ended.code == 0 && ended.err.is_empty(),
            "{} fails by itself: {ended:?}",
            self.name
        );
        let text = fs::read_to_string(self.say("list")).unwrap();
        self.clean();
        let mut calls: Vec<Call> = Vec::new();
        for line in text.lines() {
            let mut words = line.splitn(4, ' ');
            let mut number = || words.next().unwrap().parse::<u64>().unwrap();
            let (who, nth, nr) = (number() as usize, number(), number() as i64);
            let told = words.next().map(step_of);
            if let Some(step) = &told {
                let mine = calls.iter_mut().filter(|c| c.who == who && c.step.is_empty());
                mine.for_each(|call| call.step.clone_from(step));
            }
            // A trace that can't be written is no failure.
            if told.is_none() {
                calls.push(Call { who, nth, nr, step: String::new() });
            }
        }
        calls
            .iter_mut()
            .filter(|c| c.step.is_empty())
            .for_each(|c| c.step = format!("end {}", c.who));
        // Rust's own start, before main, aborts when it can't poll.
        calls.retain(|call| {
            let start = call.nr == libc::SYS_poll && call.step == "parent begin";
            !start && !UNSTRUCK.contains(&call.nr)
        });
        (calls, ended)
    }

    fn delete(&self) -> e2e::Done {
        self.w.runtime_cmd(["delete", "--force", self.b.id()]).limit(30).run()
    }

    fn clean(&self) {
        self.delete().ok();
    }

    /// All that is there of the world.
    fn look(&self) -> BTreeSet<String> {
        scene::look(self.w, self.b)
    }

    /// Waits for what is on its way out; what differs then.
    fn differs(&self, from: &BTreeSet<String>) -> Option<String> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let now = self.look();
            if now == *from {
                return None;
            }
            if Instant::now() > end {
                let gone = from.difference(&now).map(|line| format!("- {line}"));
                let come = now.difference(from).map(|line| format!("+ {line}"));
                return Some(gone.chain(come).collect::<Vec<_>>().join("\n    "));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Strikes calls and judges what came of each.
    pub fn strike(&self, whats: &[(&'static str, What)]) {
        // What is made in the root for later mounts is made by the first.
        let (calls, usual) = self.list();
        let rounds = whats.iter().enumerate();
        let strikes = rounds.flat_map(|(index, what)| {
            let picked = picked(&calls, index, whats.len());
            picked.into_iter().map(move |call| (call, *what))
        });
        self.strike_each(&usual, strikes);
    }

    /// Fails every call of a kind in one step.
    pub fn strike_at(&self, step: &str, nr: i64) {
        self.strike_by(FAIL, step, nr);
    }

    /// Strikes at every call of a kind in one step.
    pub fn strike_by(&self, what: (&'static str, What), step: &str, nr: i64) {
        let (calls, usual) = self.list();
        let calls: Vec<&Call> = calls.iter().filter(|c| c.step == step && c.nr == nr).collect();
        assert!(!calls.is_empty(), "{step} makes no such call");
        self.strike_each(&usual, calls.into_iter().map(|call| (call, what)));
    }

    fn strike_each<'c>(
        &self,
        usual: &Ended,
        strikes: impl Iterator<Item = (&'c Call, (&'static str, What))>,
    ) {
        let start = self.look();
        let mut table = Table::new();
        let mut wrong = Vec::new();
        for (call, (title, what)) in strikes {
            let mut note = |why: String| {
                let why = format!("{}: {title} at {call:?}: {why}", self.name);
                if long() {
                    eprintln!("{why}");
                }
                wrong.push(why);
            };
            let beside = (self.ready)();
            let before = self.look();
            let ended = self.run(beside, Some((call, what)));
            let came = self.judge(what, usual, &ended, &before, &start).unwrap_or_else(|why| {
                note(format!("{why}\n    {} {}", ended.code, ended.err));
                "wrong"
            });
            *table.entry((format!("{title}: {}", call.step), came)).or_default() += 1;
            let done = self.delete();
            if done.code != 0 {
                note(done.to_string());
            }
            if let Some(left) = self.differs(&start) {
                note(format!("delete leaves:\n    {left}\n    {}", ended.err));
                break;
            }
        }
        if long() {
            eprintln!("{}", shown(self.name, &table));
        }
        assert!(!table.is_empty(), "nothing was struck");
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    /// What came of a strike, in a word; or what is wrong with it.
    fn judge(
        &self,
        what: What,
        usual: &Ended,
        ended: &Ended,
        before: &BTreeSet<String>,
        start: &BTreeSet<String>,
    ) -> Result<&'static str, String> {
        if ended.code == 98 {
            return Err("hangs".into());
        }
        if !ended.struck {
            return Ok("not met");
        }
        if let What::Kill(victim) = what
            && victim & 1 != 0
        {
            // Whatever there is of it can be looked at.
            self.w.runtime(["list"]).ok();
            let state = self.w.runtime(["state", self.b.id()]);
            return if state.err().contains("panicked") {
                Err(state.to_string())
            } else {
                Ok("killed")
            };
        }
        if ended.code == usual.code && ended.err == usual.err {
            let differs = scene::differ(&usual.out, &ended.out);
            let silent = format!("went on, but\n    {differs}");
            return if differs.is_empty() { Ok("went on") } else { Err(silent) };
        }
        let count = |level| ended.err.lines().filter(|line| line.contains(level)).count();
        let lines = count("level=error");
        // criu says on its own that nobody speaks to it any more.
        let own = |line: &&str| !line.contains("level=") && !line.starts_with("Error (criu/");
        let more = ended.err.lines().filter(own).count();
        // What uses containers goes on with the others, or with the next step, and says so.
        let told = self.after != After::Nothing && lines == 0 && more == 0;
        if told && ended.code == usual.code && count("level=warning") == 1 {
            return Ok("said");
        }
        // Killed once it had been started, it ends as it was killed.
        let ends = matches!(what, What::Kill(_)) && ended.code == 137 && ended.err.is_empty();
        // As runc: what can't be executed is a line without more.
        let bare = ended.code == 255 && more == 1 && lines == 0 && ended.err.starts_with("exec ");
        if !ends
            && !bare
            && ((128..255).contains(&ended.code) || ended.code == 0 || lines != 1 || more != 0)
        {
            return Err("neither went on nor failed with one line".into());
        }
        let left = match self.after {
            // The program has run to its end: what couldn't be removed can be found, and tried again.
            After::Nothing if !usual.out.is_empty() && ended.out == usual.out => None,
            After::Nothing => self.differs(start),
            After::Same => self.differs(before),
            After::Container => None,
        };
        left.map_or(Ok(if ends { "ended" } else { "failed" }), |left| {
            Err(format!("leaves:\n    {left}"))
        })
    }
}

/// Calls that fail for want of memory alone, or not at all, whatever is asked rightly.
const UNSTRUCK: [i64; 28] = [
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_umask,
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_sigaltstack,
    libc::SYS_arch_prctl,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigreturn,
    libc::SYS_futex,
    libc::SYS_sched_getaffinity,
    libc::SYS_close,
    libc::SYS_getrandom,
];

fn step_of(line: &str) -> String {
    // It is cut where it is long.
    let field = |name: &str| line.split(&format!("\"{name}\":\"")).nth(1)?.split('"').next();
    format!("{} {}", field("by").unwrap_or("?"), field("step").unwrap_or("?"))
}

/// Those that are struck: all, or one of each step, some of the steps in each round. `DHOW_LONG=2/10` is
/// the second tenth of all.
fn picked(calls: &[Call], round: usize, rounds: usize) -> Vec<&Call> {
    if let Ok(part) = std::env::var("DHOW_LONG") {
        let part = part.split_once('/').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap()));
        let (which, of): (usize, usize) = part.unwrap_or((1, 1));
        return calls.iter().skip(which - 1).step_by(of).collect();
    }
    let mut steps: BTreeMap<(usize, &str), Vec<&Call>> = BTreeMap::new();
    for call in calls {
        steps.entry((call.who, &call.step)).or_default().push(call);
    }
    let steps = steps.into_values().skip(round).step_by(rounds);
    steps.map(|of| of[of.len() / 2]).collect()
}

fn shown(name: &str, table: &Table) -> String {
    let mut text = format!("\n== {name}\n");
    for ((step, came), times) in table {
        writeln!(text, "{step:40} {came:10} {times:5}").unwrap();
    }
    let total: u32 = table.values().sum();
    writeln!(text, "{:40} {:10} {total:5}", "all", "").unwrap();
    text
}
