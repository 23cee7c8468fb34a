//! The clause table's score, and its mutations.
//!
//! `clauses` prints how many clauses of each document have which status. `clauses mutate [PART]…`
//! breaks the code as each held clause says (those whose section, words or file hold a PART), in a
//! copy below the target folder (or in `$MUTANTS_DIR`), and fails where no test notices. Half as
//! many are at work side by side as there are cores, or `$MUTANTS_JOBS`.
#![allow(clippy::unwrap_used, reason = "a check that cannot go on should stop where it is")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;
use std::{env, fs};

use e2e::clauses::{self, Clause, Mutation, STATUSES};
use e2e::workspace;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.split_first() {
        None => report(&clauses::read()),
        Some((verb, parts)) if verb == "mutate" => return mutate(parts),
        Some((other, _)) => {
            eprintln!("clauses: unknown argument {other}; see tests/clauses/main.rs");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn report(all: &[Clause]) {
    let mut rows: BTreeMap<&str, Vec<&Clause>> = BTreeMap::new();
    for clause in all {
        rows.entry(clause.document()).or_default().push(clause);
    }
    let line = |name: &str, cells: Vec<String>| {
        let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>8}")).collect();
        println!("{name:32}{}", cells.concat());
    };
    let words = ["clauses"].iter().chain(&STATUSES).chain(&["shown"]);
    line("", words.map(ToString::to_string).collect());
    let row = |name: &str, clauses: &[&Clause]| {
        let count = |status: &str| clauses.iter().filter(|c| c.status == status).count();
        let shown = ["held", "tested", "refused"].map(count).iter().sum::<usize>();
        // Of those that bind a runtime on Linux.
        let binding = (clauses.len() - count("other")).max(1);
        let mut cells = vec![clauses.len()];
        cells.extend(STATUSES.map(count));
        let mut cells: Vec<String> = cells.iter().map(ToString::to_string).collect();
        cells.push(format!("{} %", shown * 100 / binding));
        line(name, cells);
    };
    for (name, clauses) in &rows {
        row(name, clauses);
    }
    row("all", &all.iter().collect::<Vec<_>>());
}

/// Where broken copies are built and tried, one at a time.
struct Copy {
    tree: PathBuf,
    target: PathBuf,
    /// Where the programs end up.
    bin: PathBuf,
    /// The end-to-end cases, built once: what is broken is what they run.
    cases: PathBuf,
}

/// What builds the program, for the end-to-end cases.
const PROGRAM: [&str; 4] = ["build", "-q", "-p", "dhow-runtime"];

/// What builds the unit tests.
const UNITS: [&str; 6] = ["test", "-q", "-p", "dhow-runtime", "--lib", "--no-run"];

/// How many are at work side by side: what a mutant costs is one compiler's and one test's time.
fn jobs() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let asked = env::var("MUTANTS_JOBS").ok().and_then(|n| n.parse().ok());
    asked.unwrap_or(cores / 2).max(1)
}

fn folder() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let below = || target.unwrap_or_else(|| workspace().join("target")).join("mutants");
    env::var_os("MUTANTS_DIR").map_or_else(below, PathBuf::from)
}

/// The first copy, with the end-to-end cases, and the others.
fn copies(number: usize) -> Vec<Copy> {
    let mut first = Copy::new(0, PathBuf::new());
    let built = first.cargo(&["test", "-p", "e2e", "--test", "e2e", "--no-run"]).output().unwrap();
    let said = String::from_utf8(built.stderr).unwrap();
    // cargo: `Executable e2e.rs (PATH)`
    let path = said.rsplit_once('(').and_then(|(_, rest)| rest.split(')').next());
    first.cases = PathBuf::from(path.unwrap_or_else(|| panic!("{said}")));
    // Whatever isn't ours is the same in all copies, and need not be built again for each.
    assert!(first.builds(&PROGRAM) && first.builds(&UNITS), "the tree doesn't build as it is");
    let mut all = vec![first];
    for n in 1..number {
        let cases = all[0].cases.clone();
        let new = !folder().join(format!("target-{n}")).exists();
        let copy = Copy::new(n, cases);
        if new {
            let ok = Command::new("cp").arg("-a").args([&all[0].target, &copy.target]).status();
            assert!(ok.unwrap().success());
        }
        all.push(copy);
    }
    all
}

impl Copy {
    fn new(n: usize, cases: PathBuf) -> Self {
        let dir = folder();
        let (tree, target) = (dir.join(format!("tree-{n}")), dir.join(format!("target-{n}")));
        let _ = fs::remove_dir_all(&tree);
        fs::create_dir_all(&tree).unwrap();
        // Without their times: what is built of an earlier copy is built again.
        let script = "git ls-files -z | tar -c --null -T - | tar -x -m -C \"$0\"";
        let sh = ["-c", script, tree.to_str().unwrap()];
        assert!(Command::new("sh").args(sh).current_dir(workspace()).status().unwrap().success());
        let triple = Command::new("rustc").args(["--print", "host-tuple"]).output().unwrap();
        let bin = target.join(String::from_utf8(triple.stdout).unwrap().trim()).join("debug");
        Self { tree, target, bin, cases }
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.args(args).current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        // Nobody looks into a mutant, and it is linked sooner.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
        cargo
    }

