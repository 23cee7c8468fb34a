//! Running contenders in turn, and the table of what came of it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::Stdio;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use e2e::Cmd;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// One command's cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub wall: Duration,
    pub cpu: Duration,
}

/// Between two commands: a start that comes by itself, as a user's does, not one that finds
/// the kernel's grace periods (RCU) already paid for by the one before.
const PAUSE: Duration = Duration::from_millis(30);

/// One of a cost's two.
type Part = fn(&Cost) -> Duration;

/// Where contenders run, if not anywhere.
static CPUS: OnceLock<String> = OnceLock::new();

/// Has all that is measured run on these processors alone.
pub fn confine(cpus: String) {
    let _ = CPUS.set(cpus);
}

/// Runs a command to its end, and everything it leaves; it must end with 0. Gives its stdout too.
pub fn cost(cmd: &Cmd) -> (Cost, String) {
    let dir = tempfile::tempdir().unwrap();
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    let others = own_children();
    let cmd = match CPUS.get() {
        Some(cpus) => &cmd.clone().under(["taskset", "-c", cpus.as_str()]),
        None => cmd,
    };
    let before = children();
    let began = Instant::now();
    let mut command = cmd.command();
    command
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap());
    let mut child = cmd.spawn(&mut command);
    let status = child.wait().unwrap();
    let wall = began.elapsed();
    let said = fs::read_to_string(&err).unwrap_or_default();
    assert!(status.success(), "`{}` ended with {status}:\n{said}", cmd.line());
    // What daemonised is a child of ours now; a registry that was there before stays.
    while let Some(pid) = own_children().difference(&others).next() {
        let _ = waitpid(*pid, None);
    }
    let cpu = children().saturating_sub(before);
    (Cost { wall, cpu }, fs::read_to_string(&out).unwrap_or_default())
}

/// The wall time of a command whose children stay; it must end with 0.
pub fn wall(cmd: &Cmd) -> Duration {
    let mut command = cmd.command();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let began = Instant::now();
    let status = cmd.spawn(&mut command).wait().unwrap();
    let wall = began.elapsed();
    assert!(status.success(), "`{}` ended with {status}", cmd.line());
    wall
}

/// Runs a command as [`cost`] does; also its greatest process's peak memory, in KiB.
pub fn peak(cmd: &Cmd) -> (Cost, u64) {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("peak");
    let bench = std::env::current_exe().unwrap();
    let words = [bench.as_os_str(), "--peak".as_ref(), told.as_os_str()];
    let (cost, _) = cost(&cmd.clone().under(words));
    (cost, fs::read_to_string(told).unwrap().parse().unwrap())
}

/// The other side of [`peak`]: the only child of a process is what its children's usage is of.
pub fn peak_of(told: &str, words: &[String]) -> i32 {
    let status = std::process::Command::new(&words[0]).args(&words[1..]).status().unwrap();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    fs::write(told, usage.max_rss().to_string()).unwrap();
    status.code().unwrap_or(1)
}

/// The process ids of our children.
fn own_children() -> BTreeSet<Pid> {
    let ours = std::process::id().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_string_lossy().parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.to_owned();
        (parent == ours).then_some(Pid::from_raw(pid))
    });
    processes.collect()
}

/// The CPU time of all children that have ended.
pub fn children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let time = |t: TimeVal| Duration::from_micros((t.tv_sec() * 1_000_000 + t.tv_usec()) as u64);
    time(usage.user_time()) + time(usage.system_time())
}

/// Somebody in the race.
pub struct Contender<'a> {
    /// Its name in the table.
    pub name: &'a str,
    /// The command, made anew for each round (a number).
    pub cmd: Box<dyn Fn(usize) -> Cmd + 'a>,
    /// Clears up after a round, off the clock.
    pub after: Box<dyn Fn(usize) + 'a>,
}

impl<'a> Contender<'a> {
    /// One whose command is the same in every round and leaves nothing.
    pub fn new(name: &'a str, cmd: Cmd) -> Self {
        Self { name, cmd: Box::new(move |_| cmd.clone()), after: Box::new(|_| ()) }
    }
}

/// Runs them all in turn and prints the table, with ratios to the first.
pub fn race(title: &str, rounds: usize, contenders: &[Contender<'_>]) {
    let racers: Vec<Racer<'_>> = contenders
        .iter()
        .map(|contender| {
            let run = move |round| {
                let done = cost(&(contender.cmd)(round));
                (contender.after)(round);
                done
            };
            Racer { name: contender.name, run: Box::new(run) }
        })
        .collect();
    race_of(title, rounds, &racers);
}

/// Somebody in a race whose rounds are more than one command.
pub struct Racer<'a> {
    /// Its name in the table.
    pub name: &'a str,
    /// A round (a number), and what was printed in it.
    pub run: Box<dyn Fn(usize) -> (Cost, String) + 'a>,
}

/// As [`race`].
pub fn race_of(title: &str, rounds: usize, contenders: &[Racer<'_>]) {
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); contenders.len()];
    let mut outputs = vec![String::new(); contenders.len()];
    for round in 0..rounds + 2 {
        for turn in 0..contenders.len() {
            let which = (turn + round) % contenders.len();
            thread::sleep(PAUSE);
            let (cost, output) = (contenders[which].run)(round);
            // The first two rounds fill the caches.
            if round >= 2 {
                costs[which].push(cost);
            }
            outputs[which] = output;
        }
    }
    println!("\n{title}, {rounds} rounds in turn");
    println!("{:<28}{:>26}{:>26}", "", "wall ms  p10 / median", "CPU ms  p10 / median");
    let of = |which: usize, part: Part, at: usize| {
        let mut times: Vec<f64> =
            costs[which].iter().map(|c| part(c).as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        times[(times.len() - 1) * at / 100]
    };
    let (wall, cpu): (Part, Part) = (|c| c.wall, |c| c.cpu);
    for (i, contender) in contenders.iter().enumerate() {
        let cell = |part| format!("{:.2} / {:.2}", of(i, part, 10), of(i, part, 50));
        println!("{:<28}{:>26}{:>26}", contender.name, cell(wall), cell(cpu));
    }
    for (i, contender) in contenders.iter().enumerate().skip(1) {
        let ratio = |part, at| of(i, part, at) / of(0, part, at);
        let (first, name) = (contenders[0].name, contender.name);
        println!(
            "{name} / {first}: wall {:.2} (p10 {:.2}), CPU {:.2} (p10 {:.2})",
            ratio(wall, 50),
            ratio(wall, 10),
            ratio(cpu, 50),
            ratio(cpu, 10)
        );
    }
    assert!(outputs.iter().all(|o| *o == outputs[0]), "{title}: outputs differ: {outputs:?}");
}
