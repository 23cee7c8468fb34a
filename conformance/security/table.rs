//! The one table: row → case → the flaw that the case has to see.

use crate::planted::{self, Flaw};
use crate::scene::{Scene, Verdict};
use crate::{
    amounts, calls, descriptors, ends, exposure, groups, links, masks, procfs, program, rights,
    shapes, targets, users,
};

/// One attack.
pub struct Case {
    /// The class of flaws.
    pub row: &'static str,
    /// Its name, by which it can be asked for.
    pub name: &'static str,
    /// Where the field has met it.
    pub class: &'static str,
    /// What must not come about.
    pub says: &'static str,
    /// Plays it.
    pub attack: fn(&Scene) -> Verdict,
    /// Makes a runtime that has the flaw.
    pub planted: Flaw,
}

impl Case {
    /// Whether a word of the command line means this one.
    pub fn holds(&self, part: &str) -> bool {
        [self.row, self.name, self.class].iter().any(|text| text.contains(part))
    }
}

macro_rules! table {
    ($($row:literal { $($name:literal, $class:literal, $says:literal, $attack:path, $flaw:path;)* })*) => {
        &[$($(Case { row: $row, name: $name, class: $class, says: $says, attack: $attack, planted: $flaw },)*)*]
    };
}

/// All cases, by row.
#[rustfmt::skip]
pub const TABLE: &[Case] = table! {
    "descriptors and directory" {
        "cwd-run", "CVE-2024-21626", "run's cwd is a directory of the host, by a leaked descriptor", descriptors::cwd_of_run, planted::cwd_of_run;
        "cwd-exec", "CVE-2024-21626", "exec's cwd is one", descriptors::cwd_of_exec, planted::cwd_of_exec;
        "descriptors", "CVE-2024-21626", "a program has the caller's descriptors", descriptors::inherited, planted::inherited;
        "created", "CVE-2024-21626", "what waits for start holds a file or directory of the host", descriptors::created, planted::inherited;
        "entering", "CVE-2016-9962", "a process of exec shows the host to CAP_SYS_PTRACE", descriptors::entering, planted::entering;
        "entering-user", "CVE-2016-9962", "so does one of an ordinary user's, and the user's files", descriptors::entering_as_user, planted::entering_as_user;
        "entering-rights", "CVE-2016-9962", "a process of exec shows it capabilities that its program hasn't", descriptors::entering_with_rights, planted::entering_with_rights;
        "foreign-pids", "CVE-2016-9962", "who joins another container's pid namespace shows that one the host or capabilities", descriptors::foreign_pids, planted::foreign_pids;
        "cwd-link", "CVE-2026-55686", "a cwd behind a link is made on the host", descriptors::cwd_behind_link, planted::cwd_behind_link;
        "null-inode", "streams", "root inside changes the mode of the caller's null device", descriptors::null_inode, planted::null_inode;
    }
    "the runtime's program" {
        "own-program", "CVE-2019-5736", "a container writes to the runtime's file, by /proc/self/exe or while exec enters", program::overwritten, planted::own_program;
        "own-remounted", "CVE-2019-5736", "the same where the host has it on a read-only mount, once that is writable", program::remounted, planted::own_program;
    }
    "mount targets" {
        "target-swap", "CVE-2021-30465", "a mount lands outside while its target is exchanged for a link", targets::swapped_directory, planted::made_by_path;
        "file-swap", "CVE-2024-45310", "an empty file is made outside by such an exchange", targets::swapped_file, planted::made_by_path;
        "target-link", "CVE-2019-18837", "a target behind a link of the image is made outside", targets::linked, planted::made_by_path;
        "copy-up", "CVE-2022-23648", "a tmpfs is filled from outside, by a link of the image", targets::copied_up, planted::copied_up;
    }
    "links of the root" {
        "dev-link", "CVE-2026-41579, CVE-2026-47766, CVE-2025-24965", "devices are made where the image's /dev leads", links::dev, planted::dev_link;
        "dev-swap", "CVE-2026-41579, CVE-2021-30465", "so they are while /dev is exchanged for a link", links::dev_swapped, planted::dev_swapped;
        "proc-link", "CVE-2019-19921, CVE-2023-27561, CVE-2023-28642", "masks and read-only paths miss a /proc that is a link", links::proc, planted::unmasked;
        "proc-swap", "CVE-2019-19921, CVE-2023-27561", "so do they while /proc is exchanged for one", links::proc_swapped, planted::unmasked;
        "sys-link", "CVE-2019-19921", "the image's /sys leads outside", links::sys, planted::sys_link;
        "volume-proc", "CVE-2019-16884", "a volume takes the place of /proc", links::volume_over_proc, planted::volume_over_proc;
    }
    "masks and console" {
        "null-link", "CVE-2025-31133", "what masks a path is where the image's /dev/null leads", masks::null_is_a_link, planted::unmasked;
        "null-file", "CVE-2025-31133", "what masks a path is a file of the image", masks::null_is_a_file, planted::unmasked;
        "null-device", "CVE-2025-31133", "what masks a path is another device", masks::null_is_another_device, planted::unmasked;
        "null-swap", "CVE-2025-31133", "the same while both are exchanged", masks::null_is_swapped, planted::unmasked;
        "console-link", "CVE-2025-52565", "/dev/console is where the image's pts/0 leads", masks::console, planted::console;
    }
    "writes to procfs" {
        "label", "CVE-2019-16884, CVE-2025-52881", "a label is written to a file that lies over attr/exec", procfs::label, planted::label;
        "sysctl", "CVE-2025-52881", "a sysctl is written to a file that lies over it", procfs::sysctl, planted::sysctl;
    }
    "capabilities" {
        "caps-run", "CVE-2022-29162, CVE-2022-24769", "a program has inheritable or ambient capabilities that nobody gave", rights::of_run, planted::caps_of_run;
        "caps-exec", "CVE-2022-29162, CVE-2022-27650", "so has a process of exec, with --cap and without", rights::of_exec, planted::caps_of_exec;
        "caps-user", "CVE-2016-8867", "a plain user has capabilities", rights::of_users, planted::caps_of_run;
    }
    "users and groups" {
        "uid-range", "CVE-2024-40635, CVE-2026-46680", "an id that is no id becomes another", users::ranges, planted::ids_wrap;
        "exec-user", "CVE-2026-30892, CVE-2016-3697", "exec --user N is somebody else", users::of_exec, planted::exec_user;
        "caller-groups", "CVE-2022-2990, CVE-2023-25173", "a program is in the caller's groups", users::groups_of_caller, planted::groups_of_caller;
        "passwd-fifo", "CVE-2024-9676", "a fifo as /etc/passwd holds the start", users::passwd_fifo, planted::reads_passwd;
        "passwd-link", "CVE-2024-9676", "/etc/passwd is read where the image's link leads", users::passwd_link, planted::reads_passwd;
        "passwd-huge", "CVE-2026-47262", "a passwd of 2 GiB is read into memory", users::passwd_huge, planted::reads_passwd;
    }
    "control groups" {
        "cgroup-dots", "crun 1.28, CVE-2025-47291", "\"..\" in cgroupsPath or annotations leads out", groups::dots, planted::cgroup_dots;
        "cgroup-write", "CVE-2023-25809", "a program writes to the groups it sees", groups::writes, planted::cgroup_writes;
    }
    "system calls" {
        "calls-native", "CVE-2026-31431", "AF_ALG, io_uring or an unknown call is let through", calls::native, planted::unfiltered;
        "calls-foreign", "CVE-2026-31431, moby#52547", "so it is as a call of i386 (socketcall) or x32", calls::foreign, planted::unfiltered;
    }
    "what the host shows" {
        "hook-env", "CVE-2025-23266", "hooks have the container's variables", exposure::hooks, planted::hooks;
        "env-shared", "CVE-2021-21334, CVE-2020-14370", "a program has the caller's variables", exposure::variables, planted::variables;
        "state-modes", "CVE-2021-41103, CVE-2024-25621", "others can read or write the state", exposure::modes, planted::modes;
        "abstract", "CVE-2020-15257", "a container waits behind an abstract socket", exposure::abstract_sockets, planted::abstract_sockets;
        "annotations", "CVE-2026-53488", "an annotation makes the runtime write to a file", exposure::annotations, planted::annotations;
    }
    "the end" {
        "first-thread", "status by /proc", "a container whose first thread has ended can't be killed or deleted", ends::first_thread, planted::sees_one_thread;
    }
    "amounts" {
        "exec-left", "CVE-2025-64329, CVE-2026-53495", "exec waits for, or keeps something of, what its process leaves behind", amounts::execs, planted::execs;
        "config-shapes", "hostile config.json", "a config of the wrong shape crashes the runtime or leaves half a container", shapes::refused, planted::crashes;
        "id-dots", "container ids", "an id is taken for a path", shapes::ids, planted::ids_are_paths;
    }
};
