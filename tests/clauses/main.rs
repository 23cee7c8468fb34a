//! The clause table's score, and its mutations.
//!
//! `clauses` prints how many clauses of each document have which status. `clauses mutate [PART]…`
//! breaks the code as each held clause says (those whose section, words or file hold a PART), in a
//! copy below the target folder (or in `$MUTANTS_DIR`), and fails where no test notices.
#![allow(clippy::unwrap_used, reason = "a check that cannot go on should stop where it is")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
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

/// Where the broken copies are built.
struct Copy {
    tree: PathBuf,
    target: PathBuf,
    /// Where the programs end up.
    bin: PathBuf,
    /// The end-to-end cases, built once: what is broken is what they run.
    cases: PathBuf,
}

impl Copy {
    fn new() -> Self {
        let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let below = || target.unwrap_or_else(|| workspace().join("target")).join("mutants");
        let dir = env::var_os("MUTANTS_DIR").map_or_else(below, PathBuf::from);
        let (tree, target) = (dir.join("tree"), dir.join("target"));
        let _ = fs::remove_dir_all(&tree);
        fs::create_dir_all(&tree).unwrap();
        // Without their times: what is built of an earlier copy is built again.
        let script = "git ls-files -z | tar -c --null -T - | tar -x -m -C \"$0\"";
        let sh = ["-c", script, tree.to_str().unwrap()];
        assert!(Command::new("sh").args(sh).current_dir(workspace()).status().unwrap().success());
        let triple = Command::new("rustc").args(["--print", "host-tuple"]).output().unwrap();
        let bin = target.join(String::from_utf8(triple.stdout).unwrap().trim()).join("debug");
        let mut copy = Self { tree, target, bin, cases: PathBuf::new() };
        let built =
            copy.cargo(&["test", "-p", "e2e", "--test", "e2e", "--no-run"]).output().unwrap();
        let said = String::from_utf8(built.stderr).unwrap();
        // cargo: `Executable e2e.rs (PATH)`
        let path = said.rsplit_once('(').and_then(|(_, rest)| rest.split(')').next());
        copy.cases = PathBuf::from(path.unwrap_or_else(|| panic!("{said}")));
        copy
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.args(args).current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        cargo
    }

    fn succeeds(&self, mut command: Command) -> bool {
        if env::var_os("DHOW_FIXTURES").is_none() {
            command.env("DHOW_FIXTURES", workspace().join("target/fixtures"));
        }
        command.env("DHOW_BIN_DIR", &self.bin).env("RUST_BACKTRACE", "0");
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    }

    fn build(&self) -> bool {
        self.succeeds(self.cargo(&["build", "-q", "-p", "dhow-runtime"]))
    }

    /// Whether these tests all pass.
    fn passes(&self, tests: &[&String]) -> bool {
        let (units, cases): (Vec<&String>, Vec<&String>) =
            tests.iter().partition(|test| clauses::unit(test).is_some());
        let run = |mut command: Command, names: Vec<&str>| {
            names.is_empty()
                || self.succeeds({
                    command.arg("--exact").args(names);
                    command
                })
        };
        let mut program = Command::new(&self.cases);
        program.current_dir(self.tree.join("tests")).arg("--test-threads=2");
        run(program, cases.into_iter().map(String::as_str).collect()) && {
            let cargo = self.cargo(&["test", "-q", "-p", "dhow-runtime", "--lib", "--"]);
            run(cargo, units.into_iter().filter_map(|test| clauses::unit(test)).collect())
        }
    }

    fn judge(&self, clause: &Clause, mutation: &Mutation) -> Result<(), &'static str> {
        let file = self.tree.join(&mutation.file);
        let text = fs::read_to_string(&file).map_err(|_| "there is no such file")?;
        if text.matches(&mutation.from).count() != 1 {
            return Err("stale: `from` is not there, or more than once");
        }
        fs::write(&file, text.replacen(&mutation.from, &mutation.to, 1)).unwrap();
        let built = self.build();
        let noticed = built && !self.passes(&clause.tests.iter().collect::<Vec<_>>());
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
    let copy = Copy::new();
    let wanted = |clause: &&Clause| {
        let file = clause.mutation.as_ref().map_or("", |mutation| &mutation.file);
        let about = format!("{} {} {file}", clause.spec, clause.says);
        !file.is_empty() && (parts.is_empty() || parts.iter().any(|part| about.contains(part)))
    };
    let held: Vec<&Clause> = all.iter().filter(wanted).collect();
    let tests: BTreeSet<&String> = held.iter().flat_map(|clause| &clause.tests).collect();
    // What fails anyhow would notice everything.
    if !copy.build() || !copy.passes(&tests.into_iter().collect::<Vec<_>>()) {
        eprintln!("clauses: not all tests pass before anything is broken");
        return ExitCode::FAILURE;
    }
    let mut worst = ExitCode::SUCCESS;
    for clause in held {
        let Some(mutation) = &clause.mutation else { continue };
        match copy.judge(clause, mutation) {
            Ok(()) => println!("held  {}: {}", clause.spec, clause.says),
            Err(why) => {
                println!("{why}  {}: {}\n    {}", clause.spec, clause.says, mutation.file);
                worst = ExitCode::FAILURE;
            }
        }
    }
    worst
}
