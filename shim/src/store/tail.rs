//! Lines of a file that others append to and rotate: the last of them, all of them, and those to come.
//!
//! `FILE` is written to; `FILE.1` is the youngest older one. Older ones may be compressed,
//! `FILE.2.gz` then, and carry in their head which file they were made of.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Result, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

/// Bytes read at once.
const BLOCK: usize = 64 * 1024;
/// So often files are opened anew when they were rotated meanwhile; a killed writer may have left
/// none under the name, for ever.
const TRIES: u32 = 50;
/// The longest line; what is longer is no record of ours, and is left out.
const LONGEST: usize = 4 << 20;

/// The path of the `n`th older file; 0 is the one written to.
pub fn rotated(path: &Path, n: u32) -> PathBuf {
    if n == 0 {
        return path.to_owned();
    }
    with(path, &format!(".{n}"))
}

/// The path of the `n`th older file once it is compressed.
pub fn compressed(path: &Path, n: u32) -> PathBuf {
    with(path, &format!(".{n}.gz"))
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The files still to read, the oldest first, and what of a last line has no end yet.
pub struct Tail {
    path: PathBuf,
    files: VecDeque<Piece>,
    line: Vec<u8>,
    whole: bool,
}

/// One file.
struct Piece {
    from: From,
    /// Of the file as it was written.
    inode: u64,
    /// Bytes read of it.
    read: u64,
}

enum From {
    Plain(BufReader<File>),
    Compressed(Box<BufReader<GzDecoder<File>>>),
}

impl Piece {
    /// The `n`th older file, compressed or not; none when there is no such.
    fn open(path: &Path, n: u32) -> Result<Option<Self>> {
        // Twice: between the two looks it may have been compressed, or rotated away.
        for _ in 0..2 {
            if let Some(file) = found(File::open(rotated(path, n)))? {
                let inode = file.metadata()?.ino();
                let from = From::Plain(BufReader::with_capacity(BLOCK, file));
                return Ok(Some(Self { from, inode, read: 0 }));
            }
            if n > 0
                && let Some(file) = found(File::open(compressed(path, n)))?
            {
                return Self::of_compressed(file).map(Some);
            }
        }
        Ok(None)
    }

    fn of_compressed(file: File) -> Result<Self> {
        let mut decoder = GzDecoder::new(file);
        let _ = decoder.read(&mut [])?; // its head
        let extra = decoder.header().and_then(|head| head.extra()).unwrap_or_default();
        let inode = extra.try_into().map_or(0, u64::from_le_bytes);
        let reader = BufReader::with_capacity(BLOCK, decoder);
        Ok(Self { from: From::Compressed(Box::new(reader)), inode, read: 0 })
    }

    fn reader(&mut self) -> &mut dyn BufRead {
        match &mut self.from {
            From::Plain(reader) => reader,
            From::Compressed(reader) => reader,
        }
    }

    /// Appends to `line` up to and with the next newline, as far as there is any; says how much came.
    fn read_line(&mut self, line: &mut Vec<u8>) -> Result<usize> {
        let n = self.reader().take(LONGEST as u64).read_until(b'\n', line)?;
        self.read += n as u64;
        Ok(n)
    }

    /// Goes on at the beginning when the file was emptied, as one that has no older ones is.
    fn rewind_if_emptied(&mut self) -> Result<bool> {
        let From::Plain(reader) = &mut self.from else { return Ok(false) };
        if reader.get_ref().metadata()?.len() >= self.read {
            return Ok(false);
        }
        reader.seek(SeekFrom::Start(0))?;
        self.read = 0;
        Ok(true)
    }

    /// Places it before its last `lines` lines; says how many there were.
    fn seek_to_last(&mut self, lines: u64) -> Result<u64> {
        match &mut self.from {
            From::Plain(reader) => {
                let found = seek_to_last(reader.get_mut(), lines)?;
                self.read = reader.stream_position()?;
                Ok(found)
            }
            From::Compressed(reader) => {
                let mut file = reader.get_ref().get_ref().try_clone()?;
                let count = count(reader)?;
                file.seek(SeekFrom::Start(0))?;
                *self = Self::of_compressed(file)?;
                for _ in lines..count {
                    self.read_line(&mut Vec::new())?;
                }
                Ok(count.min(lines))
            }
        }
    }
}

/// The files, the youngest first, down to the one that was written as `inode` (it not included).
///
/// An inode is a file's as long as it is open: those of compressed files may be others' by now,
/// so they are compared with that of a file in hand alone.
fn pieces(path: &Path, inode: Option<u64>) -> Result<Vec<Piece>> {
    let mut all: Vec<Piece> = Vec::new();
    for _ in 0..TRIES {
        all.clear();
        for n in 0.. {
            match Piece::open(path, n)? {
                Some(piece) if Some(piece.inode) != inode => all.push(piece),
                None if n == 0 => {} // between two steps of a rotation there is none
                _ => break,
            }
        }
        // Rotated while we opened them, one may be there twice: once more.
        let first = all.first().map(|piece| piece.inode);
        let now = found(File::open(path))?.map(|file| file.metadata()).transpose()?;
        if first.is_none() || first == now.map(|meta| meta.ino()) {
            break;
        }
        std::thread::yield_now();
    }
    Ok(all)
}

fn found(opened: Result<File>) -> Result<Option<File>> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn count(reader: &mut dyn BufRead) -> Result<u64> {
    let mut lines = 0;
    loop {
        let block = reader.fill_buf()?;
        if block.is_empty() {
            return Ok(lines);
        }
        lines += (block.split(|&b| b == b'\n').count() - 1) as u64;
        let n = block.len();
        reader.consume(n);
    }
}

/// Places `file` before its last `lines` lines; says how many there were.
fn seek_to_last(file: &mut File, lines: u64) -> Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let (mut found, mut block) = (0, vec![0; BLOCK]);
    if lines == 0 {
        return Ok(0);
    }
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        for at in (0..part.len()).rev().filter(|&at| part[at] == b'\n') {
            // The newline before the first wanted line is one more than there are lines.
            if found == lines {
                file.seek(SeekFrom::Start(start + at as u64 + 1))?;
                return Ok(found);
            }
            found += 1;
        }
        end = start;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(found)
}

