//! What is printed, and what goes into the page.

use std::process::ExitCode;
use std::{env, fs};

use e2e::{Cmd, workspace};

use crate::scene::Verdict;
use crate::table::{Case, TABLE};

fn words(verdict: &Verdict) -> (&'static str, &str) {
    match verdict {
        Verdict::Safe => ("safe", ""),
        Verdict::Flawed(why) => ("FLAWED", why),
        Verdict::NotApplicable(why) => ("not applicable", why),
        Verdict::Broken(why) => ("BROKEN", why),
    }
}

/// Prints each verdict as it comes, then the count; 1 where not all is well. Of planted flaws all is
/// well where each is seen.
pub fn print<'a>(
    runtime: &str,
    verdicts: impl Iterator<Item = (&'a Case, Verdict)>,
    planted: bool,
    lines: bool,
) -> ExitCode {
    let mut count = [0; 4];
    let mut bad = 0;
    let mut row = "";
    for (case, verdict) in verdicts {
        let (word, why) = words(&verdict);
        let why = why.lines().map(str::trim).filter(|line| !line.is_empty());
        let why = why.collect::<Vec<_>>().join(" ");
        let at = ["safe", "FLAWED", "not applicable", "BROKEN"].iter().position(|w| *w == word);
        count[at.unwrap()] += 1;
        let wanted = if planted { "FLAWED" } else { "safe" };
        bad += usize::from(word != wanted && word != "not applicable");
        if lines {
            println!("{}\t{word}\t{why}", case.name);
            continue;
        }
        if row != case.row {
            row = case.row;
            println!("{row}");
        }
        let why = if why.is_empty() { why } else { format!("  ({why})") };
        println!("  {:14} {word:14} {}: {}{why}", case.name, case.class, case.says);
    }
    if !lines {
        let [safe, flawed, not, broken] = count;
        let what = if planted { " with a flaw planted for each" } else { "" };
        println!(
            "{runtime}{what}: {safe} safe, {flawed} flawed, {not} not applicable, {broken} broken"
        );
    }
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The runtimes of the page, the first of them ours.
const PEERS: [&str; 3] = ["dhow-runtime", "crun", "runc"];

/// One runtime's lines: name, verdict, why.
fn ask(runtime: &str, planted: bool) -> Vec<[String; 3]> {
    let mut cmd = Cmd::new(env::current_exe().unwrap()).arg("--lines").limit(900);
    cmd = cmd.env("SECURITY_STARTS", "100");
    if planted {
        cmd = cmd.arg("--planted");
    }
    let lines = cmd.env("RUNTIME", runtime).run().lines().into_iter();
    let cells = |line: String| {
        let mut cells = line.splitn(3, '\t').map(str::to_owned);
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    };
    lines.map(cells).collect()
}

const BEGIN: &str = "<!-- written by `make security` -->\n";

/// Puts the verdicts of all into the page, below the mark.
pub fn write() -> ExitCode {
    let ours = e2e::program(PEERS[0]).to_string_lossy().into_owned();
    let runtimes = [&ours, PEERS[1], PEERS[2]];
    let all = runtimes.map(|runtime| ask(runtime, false));
    let planted = ask(&ours, true);
    let mut text = String::new();
    let mut add = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for runtime in &runtimes[1..] {
        let version = Cmd::new(runtime).arg("--version").run().ok();
        add(format!("- {}", version.lines()[..2].join(", ")));
    }
    add(String::new());
    add(format!("| what must not be | class | {} | planted |", PEERS.join(" | ")));
    add("|---|---|---|---|---|---|".to_owned());
    let mut notes = Vec::new();
    let mut row = "";
    for (at, case) in TABLE.iter().enumerate() {
        if row != case.row {
            row = case.row;
            add(format!("| **{row}** | | | | | |"));
        }
        let mut cell = |lines: &[[String; 3]], who: &str| {
            let [name, word, why] = &lines[at];
            assert_eq!(name, case.name, "{who} was not tried with all");
            if !why.is_empty() && who != "planted" {
                notes.push(format!("- `{name}`, {who}, {word}: {why}"));
            }
            if word == "FLAWED" { "**flawed**".to_owned() } else { word.clone() }
        };
        let cells: Vec<String> =
            all.iter().zip(PEERS).map(|(lines, who)| cell(lines, who)).collect();
        let seen = if cell(&planted, "planted") == "**flawed**" { "seen" } else { "MISSED" };
        let (name, says) = (case.name, case.says);
        add(format!("| `{name}`: {says} | {} | {} | {seen} |", case.class, cells.join(" | ")));
    }
    let count = |lines: &[[String; 3]], word: &str| lines.iter().filter(|l| l[1] == word).count();
    let sums = all
        .iter()
        .map(|lines| format!("{} safe, {} flawed", count(lines, "safe"), count(lines, "FLAWED")));
    let sums: Vec<String> = sums.collect();
    let seen = count(&planted, "FLAWED");
    add(format!("| **all {}** | | {} | {seen} seen |", TABLE.len(), sums.join(" | ")));
    add(String::new());
    add("What was seen where a verdict is not \"safe\":\n".to_owned());
    notes.into_iter().for_each(add);
    let path = workspace().join("docs/security.md");
    let page = fs::read_to_string(&path).unwrap();
    let (head, _) = page.split_once(BEGIN).expect("docs/security.md has the mark");
    fs::write(&path, format!("{head}{BEGIN}{text}")).unwrap();
    let clean = |lines: &[[String; 3]], word: &str| count(lines, word) == TABLE.len();
    if clean(&all[0], "safe") && clean(&planted, "FLAWED") {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
