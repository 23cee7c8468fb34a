//! Who tells a service manager that a container is up: podman's `--sdnotify`.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What becomes of `NOTIFY_SOCKET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sdnotify {
    /// The container says so, over a socket of its own.
    Container,
    /// dhow does, as soon as the container runs; the word is podman's.
    Conmon,
    /// Nobody.
    Ignore,
}

impl Sdnotify {
    /// As typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Conmon => "conmon",
            Self::Ignore => "ignore",
        }
    }

    /// Who it is when nothing is said: in the foreground the container. In the background nobody,
    /// or whoever runs below a service (the job of a CI) and has its `NOTIFY_SOCKET` would wait for the
    /// word of a container that knows of none.
    pub fn unsaid(background: bool) -> Self {
        if background { Self::Ignore } else { Self::Container }
    }
}

impl FromStr for Sdnotify {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Container, Self::Conmon, Self::Ignore]
            .into_iter()
            .find(|it| it.as_str() == text)
            .ok_or_else(|| {
                Error::usage(format!(
                    "invalid value for --sdnotify: \"{text}\": use container, conmon or ignore"
                ))
            })
    }
}
