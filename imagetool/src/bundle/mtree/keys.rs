//! Keywords of mtree(8), as go-mtree has them: what each says of a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dhow_kernel::xattr;
use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, SFlag};
use sha2::Digest as _;

use super::super::walk::open_file;
use super::vis::vis;
use crate::error::{Error, Result};
use crate::layer::at::{kind, readable};
use crate::layer::settle::errno;

/// What umoci records.
pub const UMOCI: [&str; 10] =
    ["size", "type", "uid", "gid", "mode", "link", "nlink", "tar_time", "sha256digest", "xattr"];

/// What is said of a file, by keyword (`xattr.NAME` for each attribute).
pub type Values = BTreeMap<String, String>;

/// A keyword's one name. `Err` if it is none that can be checked.
pub fn canonical(name: &str) -> Result<&'static str> {
    Ok(match name {
        "size" => "size",
        "type" => "type",
        "uid" => "uid",
        "gid" => "gid",
        "mode" => "mode",
        "link" => "link",
        "nlink" => "nlink",
        "time" => "time",
        "tar_time" => "tar_time",
        "flags" => "flags",
        "xattr" | "xattrs" => "xattr",
        "cksum" => "cksum",
        "md5" | "md5digest" => "md5digest",
        "sha1" | "sha1digest" => "sha1digest",
        "sha256" | "sha256digest" => "sha256digest",
        "sha384" | "sha384digest" => "sha384digest",
        "sha512" | "sha512digest" => "sha512digest",
        _ => {
            return Err(Error::unsupported(
                format!("the mtree keyword {name:?}"),
                "size type uid gid mode link nlink time tar_time xattr cksum and md5 sha1 sha256 sha384 sha512 are known",
            ));
        }
    })
}

/// The keyword of a key: `xattr.user.x` is of `xattr`.
pub fn prefix(key: &str) -> &str {
    key.split('.').next().unwrap_or(key)
}

/// A file to be described.
pub struct Subject<'a> {
    /// The directory it is in.
    pub dir: &'a OwnedFd,
    /// What it is called there; `.` for the directory itself.
    pub base: &'a [u8],
    /// What stat(2) says of it.
    pub stat: &'a FileStat,
}

impl Subject<'_> {
    /// What `keywords` (canonical) say of it.
    pub fn values(&self, keywords: &[&str]) -> nix::Result<Values> {
        let mut values = Values::new();
        let mut hashes = Vec::new();
        for &keyword in keywords {
            match keyword {
                "xattr" => self.xattrs(&mut values)?,
                "link" if kind(self.stat) == SFlag::S_IFLNK => {
                    let text = readlinkat(self.dir, self.base)?;
                    values.insert("link".into(), vis(text.as_encoded_bytes()));
                }
                "cksum" | "md5digest" | "sha1digest" | "sha256digest" | "sha384digest"
                | "sha512digest" => hashes.push(keyword),
                _ => {
                    if let Some(value) = plain(keyword, self.stat) {
                        values.insert(keyword.to_owned(), value);
                    }
                }
            }
        }
        if !hashes.is_empty() && kind(self.stat) == SFlag::S_IFREG {
            self.hash(&hashes, &mut values)?;
        }
        Ok(values)
    }

    fn xattrs(&self, values: &mut Values) -> nix::Result<()> {
        // go-mtree looks at those of files and directories only.
        if !matches!(kind(self.stat), SFlag::S_IFREG | SFlag::S_IFDIR) {
            return Ok(());
        }
        let names = match xattr::list_at(self.dir, self.base) {
            Err(Errno::EOPNOTSUPP) => return Ok(()),
            names => names?,
        };
        for name in names {
            let get = || xattr::get_at(self.dir, self.base, &name);
            let value = readable(self.dir, self.base, get)?.unwrap_or_default();
            values.insert(format!("xattr.{}", vis(name.to_bytes())), STANDARD.encode(value));
        }
        Ok(())
    }

    fn hash(&self, keywords: &[&str], values: &mut Values) -> nix::Result<()> {
        let mut file = File::from(open_file(self.dir, self.base)?);
        let mut all: Vec<(&str, Hash)> = keywords.iter().map(|&k| (k, Hash::new(k))).collect();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => all.iter_mut().for_each(|(_, hash)| hash.update(&buffer[..n])),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(errno(&e)),
            }
        }
        values.extend(all.into_iter().map(|(keyword, hash)| (keyword.to_owned(), hash.finish())));
        Ok(())
    }
}

