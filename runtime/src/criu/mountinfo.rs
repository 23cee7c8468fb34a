//! Mount tables, as /proc/PID/mountinfo shows them. KERNEL: proc_pid_mountinfo(5).

use crate::error::{Error, Result};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `major:minor` of its file system.
    pub device: String,
    /// Where it is, as its own namespace's root sees it.
    pub point: String,
    /// Type of the file system.
    pub fstype: String,
    /// Whether the mount itself is read-only.
    pub readonly: bool,
}

/// The table of a process (or of `self`), in the order of mounting.
pub fn of(process: &str) -> Result<Vec<Entry>> {
    let path = format!("/proc/{process}/mountinfo");
    let text = std::fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

fn parse(text: &str) -> Vec<Entry> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Entry> {
    let (left, right) = line.split_once(" - ")?;
    let mut fields = left.split(' ').skip(2);
    let device = fields.next()?.to_owned();
    let point = unescaped(fields.nth(1)?);
    let readonly = fields.next()?.split(',').any(|option| option == "ro");
    let fstype = right.split(' ').next()?.to_owned();
    Some(Entry { device, point, fstype, readonly })
}

/// Space, tab, newline and backslash are shown as `\ooo`.
fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&first, rest)) = bytes.split_first() {
        let code = rest
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(code.unwrap_or(first));
        bytes = if code.is_some() { &rest[3..] } else { rest };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The part of `point` below `above`, with its slash; `None` when it isn't below.
pub fn below<'a>(point: &'a str, above: &str) -> Option<&'a str> {
    let above = above.trim_end_matches('/');
    point.strip_prefix(above).filter(|rest| rest.starts_with('/') && rest.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_its_optional_fields_and_escapes() {
        let text = "36 35 98:0 /mnt1 /mnt\\0402\\134 rw,noatime master:1 - ext3 /dev/root rw\n\
                    37 36 0:5 / /x rw - proc proc rw\nnonsense\n";
        let all = parse(text);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].point, "/mnt 2\\");
        assert_eq!((all[0].device.as_str(), all[0].fstype.as_str()), ("98:0", "ext3"));
        assert_eq!((all[1].point.as_str(), all[1].fstype.as_str()), ("/x", "proc"));
    }

    #[test]
    fn below_goes_by_whole_names() {
        assert_eq!(below("/a/b", "/a"), Some("/b"));
        assert_eq!(below("/a/b", "/a/"), Some("/b"));
        assert_eq!(below("/ab", "/a"), None);
        assert_eq!(below("/a", "/a"), None);
        assert_eq!(below("/a", "/"), Some("/a"));
    }
}
