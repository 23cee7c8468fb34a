//! Gives the descriptor of a filter's listener to the agent that `listenerPath` names.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use super::Listener;
use crate::error::{Error, Result};
use crate::validate::SPEC_VERSION;

/// Sends it with the container process state: the process is `pid`, the container's state `state`.
///
/// SPEC: config-linux.md §The Container Process State.
pub fn tell(listener: &Listener, fd: BorrowedFd<'_>, pid: i32, state: &str) -> Result<()> {
    let agent = connect(&listener.path).map_err(|e| {
        let why = "failed to connect with seccomp agent specified in the seccomp profile";
        Error::config("/linux/seccomp/listenerPath", format!("{why}: {}: {e}", listener.path))
    })?;
    let text = document(&listener.metadata, pid, state);
    let system = |e| Error::system("send the seccomp listener to", &listener.path, e);
    let mut left = text.as_bytes();
    // The descriptor goes with the first part, which mostly is all of it.
    let mut fds = &[fd][..];
    while !left.is_empty() {
        let sent = dhow_kernel::rights::send(agent.as_fd(), left, fds).map_err(system)?;
        (left, fds) = (&left[sent..], &[]);
    }
    Ok(())
}

/// As Go's dialer, and so runc: an `@` at the start stands for an abstract name.
fn connect(path: &str) -> std::io::Result<UnixStream> {
    match path.strip_prefix('@') {
        Some(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
        None => UnixStream::connect(path),
    }
}

fn document(metadata: &str, pid: i32, state: &str) -> String {
    let metadata = match metadata {
        "" => String::new(),
        text => format!(",\"metadata\":{}", serde_json::Value::from(text)),
    };
    format!(
        "{{\"ociVersion\":\"{SPEC_VERSION}\",\"fds\":[\"seccompFd\"],\"pid\":{pid}{metadata},\"state\":{state}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_the_specs() {
        let read = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
        assert_eq!(
            read(document("a \"b\"", 7, r#"{"id":"x"}"#)),
            serde_json::json!({"ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": 7,
                "metadata": "a \"b\"", "state": {"id": "x"}})
        );
        assert_eq!(read(document("", 7, "{}")).get("metadata"), None);
    }
}
