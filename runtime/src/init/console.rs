//! The container's terminal: opened inside, its master handed out.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use dhow_kernel::mount::{self as kernel, Tree};
use dhow_kernel::tty;
use nix::fcntl::OFlag;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::statfs::fstatfs;
use nix::unistd::fchown;

use super::child::Context;
use super::fault::{Because, Cause, Done};
use super::root::Root;
use crate::plan::{Pivot, Plan};
use crate::validate::process::Process;

/// devpts, linux/magic.h.
const DEVPTS_MAGIC: i64 = 0x1cd1;

/// Makes the terminal and covers /dev/console with it.
pub fn perform(plan: &Plan, c: &mut Context) -> Done {
    let Some(socket) = c.console.take() else {
        return Err(Cause::rule("process.terminal is set but nobody takes the terminal"));
    };
    let root = c.root()?;
    let peer = attach(root, &plan.process, socket.as_fd(), !plan.spaces.seen())?;
    if plan.pivot == Pivot::Chroot {
        return Ok(());
    }
    let target = root.file(c"dev/console")?;
    let tree =
        kernel::open_tree(peer.as_fd(), c"", Tree::Clone).because("open_tree", "the terminal")?;
    kernel::move_mount(tree.as_fd(), target.as_fd()).because("mount", "/dev/console")
}

/// Opens a terminal of the container's devpts, sends the master, and makes the
/// other end this session's terminal, if `own`, and its standard input, output and error.
pub fn attach(
    root: &Root,
    process: &Process,
    socket: BorrowedFd<'_>,
    own: bool,
) -> Done<std::os::fd::OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
    let master = root.open(c"dev/pts/ptmx", flags).because("open", "/dev/pts/ptmx")?.owned();
    // CVE: 2025-52565: only a master of a real devpts, and its peer without a path.
    let magic = fstatfs(&master).because("statfs", "/dev/pts/ptmx")?.filesystem_type().0;
    if magic != DEVPTS_MAGIC {
        return Err(Cause::rule("/dev/pts/ptmx is not on a devpts"));
    }
    tty::unlock(master.as_fd()).because("unlock", "the terminal")?;
    let peer = tty::peer(master.as_fd()).because("open", "the terminal's other end")?;
    let (rows, columns) = process.console_size;
    if rows != 0 && columns != 0 {
        tty::resize(master.as_fd(), rows, columns).because("resize", "the terminal")?;
    }
    let number = tty::number(master.as_fd()).because("name", "the terminal")?;
    let uid = nix::unistd::Uid::from_raw(process.uid);
    fchown(&peer, Some(uid), None).because("chown", "the terminal")?;
    send(socket, master.as_fd(), &format!("/dev/pts/{number}"))
        .because("send the terminal to", "the console socket")?;
    if own {
        tty::control(peer.as_fd()).because("control", "the terminal")?;
    }
    for fd in 0..3 {
        dhow_kernel::fd::place(peer.as_fd(), fd).because("dup2", "the terminal")?;
    }
    Ok(peer)
}

/// Engines read the name as the message and the master as its only descriptor.
pub fn send(socket: BorrowedFd<'_>, master: BorrowedFd<'_>, name: &str) -> nix::Result<()> {
    let fds = [master.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&fds)];
    let text = [IoSlice::new(name.as_bytes())];
    sendmsg::<()>(socket.as_raw_fd(), &text, &control, MsgFlags::MSG_NOSIGNAL, None).map(drop)
}
