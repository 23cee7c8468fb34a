//! Writing tar headers: ustar by the `tar` crate's types, and a pax header before it for
//! whatever ustar can't hold exactly.

use std::io::Write;

use nix::sys::stat::FileStat;
use tar::{EntryType, Header};

use super::pax::Time;
use super::settle::mtime;
use crate::error::{Error, Result};

/// Octal digits of ustar's numbers.
const MAX_ID: u64 = 0o7_777_777;
const MAX_SIZE: u64 = 0o77_777_777_777;

/// One entry to write.
#[derive(Clone)]
pub(crate) struct Item<'a> {
    pub path: Vec<u8>,
    pub flag: u8,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    pub size: u64,
    /// Of a sparse file: its length with the holes.
    pub whole: Option<u64>,
    pub link: Option<&'a [u8]>,
    pub device: Option<(u64, u64)>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Item<'_> {
    /// An entry of this type with a file's metadata.
    pub fn of(path: &[u8], stat: &FileStat, flag: u8) -> Self {
        let mut path = path.to_vec();
        if flag == b'5' && !path.ends_with(b"/") {
            path.push(b'/');
        }
        Self {
            path,
            flag,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: mtime(stat),
            size: 0,
            whole: None,
            link: None,
            device: None,
            xattrs: Vec::new(),
        }
    }

    /// A file of root's from 1970.
    pub fn file(path: &[u8], mode: u32, size: u64) -> Self {
        Self {
            path: path.to_vec(),
            flag: b'0',
            mode,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            size,
            whole: None,
            link: None,
            device: None,
            xattrs: Vec::new(),
        }
    }

    /// What ustar can't hold.
    fn records(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let link = self.link.unwrap_or_default();
        if std::str::from_utf8(&self.path).is_err() || std::str::from_utf8(link).is_err() {
            // SPEC: pax: else names are UTF-8.
            record(&mut out, b"hdrcharset", b"BINARY");
        }
        if let Some(whole) = self.whole {
            record(&mut out, b"GNU.sparse.major", b"1");
            record(&mut out, b"GNU.sparse.minor", b"0");
            record(&mut out, b"GNU.sparse.name", &self.path);
            record(&mut out, b"GNU.sparse.realsize", whole.to_string().as_bytes());
        } else if !fits(&self.path) {
            record(&mut out, b"path", &self.path);
        }
        if !fits(link) {
            record(&mut out, b"linkpath", link);
        }
        for (key, value, max) in [
            ("uid", u64::from(self.uid), MAX_ID),
            ("gid", u64::from(self.gid), MAX_ID),
            ("size", self.size, MAX_SIZE),
        ] {
            if value > max {
                record(&mut out, key.as_bytes(), value.to_string().as_bytes());
            }
        }
        if self.mtime.nanos != 0 || !(0..=MAX_SIZE.cast_signed()).contains(&self.mtime.secs) {
            record(&mut out, b"mtime", decimal(self.mtime).as_bytes());
        }
        for (key, value) in &self.xattrs {
            record(&mut out, &[b"SCHILY.xattr.", key.as_slice()].concat(), value);
        }
        out
    }

    fn header(&self) -> Result<Header> {
        let mut header = Header::new_ustar();
        copy(&mut header.as_old_mut().name, &self.path);
        copy(&mut header.as_old_mut().linkname, self.link.unwrap_or_default());
        header.set_entry_type(EntryType::new(self.flag));
        header.set_mode(self.mode);
        header.set_uid(u64::from(self.uid).min(MAX_ID));
        header.set_gid(u64::from(self.gid).min(MAX_ID));
        header.set_size(self.size.min(MAX_SIZE));
        header.set_mtime(self.mtime.secs.clamp(0, MAX_SIZE.cast_signed()).cast_unsigned());
        let (major, minor) = self.device.unwrap_or_default();
        let number = |n: u64| {
            u32::try_from(n).map_err(|_| Error::invalid("device", "its number is too large"))
        };
        header.set_device_major(number(major)?).map_err(Error::at("write", "device"))?;
        header.set_device_minor(number(minor)?).map_err(Error::at("write", "device"))?;
        header.set_cksum();
        Ok(header)
    }
}

/// Whether ustar's 100 bytes hold a name as it is. Its prefix field isn't used: readers
/// differ on it, and a pax record says the same.
fn fits(name: &[u8]) -> bool {
    name.len() <= 100 && name.is_ascii()
}

fn copy(field: &mut [u8; 100], from: &[u8]) {
    let n = from.len().min(100);
    field[..n].copy_from_slice(&from[..n]);
}

fn decimal(time: Time) -> String {
    match (time.secs, time.nanos) {
        (secs, 0) => secs.to_string(),
        (secs @ 0.., nanos) => format!("{secs}.{nanos:09}"),
        // -1.25 is -2 seconds and 0.75
        (secs, nanos) => format!("-{}.{:09}", -(secs + 1), 1_000_000_000 - nanos),
    }
}

/// `LENGTH KEY=VALUE\n`, LENGTH counting itself.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A tar stream being written.
pub(crate) struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// An entry's headers; its data, if it has any, and [`Writer::pad`] must follow.
    pub fn item(&mut self, item: &Item<'_>) -> Result<()> {
        let records = item.records();
        if !records.is_empty() {
            let mut extended = Item::file(b"PaxHeaders/x", 0o644, records.len() as u64);
            extended.flag = b'x';
            self.data(extended.header()?.as_bytes())?;
            self.data(&records)?;
            self.pad(records.len() as u64)?;
        }
        self.data(item.header()?.as_bytes())
    }

    pub fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::from_io("write", "archive", e))
    }

    pub fn pad(&mut self, size: u64) -> Result<()> {
        let pad = (size.next_multiple_of(512) - size) as usize;
        self.data(&[0; 512][..pad])
    }

    pub fn finish(mut self) -> Result<()> {
        self.data(&[0; 1024])?;
        self.out.flush().map_err(|e| Error::from_io("write", "archive", e))
    }
}

#[cfg(test)]
mod tests {
    use super::super::pax::Pax;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_are_read_back(
            path in proptest::collection::vec(1u8..=255, 1..300),
            secs in -5_000_000_000i64..5_000_000_000, nanos in 0u32..1_000_000_000,
            uid in any::<u32>(), value in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let item = Item {
                mtime: Time { secs, nanos }, uid,
                xattrs: vec![(b"user.x".to_vec(), value.clone())],
                ..Item::file(&path, 0o644, 0)
            };
            let mut pax = Pax::default();
            pax.parse(&item.records()).unwrap();
            prop_assert_eq!(pax.path.is_some(), !fits(&path));
            prop_assert_eq!(pax.path.unwrap_or(path.clone()), path);
            prop_assert_eq!(pax.mtime.unwrap_or(Time { secs, nanos: 0 }), Time { secs, nanos });
            prop_assert_eq!(pax.uid.unwrap_or(uid.into()), u64::from(uid));
            prop_assert_eq!(&pax.xattrs[0].1, &value);
        }
    }
}
