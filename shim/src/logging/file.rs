//! A log file: written, rotated, and told of when the disk takes no more.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::lines::{LONGEST, Lines, Message};
use super::record::{Clock, Form, encode};
use super::{Driver, Settings, Stream, compress};
use crate::store::{compressed, rotated};

/// Bytes that come before a rotation that could not be is tried again.
const RETRY: u64 = 64 << 10;

/// Writes a container's log.
pub struct Writer {
    path: PathBuf,
    told: PathBuf,
    file: File,
    size: u64,
    limit: u64,
    /// Where it is to be rotated: at the limit, or further on where that could not be.
    due: u64,
    files: u32,
    compress: bool,
    form: Form,
    lines: Lines,
    clock: Clock,
    out: Vec<u8>,
    /// Bytes of records that the disk did not take.
    lost: u64,
}

impl Writer {
    /// Goes on with the log at `path`; what is lost is told at `told`.
    pub fn open(path: &Path, told: &Path, settings: &Settings, attributes: String) -> Result<Self> {
        let file = append_to(path)?;
        let local = settings.driver == Driver::Local;
        Ok(Self {
            size: file.metadata()?.len(),
            file,
            path: path.to_owned(),
            told: told.to_owned(),
            limit: settings.size,
            due: settings.size,
            files: settings.files,
            compress: settings.compress,
            form: if local { Form::Local } else { Form::Json(attributes) },
            lines: Lines::default(),
            clock: Clock::default(),
            out: Vec::new(),
            lost: 0,
        })
    }

    /// Logs the whole lines of `bytes`, keeping an unfinished last one for later.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) -> Result<()> {
        self.with_lines(|lines, each| lines.take(stream, bytes, each))
    }

    /// Logs what has no newline yet.
    pub fn finish(&mut self) -> Result<()> {
        self.with_lines(|lines, each| lines.finish(each))
    }

    fn with_lines(
        &mut self,
        give: impl FnOnce(&mut Lines, &mut dyn FnMut(Message<'_>)),
    ) -> Result<()> {
        self.clock.set(Timestamp::now());
        let mut lines = std::mem::take(&mut self.lines);
        let mut done = Ok(());
        give(&mut lines, &mut |message| {
            let before = self.out.len();
            encode(&mut self.out, &self.form, &message, &mut self.clock);
            if self.size + self.out.len() as u64 > self.due {
                let last = self.out.split_off(before);
                let written = self.flush();
                // What can't be rotated grows: better than what is lost.
                let rotated = self.size > 0 && self.rotate().unwrap_or(false);
                self.due = if rotated { self.limit } else { self.limit.max(self.size + RETRY) };
                self.out.extend(last);
                done = std::mem::replace(&mut done, Ok(())).and(written);
            }
        });
        self.lines = lines;
        done.and(self.flush())
    }

    fn flush(&mut self) -> Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let done = self.file.write_all(&self.out);
        match &done {
            Ok(()) => self.size += self.out.len() as u64,
            Err(cause) => {
                // Half a record would spoil the next one as well.
                let _ = self.file.set_len(self.size);
                self.lost += self.out.len() as u64;
                self.tell(cause);
            }
        }
        self.out.clear();
        if self.out.capacity() > 4 * LONGEST {
            self.out.shrink_to(4 * LONGEST); // a burst is no reason to stay large
        }
        done
    }

    /// Where `dhow logs` finds it, on another file system than the log.
    fn tell(&self, cause: &Error) {
        let text = format!("{} bytes of the log were lost: {cause}\n", self.lost);
        let _ = std::fs::write(&self.told, text);
    }

    /// Begins another file; false where that has to wait.
    fn rotate(&mut self) -> Result<bool> {
        if self.files <= 1 {
            // Another file under the name: who follows the old one reads it to its end.
            let fresh = rotated(&self.path, 1);
            let _ = std::fs::remove_file(&fresh);
            let file = append_to(&fresh)?;
            std::fs::rename(&fresh, &self.path)?;
            (self.file, self.size) = (file, 0);
            return Ok(true);
        }
        if self.compress && compress::is_at_work(&rotated(&self.path, 1)) {
            return Ok(false); // this one grows meanwhile: waiting would hold the container up
        }
        for part in [rotated, compressed] {
            let _ = std::fs::remove_file(part(&self.path, self.files - 1));
            for n in (1..self.files - 1).rev() {
                let _ = std::fs::rename(part(&self.path, n), part(&self.path, n + 1));
            }
        }
        let older = rotated(&self.path, 1);
        std::fs::rename(&self.path, &older)?;
        match append_to(&self.path) {
            Ok(file) => self.file = file,
            Err(e) => {
                let _ = std::fs::rename(&older, &self.path);
                return Err(e);
            }
        }
        self.size = 0;
        if self.compress {
            let _ = compress::start(&older); // else it stays as it is
        }
        Ok(true)
    }
}

