//! A container's processes as a table: the host's `ps` shows them, or, where the machine has
//! none, /proc does in the columns of `ps -ef`.
//!
//! CVE-2022-1227: nothing of the container is executed or read; its pids alone are asked for.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::error::{Error, Result};

/// A heading and then a row a process. `options` are those of ps; none means `-ef`.
pub fn list(options: &[String], pids: &BTreeSet<i32>) -> Result<Vec<Vec<String>>> {
    renames_no_pid(options)?;
    // docker's client joins them and its daemon parts them at spaces.
    let joined = options.join(" ");
    let typed: Vec<&str> = joined.split(' ').filter(|word| !word.is_empty()).collect();
    match (search(), typed.is_empty()) {
        (Some(ps), true) => of_ps(&ps, &["-ef"], pids).or_else(|_| Ok(of_proc(pids))),
        (Some(ps), false) => of_ps(&ps, &typed, pids),
        (None, true) => Ok(of_proc(pids)),
        (None, false) => Err(Error::engine(format!(
            "ps {joined}: this machine has no ps; install procps, or leave the options out"
        ))),
    }
}

fn search() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join("ps")).find(|path| path.is_file())
}

/// As docker: a column that is called PID and isn't would have other processes shown.
fn renames_no_pid(options: &[String]) -> Result<()> {
    for word in options.iter().flat_map(|o| o.split([' ', ','])) {
        if let Some((column, name)) = word.split_once('=')
            && name.trim().starts_with("PID")
            && column.trim_start_matches("-o") != "pid"
        {
            let (column, name) = (column.trim_start_matches("-o"), name.trim());
            return Err(Error::usage(format!("specifying \"{column}={name}\" is not allowed")));
        }
    }
    Ok(())
}

fn of_ps(ps: &std::path::Path, options: &[&str], pids: &BTreeSet<i32>) -> Result<Vec<Vec<String>>> {
    let all: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let call = |last: Option<String>| {
        let mut call = Command::new(ps);
        call.args(options).args(last).stdin(Stdio::null());
        // The caller's COLUMNS or PS_FORMAT would have ps say something else.
        let zone = std::env::var_os("TZ").map(|zone| ("TZ", zone));
        call.env_clear().env("LC_ALL", "C").envs(zone);
        call.output().map_err(|e| Error::io("run", ps, e))
    };
    let mut done = call(Some(format!("-q{}", all.join(","))))?;
    if !done.status.success() {
        done = call(None)?; // not every option goes with -q
    }
    if !done.status.success() {
        let text = String::from_utf8_lossy(&done.stderr);
        let first = text.lines().next().unwrap_or("it failed without a word");
        return Err(Error::usage(format!("ps: {}", first.trim_start_matches("ps: "))));
    }
    pick(&String::from_utf8_lossy(&done.stdout), pids)
}

/// The rows of ps's output that are the container's processes, and of their threads.
fn pick(output: &str, pids: &BTreeSet<i32>) -> Result<Vec<Vec<String>>> {
    let mut lines = output.lines();
    let fields =
        |line: &str| -> Vec<String> { line.split_ascii_whitespace().map(str::to_owned).collect() };
    let titles = fields(lines.next().unwrap_or_default());
    let missing = || Error::usage("Couldn't find PID field in ps output");
    let at = titles.iter().position(|title| title == "PID").ok_or_else(missing)?;
    let last = titles.len() - 1;
    let mut rows = vec![titles];
    let mut ours = false;
    for line in lines {
        let mut cells = fields(line);
        let Some(pid) = cells.get(at) else { continue };
        if pid != "-" {
            ours = pid.parse().is_ok_and(|pid| pids.contains(&pid));
        }
        if ours {
            let command = cells.split_off(last.min(cells.len()));
            cells.push(command.join(" "));
            rows.push(cells);
        }
    }
    Ok(rows)
}

/// `ps -ef` out of /proc.
fn of_proc(pids: &BTreeSet<i32>) -> Vec<Vec<String>> {
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(pids.iter().filter_map(|&pid| row(pid)));
    rows
}