    fn succeeds(&self, mut command: Command) -> bool {
        if env::var_os("DHOW_FIXTURES").is_none() {
            command.env("DHOW_FIXTURES", workspace().join("target/fixtures"));
        }
        command.env("DHOW_BIN_DIR", &self.bin).env("RUST_BACKTRACE", "0");
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    /// Builds what these tests run.
    fn build(&self, tests: &[String]) -> bool {
        let only_units = tests.iter().all(|test| clauses::unit(test).is_some());
        self.builds(if only_units { &UNITS } else { &PROGRAM })
    }

    fn builds(&self, args: &[&str]) -> bool {
        self.succeeds(self.cargo(args))
    }

    /// Whether these tests all pass; the first that doesn't says enough.
    fn passes(&self, tests: &[String]) -> bool {
        let (units, cases): (Vec<&String>, Vec<&String>) =
            tests.iter().partition(|test| clauses::unit(test).is_some());
        let case = |name: &&String| {
            // Names that a mutant gives to the world around it are not this machine's.
            let mut program = Command::new("unshare");
            program.args(["--uts", "--ipc"]).arg(&self.cases).args(["--exact", name]);
            program.current_dir(self.tree.join("tests"));
            self.succeeds(program)
        };
        cases.iter().all(case) && {
            let units: Vec<&str> =
                units.into_iter().filter_map(|test| clauses::unit(test)).collect();
            let args = ["test", "-q", "-p", "dhow-runtime", "--lib", "--", "--exact"];
            units.is_empty() || self.succeeds(self.cargo(&[&args[..], &units].concat()))
        }
    }

    fn judge(&self, clause: &Clause, mutation: &Mutation) -> Result<(), &'static str> {
        let file = self.tree.join(&mutation.file);
        let text = fs::read_to_string(&file).map_err(|_| "there is no such file")?;
        if text.matches(&mutation.from).count() != 1 {
            return Err("stale: `from` is not there, or more than once");
        }
        fs::write(&file, text.replacen(&mutation.from, &mutation.to, 1)).unwrap();
        let built = self.build(&clause.tests);
        let noticed = built && !self.passes(&clause.tests);
        fs::write(&file, text).unwrap();
        match (built, noticed) {
            (false, _) => Err("does not compile"),
            (true, false) => Err("SURVIVED"),
            (true, true) => Ok(()),
        }
    }
}

fn mutate(parts: &[String]) -> ExitCode {
    let all = clauses::read();
    let wanted = |clause: &&Clause| {
        let file = clause.mutation.as_ref().map_or("", |mutation| &mutation.file);
        let about = format!("{} {} {file}", clause.spec, clause.says);
        !file.is_empty() && (parts.is_empty() || parts.iter().any(|part| about.contains(part)))
    };
    let held: Vec<&Clause> = all.iter().filter(wanted).collect();
    let copies = copies(jobs().min(held.len().max(1)));
    let tests: BTreeSet<&String> = held.iter().flat_map(|clause| &clause.tests).collect();
    let tests: Vec<String> = tests.into_iter().cloned().collect();
    // What fails anyhow would notice everything: each copy shows that its share passes.
    let share = tests.len().div_ceil(copies.len()).max(1);
    let whole = std::thread::scope(|s| {
        let shares = copies.iter().zip(tests.chunks(share).chain(std::iter::repeat(&[][..])));
        let show = |(copy, own): (&Copy, &[String])| copy.builds(&PROGRAM) && copy.passes(own);
        let shown: Vec<_> = shares.map(|share| s.spawn(move || show(share))).collect();
        shown.into_iter().all(|one| one.join().unwrap())
    });
    if !whole {
        eprintln!("clauses: not all tests pass before anything is broken");
        return ExitCode::FAILURE;
    }
    let (next, worst) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|s| {
        for copy in &copies {
            s.spawn(|| {
                while let Some(clause) = held.get(next.fetch_add(1, Relaxed)) {
                    worst.fetch_or(!told(copy, clause), Relaxed);
                }
            });
        }
    });
    if worst.into_inner() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Breaks one clause's line, and says whether that was noticed.
fn told(copy: &Copy, clause: &Clause) -> bool {
    let Some(mutation) = &clause.mutation else { return true };
    let began = Instant::now();
    let judged = copy.judge(clause, mutation);
    let took = began.elapsed().as_secs();
    match judged {
        Ok(()) => println!("held  {}: {} ({took} s)", clause.spec, clause.says),
        Err(why) => println!("{why}  {}: {}\n    {}", clause.spec, clause.says, mutation.file),
    }
    judged.is_ok()
}