fn append_to(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(Error::new(ErrorKind::InvalidInput, "not a regular file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LogConfig;
    use crate::store::Tail;

    fn writer(dir: &Path, kind: &str, options: &[(&str, &str)]) -> Writer {
        let config = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let settings = Settings::of(&LogConfig { kind: kind.into(), config }).unwrap();
        Writer::open(&dir.join("log"), &dir.join("told"), &settings, String::new()).unwrap()
    }

    fn texts(dir: &Path) -> Vec<String> {
        let mut tail = Tail::open(&dir.join("log"), None).unwrap();
        let mut all = Vec::new();
        while let Some(line) = tail.next_line().unwrap() {
            let entry = super::super::record::decode(line).unwrap();
            all.push(String::from_utf8(entry.text.into_owned()).unwrap());
        }
        all
    }

    #[test]
    fn a_full_file_is_rotated_and_the_oldest_goes() {
        for kind in ["json-file", "local"] {
            let dir = tempfile::tempdir().unwrap();
            let options = [("max-size", "300"), ("max-file", "3"), ("compress", "false")];
            let mut log = writer(dir.path(), kind, &options);
            for n in 0..90 {
                log.write(Stream::Stdout, format!("line {n}\n").as_bytes()).unwrap();
            }
            let kept = texts(dir.path());
            assert_eq!(kept.last().unwrap(), "line 89\n");
            assert!(kept.len() < 40 && !rotated(&dir.path().join("log"), 3).exists());
            let first: usize = kept[0].trim_start_matches("line ").trim_end().parse().unwrap();
            assert_eq!(first, 90 - kept.len());
        }
    }

    #[test]
    fn a_burst_is_rotated_record_by_record() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = writer(dir.path(), "json-file", &[("max-size", "10k"), ("max-file", "3")]);
        let burst: String = (0..5000).map(|n| n.to_string() + "\n").collect();
        log.write(Stream::Stdout, burst.as_bytes()).unwrap();
        for n in 0..3 {
            let size = std::fs::metadata(rotated(&dir.path().join("log"), n)).unwrap().len();
            assert!(size <= 10_000 && (n == 0 || size > 9_900), "{n}: {size}");
        }
        assert_eq!(texts(dir.path()).last().unwrap(), "4999\n");
    }

    #[test]
    fn with_one_file_a_full_one_is_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = writer(dir.path(), "json-file", &[("max-size", "200")]);
        let mut follower = Tail::open(&dir.path().join("log"), None).unwrap();
        for n in 0..9 {
            log.write(Stream::Stdout, format!("line {n}\n").as_bytes()).unwrap();
            assert!(
                follower.next_line().unwrap().is_some() && follower.next_line().unwrap().is_none()
            );
        }
        assert_eq!(texts(dir.path()).last().unwrap(), "line 8\n");
        assert!(texts(dir.path()).len() < 4 && !rotated(&dir.path().join("log"), 1).exists());
    }

    #[test]
    fn an_older_file_under_compression_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let options = [("max-size", "100"), ("max-file", "3")];
        let mut log = writer(dir.path(), "json-file", &options);
        log.compress = true;
        let older = rotated(&dir.path().join("log"), 1);
        std::fs::write(&older, "").unwrap();
        let busy = File::open(&older).unwrap();
        busy.lock().unwrap();
        for n in 0..9 {
            log.write(Stream::Stdout, format!("line {n}\n").as_bytes()).unwrap();
        }
        assert_eq!(texts(dir.path()).len(), 9);
        assert!(!rotated(&dir.path().join("log"), 2).exists());
    }

    #[test]
    fn what_the_disk_does_not_take_is_told_and_the_rest_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = writer(dir.path(), "json-file", &[]);
        log.write(Stream::Stdout, b"first\n").unwrap();
        let file = std::mem::replace(
            &mut log.file,
            File::options().write(true).open("/dev/full").unwrap(),
        );
        assert!(log.write(Stream::Stdout, b"lost\n").is_err());
        log.file = file;
        log.write(Stream::Stdout, b"last\n").unwrap();
        assert_eq!(texts(dir.path()), ["first\n", "last\n"]);
        let told = std::fs::read_to_string(dir.path().join("told")).unwrap();
        assert!(told.contains("bytes of the log were lost: No space left"), "{told}");
    }
}