impl Tail {
    /// Opens what there is, so that its last `lines` lines are left to read; none means all.
    pub fn open(path: &Path, lines: Option<u64>) -> Result<Self> {
        let mut wanted = lines;
        let mut files = VecDeque::new();
        for mut piece in pieces(path, None)? {
            if wanted == Some(0) && !files.is_empty() {
                break;
            }
            if let Some(wanted) = &mut wanted {
                *wanted -= piece.seek_to_last(*wanted)?;
            }
            files.push_front(piece);
        }
        Ok(Self { path: path.to_owned(), files, line: Vec::new(), whole: false })
    }

    /// The next whole line, with its newline; none when there is no other by now.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>> {
        if std::mem::take(&mut self.whole) {
            self.line.clear();
        }
        loop {
            while let Some(piece) = self.files.front_mut() {
                if piece.read_line(&mut self.line)? == 0 && !piece.rewind_if_emptied()? {
                    break;
                }
                if self.line.last() == Some(&b'\n') {
                    self.whole = true;
                    return Ok(Some(&self.line));
                }
                if self.line.len() > LONGEST {
                    self.line.clear();
                }
            }
            if !self.next_file()? {
                return Ok(None);
            }
        }
    }

    /// Goes on to a younger file, if there is one.
    fn next_file(&mut self) -> Result<bool> {
        if self.files.len() > 1 {
            self.files.pop_front();
            return Ok(true);
        }
        let newest = match std::fs::metadata(&self.path) {
            Ok(meta) => meta.ino(),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        let current = self.files.front().map(|piece| piece.inode);
        if current == Some(newest) {
            return Ok(false);
        }
        // It was rotated away, maybe more than once; those between are younger than ours.
        let younger = pieces(&self.path, current)?;
        // Ours stays first: it may have grown between our last look and its rotation.
        let more = !younger.is_empty();
        self.files.extend(younger.into_iter().rev());
        Ok(more)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder};

    use super::*;

    fn all(tail: &mut Tail) -> String {
        let mut out = String::new();
        while let Some(line) = tail.next_line().unwrap() {
            out.push_str(std::str::from_utf8(line).unwrap());
        }
        out
    }

    fn compress(path: &Path, n: u32) {
        let file = File::open(rotated(path, n)).unwrap();
        let inode = file.metadata().unwrap().ino().to_le_bytes();
        let to = File::create(compressed(path, n)).unwrap();
        let mut to = GzBuilder::new().extra(inode.to_vec()).write(to, Compression::fast());
        to.write_all(&std::fs::read(rotated(path, n)).unwrap()).unwrap();
        to.finish().unwrap();
        std::fs::remove_file(rotated(path, n)).unwrap();
    }

    #[test]
    fn the_last_lines_are_found_in_compressed_files_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(rotated(&path, 2), "1\n2\n").unwrap();
        std::fs::write(rotated(&path, 1), "3\n4\n").unwrap();
        std::fs::write(&path, "5\n6\n7").unwrap();
        compress(&path, 2);
        compress(&path, 1);
        let last = |n| all(&mut Tail::open(&path, n).unwrap());
        assert_eq!(last(None), "1\n2\n3\n4\n5\n6\n");
        assert_eq!(last(Some(9)), "1\n2\n3\n4\n5\n6\n");
        assert_eq!(last(Some(3)), "4\n5\n6\n");
        assert_eq!(last(Some(1)), "6\n");
        assert_eq!(last(Some(0)), "");
    }

    #[test]
    fn a_follower_goes_over_rotation_and_compression_without_a_line_lost_or_doubled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "1\n").unwrap();
        let mut tail = Tail::open(&path, None).unwrap();
        assert_eq!(all(&mut tail), "1\n");
        let mut old = File::options().append(true).open(&path).unwrap();
        old.write_all(b"2\n").unwrap();
        std::fs::rename(&path, rotated(&path, 2)).unwrap();
        compress(&path, 2);
        std::fs::write(rotated(&path, 1), "3\n").unwrap();
        std::fs::write(&path, "4\n").unwrap();
        assert_eq!(all(&mut tail), "2\n3\n4\n");
        assert_eq!(all(&mut tail), "");
    }

    #[test]
    fn a_compressed_file_may_have_had_the_inode_of_a_younger_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "2\n").unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino().to_le_bytes();
        let to = File::create(compressed(&path, 1)).unwrap();
        let mut to = GzBuilder::new().extra(inode.to_vec()).write(to, Compression::fast());
        to.write_all(b"1\n").unwrap();
        to.finish().unwrap();
        assert_eq!(all(&mut Tail::open(&path, None).unwrap()), "1\n2\n");
    }

    #[test]
    fn what_a_killed_rotation_left_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(rotated(&path, 1), "1\n").unwrap();
        assert_eq!(all(&mut Tail::open(&path, None).unwrap()), "1\n");
    }

    #[test]
    fn an_emptied_file_is_read_from_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "1\n2\n").unwrap();
        let mut tail = Tail::open(&path, Some(0)).unwrap();
        assert_eq!(all(&mut tail), "");
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"3\n").unwrap();
        assert_eq!(all(&mut tail), "3\n");
    }
}
