//! The case files.
//!
//! ```text
//! # about the file
//! !wired                        containers have networks
//! [setup]                       what all cases of the file begin with
//! docker load -qi $IMAGES/busybox.tar
//! [name of a case]
//! !differs WHY                  dhow's answer is another one on purpose
//! docker ps
//! ```

use std::fs;
use std::path::PathBuf;

use crate::workspace;

/// A case file.
#[derive(Debug)]
pub struct Group {
    /// The file's name without its end.
    pub name: String,
    /// What runs before the cases.
    pub setup: String,
    /// `!wired` before the setup: there are bridges; dhow's world is a machine of its own.
    pub wired: bool,
    /// In order; each finds what those before it have left.
    pub cases: Vec<Case>,
}

/// One script, and how its answers are compared.
#[derive(Debug, Default)]
pub struct Case {
    /// Its name, once in the file.
    pub name: String,
    /// For `sh`.
    pub script: String,
    /// `!differs`: why dhow's answer is another one.
    pub differs: Option<String>,
    /// `!waits`: for what is not written yet, until which dhow's answer is another one.
    pub waits: Option<String>,
    /// `!shape`: stdout is JSON; keys and types are compared, not values.
    pub shape: bool,
    /// `!lacks PATH WHY`, with `!shape`: docker has it and dhow hasn't.
    pub lacks: Vec<String>,
    /// `!adds PATH WHY`, with `!shape`: the other way round.
    pub adds: Vec<String>,
    /// `!sorted`: the order of stdout's lines is nobody's promise.
    pub sorted: bool,
    /// `!says PART`: of what goes to stderr, only this part is compared; `!anywords`: only whether
    /// something goes there.
    pub says: Option<String>,
}

/// Where the case files are.
pub fn folder() -> PathBuf {
    workspace().join("tests/docker")
}

/// All case files, by name.
pub fn groups() -> Vec<Group> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "cases"));
    files.sort();
    let name = |f: &PathBuf| f.file_stem().unwrap().to_string_lossy().into_owned();
    files.iter().map(|f| parse(&name(f), &fs::read_to_string(f).unwrap())).collect()
}

fn parse(name: &str, text: &str) -> Group {
    let mut group =
        Group { name: name.to_owned(), setup: String::new(), wired: false, cases: Vec::new() };
    let mut in_setup = true;
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        if let Some(head) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            in_setup = head == "setup";
            if !in_setup {
                let known = group.cases.iter().any(|c| c.name == head);
                assert!(!known, "{name}.cases: two cases are called [{head}]");
                group.cases.push(Case { name: head.to_owned(), ..Case::default() });
            }
        } else if in_setup && line == "!wired" {
            group.wired = true;
        } else if in_setup {
            group.setup.extend([line, "\n"]);
        } else if let Some(mark) = line.strip_prefix('!') {
            group.cases.last_mut().unwrap().mark(name, mark);
        } else {
            let script = &mut group.cases.last_mut().unwrap().script;
            script.extend([line, "\n"]);
        }
    }
    for case in &mut group.cases {
        case.script = case.script.trim().to_owned();
        assert!(!case.script.is_empty(), "{name}.cases: [{}] is empty", case.name);
    }
    group
}

impl Case {
    fn mark(&mut self, file: &str, mark: &str) {
        let (word, rest) = mark.split_once(' ').unwrap_or((mark, ""));
        let path = || {
            let (path, why) = rest.split_once(' ').unwrap_or((rest, ""));
            assert!(!why.is_empty(), "{file}.cases: [{}] !{mark}: say why", self.name);
            path.to_owned()
        };
        match word {
            "differs" => {
                assert!(!rest.is_empty(), "{file}.cases: [{}] !differs: say why", self.name);
                self.differs = Some(rest.to_owned());
            }
            "waits" => self.waits = Some(rest.to_owned()),
            "shape" => self.shape = true,
            "lacks" => self.lacks.push(path()),
            "adds" => self.adds.push(path()),
            "sorted" => self.sorted = true,
            "says" => self.says = Some(rest.to_owned()),
            "anywords" => self.says = Some(String::new()),
            _ => panic!("{file}.cases: [{}] !{mark} means nothing", self.name),
        }
    }
}
