//! What strikes have found, one case each.

use e2e::{World, needs};
use nix::libc;

use super::scene::portrait;
use super::uses::on;
use super::{After, Case};
use crate::runtime::lifecycle::create;

#[test]
fn bug_a_create_that_could_not_lock_its_directory_left_it() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let case = Case::makes("create", &w, &b, &["create", "-b", b.path(), b.id()]);
    case.strike_at("parent reserve", libc::SYS_openat);
    case.strike_at("parent reserve", libc::SYS_flock);
}

/// A second one was mounted over it, and the container ran on.
#[test]
fn bug_a_tmpfs_for_the_groups_that_could_not_be_entered_stayed_under_another() {
    needs!(Machine);
    if !std::path::Path::new("/sys/fs/cgroup/memory").exists() {
        return;
    }
    let w = World::new();
    let b = w.bundle("b", &portrait());
    let case = Case::makes("run", &w, &b, &["run", "-b", b.path(), b.id()]);
    case.strike_at("init mounts", libc::SYS_chdir);
}

/// It recorded no process, and `delete` could not end the one there was.
#[test]
fn bug_a_create_that_could_not_tell_its_process_left_it_running() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let case = Case::makes("create", &w, &b, &["create", "-b", b.path(), b.id()]);
    case.strike_at("parent record", libc::SYS_read);
    case.strike_at("parent record", libc::SYS_openat);
}

/// It waited for an answer of the process that waited for it.
#[test]
fn bug_an_exec_that_could_not_say_go_waited_for_ever() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    on("exec", &w, &b, &["exec", b.id(), "true"], After::Same)
        .strike_at("parent go", libc::SYS_write);
}

#[test]
fn bug_a_pause_that_failed_left_it_frozen() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let pause = ["pause", b.id()];
    on("pause", &w, &b, &pause, After::Same).strike_at("parent end", libc::SYS_read);
    let ready = || {
        create(&w, &b);
        None
    };
    let created = Case { ready: Box::new(ready), ..on("pause", &w, &b, &pause, After::Same) };
    created.strike_at("parent end", libc::SYS_rename);
}

/// The record of a container that ran on was thrown away, for it could not be read.
#[test]
fn bug_a_delete_that_could_not_read_the_record_lost_a_running_container() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let case = on("delete", &w, &b, &["delete", "--force", b.id()], After::Container);
    case.strike_at("parent kill", libc::SYS_openat);
    case.strike_at("parent kill", libc::SYS_read);
}

/// What can't be looked at just now has not ended.
#[test]
fn bug_a_container_was_called_stopped_when_it_could_not_be_looked_at() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let case = on("state", &w, &b, &["state", b.id()], After::Same);
    for call in [libc::SYS_openat, libc::SYS_read, libc::SYS_pidfd_open] {
        case.strike_at("parent end", call);
    }
}

/// Root inside could have changed the mode of the host's null device.
#[test]
fn bug_the_host_s_null_device_stayed_when_the_container_s_could_not_be_opened() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sh", "-c", "stat -L -c %d /proc/self/fd/0 /dev/null | uniq | wc -l"]);
    let case = Case::makes("run", &w, &b, &["run", "-b", b.path(), b.id()]);
    case.strike_at("init credentials", libc::SYS_openat);
    case.strike_at("init credentials", libc::SYS_newfstatat);
    case.strike_at("init credentials", libc::SYS_dup2);
}

#[test]
fn bug_a_state_that_could_not_be_written_said_nothing() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    on("state", &w, &b, &["state", b.id()], After::Same).strike_at("end 0", libc::SYS_write);
}

/// The record kept the ids of mounts that were taken back, and `checkpoint` wanted them removed.
#[test]
fn bug_mounts_that_could_not_all_be_added_stayed_in_the_record() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let list = super::reads::list(&w, &b);
    let case = on("mounts add", &w, &b, &["mounts", "add", b.id(), &list], After::Same);
    case.strike_at("end 1", libc::SYS_fsopen);
    // Told to keep them in vain, its process takes them back, and nobody said so.
    case.strike_at("parent mounts", libc::SYS_write);
    case.strike_at("parent mounts", libc::SYS_read);
}

/// It was left out without a word.
#[test]
fn bug_a_container_whose_record_could_not_be_read_was_not_listed() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    let case = on("list", &w, &b, &["list", "--format", "json"], After::Same);
    for call in [libc::SYS_openat, libc::SYS_read, libc::SYS_getdents64] {
        case.strike_at("parent end", call);
    }
}

/// criu waited for a request at a socket that lay, unheard, with whom waited for criu.
#[test]
fn bug_a_checkpoint_that_could_not_hear_of_criu_s_socket_waited_for_ever() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    super::criu::beside(&w, &b).strike_at("parent criu", libc::SYS_recvmsg);
}

/// Its criu stayed in the groups.
#[test]
fn bug_what_was_left_of_a_killed_restore_could_not_be_deleted() {
    needs!(Machine);
    let w = World::new();
    let b = w.bundle("b", &["sleep", "1000"]);
    super::criu::restore(&w, &b).strike_by(super::uses::KILL, "parent criu", libc::SYS_recvmsg);
}
