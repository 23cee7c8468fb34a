//! `ps`: the processes inside a container.

use std::process::Command;

use super::World;
use super::list::{Format, json};
use crate::error::{Error, Result};

/// Shows them; `options` are ps(1)'s, `-ef` when there are none.
pub fn ps(id: &str, format: Format, options: &[String], world: &World) -> Result<String> {
    let (_, record) = world.store.find(id)?;
    let pids = record.cgroup.pids()?;
    match format {
        // As Go prints a list that never was made.
        Format::Json if pids.is_empty() => Ok("null\n".to_owned()),
        Format::Json => json(&pids),
        Format::Table => filter(&table(options)?, &pids),
    }
}

/// What ps(1) says of all processes: its options are its own affair.
fn table(options: &[String]) -> Result<String> {
    let defaults = ["-ef".to_owned()];
    let options = if options.is_empty() { &defaults[..] } else { options };
    let output =
        Command::new("ps").args(options).output().map_err(|e| Error::io("execute", "ps", &e))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().next().unwrap_or("it failed without a word");
    Err(Error::rule(format!("ps {}: {line}", options.join(" "))))
}

/// The heading, and the lines whose PID column is one of `pids`.
fn filter(table: &str, pids: &[i32]) -> Result<String> {
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let Some(column) = head.split_whitespace().position(|title| title == "PID") else {
        return Err(Error::rule("couldn't find PID field in ps output: ask for it by -o pid"));
    };
    let ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|field| field.parse().ok());
        pid.is_some_and(|pid| pids.contains(&pid))
    };
    Ok(std::iter::once(head).chain(lines.filter(ours)).flat_map(|line| [line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_lines_stay() {
        let all = "UID   PID  CMD\nroot    1  init\nroot   42  sh -c 7\nroot    7  x\n";
        assert_eq!(filter(all, &[42]).unwrap(), "UID   PID  CMD\nroot   42  sh -c 7\n");
        assert!(filter("CMD\nx\n", &[42]).is_err());
    }
}
