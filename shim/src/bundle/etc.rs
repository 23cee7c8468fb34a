//! /etc/hosts, /etc/hostname and /etc/resolv.conf of a container.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::model::Record;

/// The files, and what they are bound over.
pub const FILES: [(&str, &str); 3] =
    [("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname"), ("hosts", "/etc/hosts")];

const LOCAL: &str = "127.0.0.1\tlocalhost\n\
::1\tlocalhost ip6-localhost ip6-loopback\n\
fe00::\tip6-localnet\n\
ff00::\tip6-mcastprefix\n\
ff02::1\tip6-allnodes\n\
ff02::2\tip6-allrouters\n";

/// Where the file called `name` lies.
pub fn path(host: &Host, record: &Record, name: &str) -> PathBuf {
    host.paths.container(&record.id).join(name)
}

/// Writes the three files at the first start; later starts keep what the container made of them.
pub fn write(host: &Host, record: &Record) -> Result<()> {
    for (name, _) in FILES {
        let path = path(host, record, name);
        if path.exists() {
            continue;
        }
        let text = match name {
            "hosts" => hosts(record),
            "hostname" => format!("{}\n", record.config.hostname),
            _ => std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        };
        put(&path, &text).map_err(|e| Error::io("write", &path, e))?;
    }
    Ok(())
}

/// The container's users read these, whatever dhow's own umask is.
fn put(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
}

fn hosts(record: &Record) -> String {
    let mut text = if record.host_config.network_mode == "host" {
        std::fs::read_to_string("/etc/hosts").unwrap_or_else(|_| LOCAL.to_owned())
    } else {
        LOCAL.to_owned()
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for entry in record.host_config.extra_hosts.iter().flatten() {
        if let Some((name, ip)) = entry.split_once(':') {
            let _ = writeln!(text, "{ip}\t{name}");
        }
    }
    text
}
