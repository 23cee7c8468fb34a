//! ARGs before the first FROM, and those that are there without one.

use std::collections::BTreeMap;

use super::vars::Vars;
use crate::build::dockerfile::Dockerfile;
use crate::build::expand;
use crate::error::Result;
use crate::platform::Platform;

/// The values of the global scope.
pub(crate) fn globals(
    file: &Dockerfile,
    given: &BTreeMap<String, String>,
    target_platform: &Platform,
    target: &str,
) -> Result<Vars> {
    let mut vars = predefined(given, target_platform, target);
    for arg in &file.args {
        let value = match (given.get(&arg.name), &arg.value) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => {
                let expanded = expand::word(default, file.escape, &|name| vars.get(name));
                Some(expanded.map_err(|why| file.source.error(&arg.lines, why))?)
            }
            (None, None) => None,
        };
        if let Some(value) = value {
            vars.set(&arg.name, value);
        }
    }
    Ok(vars)
}

fn predefined(given: &BTreeMap<String, String>, wanted: &Platform, target: &str) -> Vars {
    let mut vars = Vars::default();
    for (name, value) in platforms(given, wanted, target) {
        vars.set(&name, value);
    }
    vars
}

/// What is there without an ARG before the first FROM.
pub(crate) fn platforms(
    given: &BTreeMap<String, String>,
    wanted: &Platform,
    target: &str,
) -> BTreeMap<String, String> {
    let host = Platform::host();
    let target = if target.is_empty() { "default" } else { target };
    let all = [
        ("BUILDPLATFORM", host.to_string()),
        ("BUILDOS", host.os.clone()),
        ("BUILDOSVERSION", String::new()),
        ("BUILDARCH", host.architecture.clone()),
        ("BUILDVARIANT", host.variant.clone()),
        ("TARGETPLATFORM", wanted.to_string()),
        ("TARGETOS", wanted.os.clone()),
        ("TARGETOSVERSION", wanted.os_version.clone()),
        ("TARGETARCH", wanted.architecture.clone()),
        ("TARGETVARIANT", wanted.variant.clone()),
        ("TARGETSTAGE", target.to_owned()),
    ];
    let value = |(name, value): (&str, String)| {
        (name.to_owned(), given.get(name).cloned().unwrap_or(value))
    };
    all.into_iter().map(value).collect()
}

const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

/// The proxies of `--build-arg`, for every RUN, asked for or not: they are in no key and in no
/// history. Each in both cases, as BuildKit has them.
pub(crate) fn proxies(given: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for name in PROXIES {
        let value = given.iter().rev().find(|(k, _)| k.eq_ignore_ascii_case(name));
        if let Some((_, value)) = value.filter(|(_, value)| !value.is_empty()) {
            all.push((name.to_owned(), value.clone()));
            all.push((name.to_uppercase(), value.clone()));
        }
    }
    all
}
