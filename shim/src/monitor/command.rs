//! What the runtime is given for a further process: the container's own, changed as asked.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Exec;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::{Healthcheck, Record};
use crate::options::rights;

/// Writes the process that `exec` asks for, in the container whose first process is `pid`.
pub fn of_exec(host: &Host, record: &Record, exec: &Exec, pid: i32, to: &Path) -> Result<()> {
    let mut process = own(host, record)?;
    // What is mounted there counts too: this is the root as the container sees it.
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    if !exec.user.is_empty() {
        process["user"] = json!(crate::bundle::user(&root, &exec.user)?);
    }
    change(&mut process, exec, &record.config.env);
    let cwd = process["cwd"].as_str().unwrap_or("/");
    crate::bundle::command(&root, &exec.args, &strings(&process["env"]), cwd)?;
    write(&process, to)
}

/// Writes the process of a health check.
pub fn of_check(host: &Host, record: &Record, args: &[String], to: &Path) -> Result<()> {
    let mut process = own(host, record)?;
    process["args"] = json!(args);
    process["terminal"] = json!(false);
    if let Some(fields) = process.as_object_mut() {
        fields.remove("consoleSize");
    }
    write(&process, to)
}

/// The command of a health check; nothing when there is none.
pub fn check(check: &Healthcheck, shell: Option<&[String]>) -> Option<Vec<String>> {
    let (kind, words) = check.test.split_first()?;
    let shell = shell.filter(|shell| !shell.is_empty()).map(<[_]>::to_vec);
    let mut args = match kind.as_str() {
        "CMD" => Vec::new(),
        "CMD-SHELL" => shell.unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]),
        _ => return None,
    };
    args.extend(words.iter().cloned());
    (!args.is_empty()).then_some(args)
}

/// The process of the container's bundle.
fn own(host: &Host, record: &Record) -> Result<Value> {
    let path = host.paths.bundle(&record.id).join("config.json");
    let bytes = std::fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    let mut config: Value =
        serde_json::from_slice(&bytes).map_err(|e| Error::io("read", &path, e))?;
    Ok(config["process"].take())
}

fn write(process: &Value, to: &Path) -> Result<()> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(to);
    file.and_then(|file| Ok(serde_json::to_writer(file, process)?))
        .map_err(|e| Error::io("write", to, e))
}

fn change(process: &mut Value, exec: &Exec, own_env: &[String]) {
    process["args"] = json!(exec.args);
    process["terminal"] = json!(exec.tty);
    if let Some(fields) = process.as_object_mut() {
        fields.remove("consoleSize");
    }
    if !exec.cwd.is_empty() {
        process["cwd"] = json!(exec.cwd);
    }
    let mut env = strings(&process["env"]);
    if !exec.user.is_empty() && !own_env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.retain(|entry| !entry.starts_with("HOME=")); // another user's; the runtime finds it
    }
    if exec.tty && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".into());
    }
    for entry in &exec.env {
        let key = entry.split_once('=').map_or(entry.as_str(), |(key, _)| key);
        env.retain(|old| old.split_once('=').map_or(old.as_str(), |(key, _)| key) != key);
        env.push(entry.clone());
    }
    process["env"] = json!(env);
    capabilities(process, exec.privileged);
}

fn strings(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// docker's rule: root has what the container may have, others only the bound of it.
fn capabilities(process: &mut Value, privileged: bool) {
    let root = process["user"]["uid"] == json!(0);
    let bound = if privileged {
        json!(rights::capabilities(true, &[], &[]))
    } else {
        process["capabilities"]["bounding"].clone()
    };
    process["capabilities"] = if root || privileged {
        json!({ "bounding": bound, "effective": bound, "permitted": bound })
    } else {
        json!({ "bounding": bound })
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(exec: &Exec, user: u32) -> Value {
        let mut process = json!({
            "user": { "uid": user, "gid": 0 }, "args": ["sleep"], "cwd": "/srv",
            "env": ["PATH=/bin", "A=1", "HOME=/root"], "consoleSize": { "height": 1, "width": 1 },
            "capabilities": { "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] }
        });
        change(&mut process, exec, &[]);
        process
    }

    #[test]
    fn the_container_s_process_is_changed_where_asked_only() {
        let exec = Exec {
            args: vec!["id".into()],
            env: vec!["A=2".into(), "B=".into()],
            ..Exec::default()
        };
        let process = changed(&exec, 0);
        assert_eq!(process["env"], json!(["PATH=/bin", "HOME=/root", "A=2", "B="]));
        assert_eq!((&process["cwd"], &process["terminal"]), (&json!("/srv"), &json!(false)));
        assert_eq!(process["capabilities"]["effective"], json!(["CAP_KILL"]));
        assert!(process.get("consoleSize").is_none());
    }

    #[test]
    fn others_than_root_get_no_capability_in_effect() {
        let process = changed(&Exec::default(), 7);
        assert_eq!(process["capabilities"], json!({ "bounding": ["CAP_KILL"] }));
        let process = changed(&Exec { privileged: true, ..Exec::default() }, 7);
        assert!(process["capabilities"]["effective"].as_array().unwrap().len() > 35);
    }

    #[test]
    fn a_check_s_line_goes_through_the_image_s_shell() {
        let of = |test: &[&str], shell: Option<&[String]>| {
            let test = test.iter().map(|word| (*word).to_owned()).collect();
            check(&Healthcheck { test, ..Healthcheck::default() }, shell)
        };
        assert_eq!(of(&["CMD", "a", "b"], None).unwrap(), ["a", "b"]);
        assert_eq!(of(&["CMD-SHELL", "a b"], None).unwrap(), ["/bin/sh", "-c", "a b"]);
        assert_eq!(of(&["CMD-SHELL", "a"], Some(&["bash".into()])).unwrap(), ["bash", "a"]);
        for none in [&[][..], &["NONE"], &["CMD"], &["WHAT", "x"]] {
            assert_eq!(of(none, None), None, "{none:?}");
        }
    }
}