fn row(pid: i32) -> Option<Vec<String>> {
    const TICKS: u64 = 100; // USER_HZ, the same on every architecture that Linux has
    let file = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}"));
    let stat = file("stat").ok()?;
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(').map_or("", |(_, name)| name);
    let fields: Vec<u64> =
        rest.split_ascii_whitespace().skip(1).map(|f| f.parse().unwrap_or(0)).collect();
    let status = file("status").ok()?;
    let uid = status.lines().find_map(|l| l.strip_prefix("Uid:")?.split_ascii_whitespace().next());
    let (cpu, began) = ((fields.get(10)? + fields.get(11)?) / TICKS, fields.get(18)? / TICKS);
    let now = Timestamp::now();
    let uptime: f64 =
        std::fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.parse().ok()?;
    let lasted = (uptime as u64).saturating_sub(began);
    let at = now.checked_sub(jiff::SignedDuration::from_secs(lasted as i64)).ok()?;
    let at = at.to_zoned(TimeZone::system());
    let today = at.date() == now.to_zoned(TimeZone::system()).date();
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line.split(|&b| b == 0).map(String::from_utf8_lossy).collect();
    // As ps: what a process calls itself is no terminal's command.
    let tame = |c: char| if c.is_control() { '?' } else { c };
    let command: String = words.join(" ").trim_end().chars().map(tame).collect();
    Some(vec![
        user(uid?),
        pid.to_string(),
        fields.first()?.to_string(),
        (cpu * 100).checked_div(lasted).unwrap_or(0).min(99).to_string(),
        at.strftime(if today { "%H:%M" } else { "%b%d" }).to_string(),
        terminal(*fields.get(3)?),
        format!("{:02}:{:02}:{:02}", cpu / 3600, cpu / 60 % 60, cpu % 60),
        if command.is_empty() {
            format!("[{}]", name.replace(char::is_control, "?"))
        } else {
            command
        },
    ])
}

/// The host's name for a user id, as ps has it.
fn user(uid: &str) -> String {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_owned())
}

/// Field 7 of /proc/PID/stat: minor in bits 0 to 7 and 20 to 31, major in 8 to 19 (proc(5)).
fn terminal(number: u64) -> String {
    match ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xf_ff00)) {
        (major @ 136..=143, minor) => format!("pts/{}", (major - 136) * 256 + minor),
        (4, minor) if minor < 64 => format!("tty{minor}"),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(rows: &[Vec<String>]) -> Vec<String> {
        rows.iter().map(|row| row.join("|")).collect()
    }

    #[test]
    fn the_containers_rows_are_picked_and_the_command_stays_whole() {
        let output =
            "UID   PID  PPID CMD\nroot    1     0 init a\nroot   22     1 sh -c  x y\nroot 23 22\n";
        let got = pick(output, &[22, 23].into()).unwrap();
        assert_eq!(texts(&got), ["UID|PID|PPID|CMD", "root|22|1|sh -c x y", "root|23|22|"]);
        assert!(pick("CMD\nx\n", &BTreeSet::new()).is_err());
    }

    #[test]
    fn threads_go_with_their_process() {
        let output = "PID TID CMD\n5 - a\n- 5 -\n6 - b\n- 6 -\n";
        let got = pick(output, &[5].into()).unwrap();
        assert_eq!(texts(&got), ["PID|TID|CMD", "5|-|a", "-|5|-"]);
    }

    #[test]
    fn no_other_column_is_called_pid() {
        let typed = |text: &str| renames_no_pid(&[text.to_owned()]);
        assert!(typed("-o ppid=PID,comm").is_err());
        assert!(typed("-o pid=PID,comm").is_ok());
        assert!(typed("-eo pid,comm").is_ok());
    }

    #[test]
    fn proc_alone_gives_the_columns_of_ps() {
        let own = std::process::id() as i32;
        let rows = of_proc(&[own].into());
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[1].len(), rows[1][1].as_str()), (8, own.to_string().as_str()));
        assert_eq!(terminal(0x8803), "pts/3");
        assert_eq!(terminal(0), "?");
    }
}
