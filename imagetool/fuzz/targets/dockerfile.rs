//! Dockerfiles, and their words: read, expanded, checked.
#![no_main]

use std::collections::BTreeMap;

use dhow_image::build::dockerfile::checks::{Asked, check};
use dhow_image::build::dockerfile::{Instruction, parse, parse_one};
use dhow_image::build::expand;
use dhow_image::config::RunConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let get = |name: &str| (!name.starts_with('n')).then(|| format!("{name} \"$'\\"));
    if let Ok(file) = parse(bytes, "Dockerfile") {
        for step in file.stages.iter().flat_map(|stage| &stage.steps) {
            let _ = step.what.expanded(file.escape, &get);
            match &step.what {
                Instruction::Onbuild(text) => drop(parse_one(text, "ONBUILD")),
                Instruction::Run(run) => run.mounts.iter().for_each(|mount| {
                    let _ = mount.read(&|value| expand::word(value, file.escape, &get));
                }),
                _ => {}
            }
        }
        let none = BTreeMap::new();
        let base = |_: usize| Some(RunConfig::default());
        let (predefined, args, ignored) = (&none, &none, &|_: &str| true);
        for found in check(&file, &Asked { predefined, args, target: None, base: &base, ignored }) {
            assert!(!found.description().is_empty());
            assert!(!file.source.error(&found.lines, &found.text).to_string().is_empty());
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = expand::words(text, '`', &get);
        let _ = expand::keeping_quotes(text, &get);
        let _ = expand::shown(text, '\\', &get);
    }
});
