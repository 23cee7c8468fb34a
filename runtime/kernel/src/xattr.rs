//! Extended attributes by descriptor: set, get, list; and of a name in an open
//! directory without following a link (symbolic links and device nodes can't be
//! opened for the f*xattr calls).
//!
//! KERNEL: xattr(7); `setxattrat` exists only since 6.13, so the name in a
//! directory is reached as `/proc/self/fd/DIR/NAME` by the l*xattr calls: the
//! magic link leads to the very directory that is open, and the last component
//! is not followed.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// The largest value the kernel takes (XATTR_SIZE_MAX) and the largest list of names.
const MAX: usize = 64 * 1024;

/// Sets an attribute of an open file or directory.
pub fn set(fd: impl AsFd, name: &CStr, value: &[u8]) -> nix::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: both pointers are valid for the lengths given and live through the call.
    let rc = unsafe { libc::fsetxattr(fd, name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(rc).map(drop)
}

/// Sets an attribute of `file` (one component) in the open directory `dir`.
pub fn set_at(dir: impl AsFd, file: &[u8], name: &CStr, value: &[u8]) -> nix::Result<()> {
    let path = proc_path(dir.as_fd(), file)?;
    // SAFETY: all pointers are valid for their lengths and live through the call.
    let rc = unsafe {
        libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    Errno::result(rc).map(drop)
}

/// Removes an attribute of an open file or directory.
pub fn remove(fd: impl AsFd, name: &CStr) -> nix::Result<()> {
    // SAFETY: `name` is NUL-terminated and lives through the call.
    let rc = unsafe { libc::fremovexattr(fd.as_fd().as_raw_fd(), name.as_ptr()) };
    Errno::result(rc).map(drop)
}

/// Removes an attribute of `file` (one component) in the open directory `dir`.
pub fn remove_at(dir: impl AsFd, file: &[u8], name: &CStr) -> nix::Result<()> {
    let path = proc_path(dir.as_fd(), file)?;
    // SAFETY: both pointers are NUL-terminated and live through the call.
    let rc = unsafe { libc::lremovexattr(path.as_ptr(), name.as_ptr()) };
    Errno::result(rc).map(drop)
}

/// The value of an attribute of an open file or directory; `None` if it has none.
pub fn get(fd: impl AsFd, name: &CStr) -> nix::Result<Option<Vec<u8>>> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: `read_sized` hands over a buffer valid for `len` bytes.
    absent(read_sized(|buf, len| unsafe { libc::fgetxattr(fd, name.as_ptr(), buf, len) }))
}

/// The value of an attribute of `file` in `dir`; `None` if it has none.
pub fn get_at(dir: impl AsFd, file: &[u8], name: &CStr) -> nix::Result<Option<Vec<u8>>> {
    let path = proc_path(dir.as_fd(), file)?;
    // SAFETY: `read_sized` hands over a buffer valid for `len` bytes.
    absent(read_sized(|buf, len| unsafe {
        libc::lgetxattr(path.as_ptr(), name.as_ptr(), buf, len)
    }))
}

/// The names of the attributes of an open file or directory.
pub fn list(fd: impl AsFd) -> nix::Result<Vec<CString>> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: `read_sized` hands over a buffer valid for `len` bytes.
    names(read_sized(|buf, len| unsafe { libc::flistxattr(fd, buf.cast(), len) }))
}

/// The names of the attributes of `file` in `dir`.
pub fn list_at(dir: impl AsFd, file: &[u8]) -> nix::Result<Vec<CString>> {
    let path = proc_path(dir.as_fd(), file)?;
    // SAFETY: `read_sized` hands over a buffer valid for `len` bytes.
    names(read_sized(|buf, len| unsafe { libc::llistxattr(path.as_ptr(), buf.cast(), len) }))
}

fn proc_path(dir: BorrowedFd<'_>, file: &[u8]) -> nix::Result<CString> {
    if file.is_empty() || file == b".." || file.contains(&b'/') {
        return Err(Errno::EINVAL);
    }
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(file);
    CString::new(path).map_err(|_| Errno::EINVAL)
}

/// Runs a "size, then data" call: a first try with a small buffer answers nearly always.
fn read_sized(call: impl Fn(*mut libc::c_void, usize) -> isize) -> nix::Result<Vec<u8>> {
    let mut buf = vec![0u8; 256];
    loop {
        match Errno::result(call(buf.as_mut_ptr().cast(), buf.len())) {
            Ok(n) => {
                buf.truncate(n.cast_unsigned());
                return Ok(buf);
            }
            Err(Errno::ERANGE) if buf.len() < MAX => buf.resize(MAX, 0),
            Err(e) => return Err(e),
        }
    }
}

fn absent(found: nix::Result<Vec<u8>>) -> nix::Result<Option<Vec<u8>>> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(None),
        Err(e) => Err(e),
    }
}

fn names(found: nix::Result<Vec<u8>>) -> nix::Result<Vec<CString>> {
    match found {
        Ok(list) => Ok(list
            .split(|&b| b == 0)
            .filter(|n| !n.is_empty())
            .filter_map(|n| CString::new(n).ok())
            .collect()),
        Err(Errno::EOPNOTSUPP) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_is_refused() {
        let dir = std::fs::File::open("/").unwrap();
        assert_eq!(set_at(&dir, b"a/b", c"user.x", b"").unwrap_err(), Errno::EINVAL);
        assert_eq!(list_at(&dir, b"..").unwrap_err(), Errno::EINVAL);
    }

    #[test]
    fn missing_attribute_is_none() {
        let dir = std::fs::File::open("/").unwrap();
        assert_eq!(get(&dir, c"user.dhow-surely-not-there").unwrap(), None);
    }
}
