//! `--secret id=ID[,src=FILE|,env=NAME]` and `--ssh ID[=SOCKET|KEY[,KEY…]]`.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use super::csv::fields;
use super::{Env, refuse};
use crate::build::{Agent, Secret, SecretFrom};
use crate::error::{Error, Result};

/// BuildKit takes no longer ones.
const MAX_SECRET: u64 = 500 << 10;

/// All secrets; of several with one name the last counts.
pub fn secrets(typed: &[String], env: Env<'_>) -> Result<Vec<Secret>> {
    let mut all: Vec<Secret> = Vec::new();
    for text in typed.iter().filter(|text| !text.is_empty()) {
        let new = secret(text, env)?;
        match all.iter_mut().find(|known| known.id == new.id) {
            Some(known) => *known = new,
            None => all.push(new),
        }
    }
    Ok(all)
}

fn secret(text: &str, env: Env<'_>) -> Result<Secret> {
    let (mut id, mut file, mut name, mut kind) = ("", "", "", "");
    let all = fields(text).map_err(|e| refuse(format!("failed to parse csv secret: {e}")))?;
    for field in &all {
        let Some((key, value)) = field.split_once('=') else {
            return Err(refuse(format!("invalid field '{field}' must be a key=value pair")));
        };
        match key.to_ascii_lowercase().as_str() {
            "type" if !matches!(value, "file" | "env") => {
                return Err(refuse(format!("unsupported secret type {value:?}")));
            }
            "type" => kind = value,
            "id" => id = value,
            "source" | "src" => file = value,
            "env" => name = value,
            key => return Err(refuse(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    if id.is_empty() {
        return Err(refuse(format!("--secret {text}: secret missing ID; write id=NAME,src=FILE")));
    }
    if kind == "env" && name.is_empty() {
        (name, file) = (file, "");
    }
    if name.is_empty() && file.is_empty() {
        // Its own name may be a variable's, or a file's.
        (name, file) = if env(id).is_some() { (id, "") } else { ("", id) };
    }
    let id = id.to_owned();
    if !file.is_empty() {
        let path = PathBuf::from(file);
        let there = fs::metadata(&path).map_err(Error::at("read the secret", &path))?;
        if there.len() > MAX_SECRET {
            return Err(refuse(format!("secret {id} too big. max size 500KB")));
        }
        return Ok(Secret { id, from: SecretFrom::File(path) });
    }
    let value = env(name).map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    Ok(Secret { id, from: SecretFrom::Value(value) })
}

/// All agents; each has its own name.
pub fn agents(typed: &[String], env: Env<'_>) -> Result<Vec<Agent>> {
    let mut all: Vec<Agent> = Vec::new();
    for text in typed.iter().filter(|text| !text.is_empty()) {
        let new = agent(text, env)?;
        if all.iter().any(|known| known.id == new.id) {
            return Err(refuse(format!("duplicate agent ID {:?}", new.id)));
        }
        all.push(new);
    }
    Ok(all)
}

fn agent(text: &str, env: Env<'_>) -> Result<Agent> {
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    let id = if id.is_empty() { "default" } else { id }.to_owned();
    let mut paths: Vec<PathBuf> =
        paths.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
    if paths.is_empty() {
        let Some(socket) = env("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()) else {
            return Err(refuse(format!(
                "--ssh {text}: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set, or name a socket: --ssh {id}=SOCKET"
            )));
        };
        paths.push(socket.into());
    }
    let mut sockets = 0;
    for path in &paths {
        let there = fs::metadata(path).map_err(Error::at("open", path))?;
        sockets += usize::from(there.file_type().is_socket());
    }
    if sockets > 1 || (sockets == 1 && paths.len() > 1) {
        return Err(refuse(format!("--ssh {text}: only single socket allowed")));
    }
    Ok(Agent { id, paths })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn env(name: &str) -> Option<OsString> {
        matches!(name, "TOKEN").then(|| "t0k3n".into())
    }

    fn one(text: &str) -> Result<Secret> {
        secrets(&[text.to_owned()], &env).map(|mut all| all.remove(0))
    }

    #[test]
    fn secrets_are_files_or_values() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        let value = SecretFrom::Value(b"t0k3n".to_vec());
        for (text, from) in [
            (format!("id=a,src={path}"), SecretFrom::File(path.into())),
            (format!("type=file,id=a,source={path}"), SecretFrom::File(path.into())),
            ("id=a,env=TOKEN".into(), value.clone()),
            ("type=env,id=a,src=TOKEN".into(), value.clone()),
            ("id=TOKEN".into(), value),
            ("id=a,env=NOT_SET".into(), SecretFrom::Value(Vec::new())),
        ] {
            assert_eq!(one(&text).unwrap().from, from, "{text}");
        }
        for (text, told) in [
            ("a", "invalid field 'a' must be a key=value pair"),
            ("id=a,mode=1", "unexpected key 'mode' in 'mode=1'"),
            ("id=a,type=x", "unsupported secret type \"x\""),
            (
                "src=/etc/passwd",
                "--secret src=/etc/passwd: secret missing ID; write id=NAME,src=FILE",
            ),
            ("id=\"a", "failed to parse csv secret: \"id=\\\"a\": bare \" in non-quoted field"),
        ] {
            assert_eq!(one(text).unwrap_err().to_string(), told);
        }
        assert!(one("id=a,src=/not/there").is_err());
        file.as_file().set_len(MAX_SECRET + 1).unwrap();
        let told = one(&format!("id=a,src={path}")).unwrap_err().to_string();
        assert_eq!(told, "secret a too big. max size 500KB");
    }

    #[test]
    fn the_last_secret_of_a_name_counts() {
        let typed = ["id=a,env=TOKEN".to_owned(), "id=a,env=NOT_SET".to_owned(), String::new()];
        let all = secrets(&typed, &env).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].from, SecretFrom::Value(Vec::new()));
    }

    #[test]
    fn agents_are_one_socket_or_keys() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, key) = (dir.path().join("s"), dir.path().join("k"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        fs::write(&key, "x").unwrap();
        let (s, k) = (socket.display(), key.display());
        let with = |_: &str| Some(socket.clone().into_os_string());
        let all = agents(&["default".into(), format!("git={k},{k}")], &with).unwrap();
        assert_eq!(all[0], Agent { id: "default".into(), paths: vec![socket.clone()] });
        assert_eq!(all[1].paths.len(), 2);
        let none = |_: &str| None;
        for (typed, told) in [
            (vec!["default".to_owned()], "invalid empty ssh agent socket"),
            (vec![format!("a={s},{k}")], "only single socket allowed"),
            (vec![format!("a={s}"), format!("a={k}")], "duplicate agent ID \"a\""),
            (vec!["a=/not/there".to_owned()], "/not/there"),
        ] {
            let error = agents(&typed, &none).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
