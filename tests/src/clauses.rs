//! The clause table of `conformance/`: what it says, and whether that can be true.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::workspace;

/// What a clause can be; explained in `conformance/README.md`.
pub const STATUSES: [&str; 6] = ["held", "tested", "refused", "machine", "other", "open"];

/// A change of the code that breaks a clause.
#[derive(Debug, Clone)]
pub struct Mutation {
    /// The file, from the repository's top.
    pub file: String,
    /// What stands there, once.
    pub from: String,
    /// What is put in its place.
    pub to: String,
}

/// One rule of a specification.
#[derive(Debug)]
pub struct Clause {
    /// `SPECIFICATION FILE#SECTION`.
    pub spec: String,
    /// The rule in few words.
    pub says: String,
    /// The tests that show it.
    pub tests: Vec<String>,
    /// One of [`STATUSES`].
    pub status: String,
    /// The reason of a status that needs one, or empty.
    pub why: String,
    /// What was tried.
    pub mutation: Option<Mutation>,
}

impl Clause {
    /// The specification and its document, without the section.
    pub fn document(&self) -> &str {
        self.spec.split('#').next().unwrap()
    }
}

fn folder() -> PathBuf {
    workspace().join("conformance")
}

/// Every clause of every document, in the order of the files.
pub fn read() -> Vec<Clause> {
    let files = fs::read_dir(folder().join("clauses")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .flat_map(|file| {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(file).unwrap();
            parse(&name, &text)
        })
        .collect()
}

/// The little TOML that the table is written in: `[[clause]]`, `key = "…"`, `key = '…'`, and
/// arrays of strings, on one line or on several.
fn parse(file: &str, text: &str) -> Vec<Clause> {
    let mut out = Vec::new();
    let blocks = text.split("[[clause]]\n").skip(1);
    for block in blocks {
        let block = block.replace("[\n", "[").replace(",\n]", "]").replace(",\n", ", ");
        let mut pairs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for line in block.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = line.split_once(" = ").unwrap_or_else(|| panic!("{file}: {line}"));
            let read = match value.as_bytes()[0] {
                b'\'' => vec![value.trim_matches('\'').to_owned()],
                b'"' => vec![serde_json::from_str(value).unwrap()],
                _ => serde_json::from_str(value).unwrap_or_else(|e| panic!("{file}: {line}: {e}")),
            };
            assert!(pairs.insert(key, read).is_none(), "{file}: twice in one clause: {line}");
        }
        let tests = pairs.remove("tests").unwrap_or_default();
        let mut one =
            |key: &str| pairs.remove(key).map(|mut all| all.remove(0)).unwrap_or_default();
        let mutation = Mutation { file: one("file"), from: one("from"), to: one("to") };
        out.push(Clause {
            spec: one("spec"),
            says: one("says"),
            status: one("status"),
            why: one("why"),
            mutation: (!mutation.file.is_empty()).then_some(mutation),
            tests,
        });
        assert!(pairs.is_empty(), "{file}: unknown keys {:?}", pairs.keys());
    }
    out
}

/// What is wrong with the table; `e2e` are the names of the end-to-end cases.
pub fn faults(clauses: &[Clause], e2e: &[String]) -> Vec<String> {
    let sections = fs::read_to_string(folder().join("sections.txt")).unwrap();
    let sections: Vec<&str> = sections.lines().collect();
    let mut out = Vec::new();
    for clause in clauses {
        let mut say = |what: String| out.push(format!("{} ({}): {what}", clause.spec, clause.says));
        if !sections.contains(&clause.spec.as_str()) {
            say("no such section in sections.txt".into());
        }
        if clause.says.is_empty() || !STATUSES.contains(&clause.status.as_str()) {
            say(format!("status {:?}", clause.status));
        }
        let shown = ["held", "tested", "refused"].contains(&clause.status.as_str());
        if shown == clause.tests.is_empty() && clause.status != "machine" {
            say("tests belong to what is held, tested or refused".into());
        }
        if clause.why.is_empty() && ["machine", "other", "open"].contains(&clause.status.as_str()) {
            say("a reason is missing".into());
        }
        if (clause.status == "held") != clause.mutation.is_some() {
            say("held needs a mutation, and a mutation makes held".into());
        }
        if let Some(Mutation { file, from, .. }) = &clause.mutation {
            let text = fs::read_to_string(workspace().join(file)).unwrap_or_default();
            let times = text.matches(from.as_str()).count();
            if times != 1 {
                say(format!("what is to be broken is {times} times in {file}"));
            }
        }
        for test in &clause.tests {
            if !exists(test, e2e) {
                say(format!("no such test: {test}"));
            }
        }
    }
    out
}

/// Whether a test is there: an end-to-end case as cargo lists it, a unit test as its file has it.
fn exists(test: &str, e2e: &[String]) -> bool {
    let Some(path) = unit(test) else { return e2e.iter().any(|name| name == test) };
    let parts: Vec<&str> = path.split("::").collect();
    let (name, modules) = parts.split_last().unwrap();
    let mut dir = workspace().join("runtime/src");
    let mut files = Vec::new();
    for module in modules {
        files.extend([dir.join(format!("{module}.rs")), dir.join(module).join("mod.rs")]);
        dir.push(module);
    }
    let wanted = format!("fn {name}(");
    let has = |file: &PathBuf| fs::read_to_string(file).is_ok_and(|text| text.contains(&wanted));
    files.iter().any(has)
}

/// The path of a unit test of dhow-runtime, as its own test program names it.
pub fn unit(test: &str) -> Option<&str> {
    test.strip_prefix("dhow_runtime::")
}
