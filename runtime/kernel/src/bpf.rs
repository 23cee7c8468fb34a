//! bpf(2), as far as cgroup v2's device access goes, and its instructions.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::check;

/// A character device, in `bpf_cgroup_dev_ctx.access_type`'s lower half.
pub const DEVICE_CHAR: i32 = 2;
/// A block device.
pub const DEVICE_BLOCK: i32 = 1;
/// Making a node, in the upper half.
pub const ACCESS_MKNOD: i32 = 1;
/// Opening for reading.
pub const ACCESS_READ: i32 = 2;
/// Opening for writing.
pub const ACCESS_WRITE: i32 = 4;

/// An extended BPF instruction, `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// Operation.
    pub code: u8,
    registers: u8,
    /// Offset of a load or a jump.
    pub off: i16,
    /// Operand.
    pub imm: i32,
}

impl Insn {
    const fn new(code: u8, destination: u8, source: u8, off: i16, imm: i32) -> Self {
        // KERNEL: two bit-fields, the destination first.
        let registers = if cfg!(target_endian = "little") {
            source << 4 | destination
        } else {
            destination << 4 | source
        };
        Self { code, registers, off, imm }
    }

    /// `to = *(u32 *)(from + off)`.
    pub const fn load_word(to: u8, from: u8, off: i16) -> Self {
        Self::new(0x61, to, from, off, 0)
    }

    /// `to &= imm`, in 32 bits.
    pub const fn and(to: u8, imm: i32) -> Self {
        Self::new(0x54, to, 0, 0, imm)
    }

    /// `to >>= imm`, in 32 bits.
    pub const fn shift_right(to: u8, imm: i32) -> Self {
        Self::new(0x74, to, 0, 0, imm)
    }

    /// `to = from`, in 32 bits.
    pub const fn copy(to: u8, from: u8) -> Self {
        Self::new(0xbc, to, from, 0, 0)
    }

    /// `to = imm`.
    pub const fn set(to: u8, imm: i32) -> Self {
        Self::new(0xb4, to, 0, 0, imm)
    }

    /// Skips `off` instructions when `a != imm`, in 32 bits.
    pub const fn skip_unless(a: u8, imm: i32, off: i16) -> Self {
        Self::new(0x56, a, 0, off, imm)
    }

    /// Skips `off` instructions when `a == imm`, in 32 bits.
    pub const fn skip_if(a: u8, imm: i32, off: i16) -> Self {
        Self::new(0x16, a, 0, off, imm)
    }

    /// Ends the program with the answer in register 0.
    pub const fn exit() -> Self {
        Self::new(0x95, 0, 0, 0, 0)
    }

    /// Sets how far a conditional jump skips; other instructions stay.
    pub fn aim(&mut self, off: i16) {
        if matches!(self.code, 0x56 | 0x16) {
            self.off = off;
        }
    }

    /// The destination register.
    pub const fn destination(self) -> usize {
        (if cfg!(target_endian = "little") { self.registers & 15 } else { self.registers >> 4 })
            as usize
    }

    /// The source register.
    pub const fn source(self) -> usize {
        (if cfg!(target_endian = "little") { self.registers >> 4 } else { self.registers & 15 })
            as usize
    }
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 1 << 1;

#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

#[repr(C)]
struct Attach {
    target_fd: u32,
    program_fd: u32,
    kind: u32,
    flags: u32,
    replace_bpf_fd: u32,
}

#[repr(C)]
struct Query {
    target_fd: u32,
    kind: u32,
    flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

#[repr(C)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

fn bpf<T>(command: libc::c_int, attr: &mut T) -> nix::Result<libc::c_long> {
    // SAFETY: the size is that of the live value, and the kernel reads no more
    // of it and writes no more to it; what its fields point to, each caller keeps alive.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) })
}

/// Loads a program of type `BPF_PROG_TYPE_CGROUP_DEVICE`.
///
/// EPERM without CAP_BPF or CAP_SYS_ADMIN in the first user namespace.
pub fn load_device_program(program: &[Insn]) -> nix::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let mut attr = Load {
        prog_type: TYPE_CGROUP_DEVICE,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    let fd = bpf(PROG_LOAD, &mut attr)?;
    // SAFETY: the answer is a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

const fn attachment(group: i32, program: i32, flags: u32) -> Attach {
    Attach {
        target_fd: group as u32,
        program_fd: program as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags,
        replace_bpf_fd: 0,
    }
}

/// Attaches a program to a cgroup v2 directory, beside those of its ancestors.
pub fn attach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> nix::Result<()> {
    let mut attr = attachment(group.as_raw_fd(), program.as_raw_fd(), ALLOW_MULTI);
    bpf(PROG_ATTACH, &mut attr).map(drop)
}

/// Takes a program off a cgroup v2 directory.
pub fn detach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> nix::Result<()> {
    bpf(PROG_DETACH, &mut attachment(group.as_raw_fd(), program.as_raw_fd(), 0)).map(drop)
}

/// The programs attached to a cgroup v2 directory itself, at most 64 of them.
pub fn device_programs(group: BorrowedFd<'_>) -> nix::Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; 64];
    let mut attr = Query {
        target_fd: group.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: ids.len() as u32,
        padding: 0,
    };
    bpf(PROG_QUERY, &mut attr)?;
    let mut programs = Vec::with_capacity(attr.count as usize);
    for id in ids.into_iter().take(attr.count as usize) {
        match bpf(PROG_GET_FD_BY_ID, &mut ById { id, next_id: 0, open_flags: 0 }) {
            // SAFETY: the answer is a new descriptor.
            Ok(fd) => programs.push(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
            // Gone meanwhile.
            Err(nix::errno::Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(programs)
}