fn plain(keyword: &str, stat: &FileStat) -> Option<String> {
    Some(match keyword {
        "size" => stat.st_size.to_string(),
        "type" => match kind(stat) {
            SFlag::S_IFDIR => "dir",
            SFlag::S_IFREG => "file",
            SFlag::S_IFLNK => "link",
            SFlag::S_IFSOCK => "socket",
            SFlag::S_IFIFO => "fifo",
            SFlag::S_IFCHR => "char",
            _ => "block",
        }
        .into(),
        "uid" => stat.st_uid.to_string(),
        "gid" => stat.st_gid.to_string(),
        "mode" => match stat.st_mode & 0o7777 {
            0 => "0".into(),
            mode => format!("0{mode:o}"),
        },
        "nlink" => stat.st_nlink.to_string(),
        "time" => format!("{}.{:09}", stat.st_mtime, stat.st_mtime_nsec),
        "tar_time" => format!("{}.000000000", stat.st_mtime),
        "flags" => "none".into(),
        _ => return None,
    })
}

enum Hash {
    Cksum(u32, u64),
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hash {
    fn new(keyword: &str) -> Self {
        match keyword {
            "md5digest" => Self::Md5(md5::Md5::new()),
            "sha1digest" => Self::Sha1(sha1::Sha1::new()),
            "sha256digest" => Self::Sha256(sha2::Sha256::new()),
            "sha384digest" => Self::Sha384(sha2::Sha384::new()),
            "sha512digest" => Self::Sha512(sha2::Sha512::new()),
            _ => Self::Cksum(0, 0),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Cksum(crc, count) => {
                *crc = bytes.iter().fold(*crc, |crc, &byte| posix(crc, byte));
                *count += bytes.len() as u64;
            }
            Self::Md5(h) => h.update(bytes),
            Self::Sha1(h) => h.update(bytes),
            Self::Sha256(h) => h.update(bytes),
            Self::Sha384(h) => h.update(bytes),
            Self::Sha512(h) => h.update(bytes),
        }
    }

    fn finish(self) -> String {
        fn hex(bytes: &[u8]) -> String {
            let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
            bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
        }
        match self {
            Self::Cksum(mut crc, mut count) => {
                while count > 0 {
                    crc = posix(crc, count as u8);
                    count >>= 8;
                }
                (!crc).to_string()
            }
            Self::Md5(h) => hex(&h.finalize()),
            Self::Sha1(h) => hex(&h.finalize()),
            Self::Sha256(h) => hex(&h.finalize()),
            Self::Sha384(h) => hex(&h.finalize()),
            Self::Sha512(h) => hex(&h.finalize()),
        }
    }
}

/// SPEC: POSIX cksum.
fn posix(crc: u32, byte: u8) -> u32 {
    let mut crc = crc ^ (u32::from(byte) << 24);
    for _ in 0..8 {
        crc = if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x04c1_1db7 };
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_usual_programs() {
        for (keyword, want) in [
            ("cksum", "930766865"),
            ("md5digest", "e10adc3949ba59abbe56e057f20f883e"),
            ("sha1digest", "7c4a8d09ca3762af61e59520943dc26494f8941b"),
        ] {
            let mut hash = Hash::new(keyword);
            hash.update(if keyword == "cksum" { b"123456789" } else { b"123456" });
            assert_eq!(hash.finish(), want, "{keyword}");
        }
        assert!(canonical("uname").is_err());
        assert_eq!(prefix("xattr.user.x"), "xattr");
    }
}
