//! What a container says, kept: docker's log drivers `json-file`, `local`, `journald` and `none`.
//!
//! ```text
//! monitor ─▶ Writer ─▶ lines ─▶ record ─▶ file (rotated, compressed)   ─▶ read ─▶ `dhow logs`
//!                            └▶ journal (systemd's socket)             ─▶ journalctl ─┘
//! ```
//!
//! A log never holds the container up without need: what can't be written is counted and told.

mod attributes;
mod compress;
mod file;
mod journal;
mod journalctl;
mod lines;
mod options;
mod print;
mod record;

use std::path::Path;

use crate::error::Result;
use crate::model::{LogConfig, Record};
use crate::settings::Daemon;

pub use compress::{ARGUMENT, main as compress_main};
pub use journalctl::{Part, read as read_journal, sync as sync_journal};
pub use options::{Driver, Settings};
pub use print::{Look, Printer, Reached};

/// Which stream a text came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// stdout, and a terminal's output.
    Stdout,
    /// stderr.
    Stderr,
}

impl Stream {
    /// docker's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Writes a container's log.
pub enum Writer {
    /// To a file of ours.
    File(Box<file::Writer>),
    /// To systemd's journal.
    Journal(Box<journal::Writer>),
}

/// Refuses a log configuration that can't be kept; the words are docker's.
pub fn check(config: &LogConfig) -> Result<()> {
    Settings::of(config).map(drop)
}

/// A new container's log configuration: what the machine's settings say where the user said nothing.
pub fn settle(mut config: LogConfig, daemon: &Daemon) -> Result<LogConfig> {
    let usual = daemon.log_driver.as_deref().unwrap_or("json-file");
    if config.kind.is_empty() {
        usual.clone_into(&mut config.kind);
    }
    if config.kind == usual {
        for (key, value) in &daemon.log_opts {
            config.config.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    check(&config)?;
    Ok(config)
}

/// Goes on with the container's log at `path`; nothing for the driver `none`. What goes wrong
/// while it is written is told in `told`, for who reads the log.
pub fn open(record: &Record, path: &Path, told: &Path) -> Result<Option<Writer>> {
    let settings = Settings::of(&record.host_config.log_config)?;
    Ok(match settings.driver {
        Driver::None => None,
        Driver::Journald => {
            let writer = journal::Writer::open(record, &settings, Path::new(journal::SOCKET))?;
            Some(Writer::Journal(Box::new(writer)))
        }
        Driver::JsonFile | Driver::Local => {
            let attributes = attributes::json(record, &settings)?;
            let writer = file::Writer::open(path, told, &settings, attributes)
                .map_err(|e| crate::error::Error::io("open log", path, e))?;
            Some(Writer::File(Box::new(writer)))
        }
    })
}

impl Writer {
    /// Logs the whole lines of `bytes`, keeping an unfinished last one for later.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::File(file) => file.write(stream, bytes),
            Self::Journal(journal) => journal.write(stream, bytes),
        }
    }

    /// Logs what has no newline yet.
    pub fn finish(&mut self) -> std::io::Result<()> {
        match self {
            Self::File(file) => file.finish(),
            Self::Journal(journal) => journal.finish(),
        }
    }
}
