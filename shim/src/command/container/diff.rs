//! `dhow diff`.

use clap::Args;
use dhow_image::layer::{Change, ChangeKind, changes};

use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::of_image;
use crate::output::Output;
use crate::reach;

/// Show what a container has changed of its image's files
///
/// A line each: A added, C changed, D deleted.
#[derive(Debug, Args)]
pub struct Diff {
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}

impl Diff {
    /// Sorted, parents before what they hold.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.perform(host, out);
        out.end(result)
    }

    fn perform(&self, host: &Host, out: &mut Output) -> Result<()> {
        let record = host.containers.find(&self.container)?.record;
        let all =
            reach::layers(host, &record).and_then(|layers| changes(&layers).map_err(of_image));
        let mut lines = Vec::new();
        for change in shown(host.containers.unless_gone(&self.container, all)?) {
            let sign = match change.kind {
                ChangeKind::Added => b"A ",
                ChangeKind::Modified | ChangeKind::Within => b"C ",
                ChangeKind::Deleted => b"D ",
            };
            lines.extend_from_slice(sign);
            lines.extend_from_slice(&change.path);
            lines.push(b'\n');
        }
        out.bytes(&lines);
        Ok(())
    }
}

/// Without mount points, and without directories in which nothing else has changed.
fn shown(all: Vec<Change>) -> Vec<Change> {
    let mut kept: Vec<Change> = Vec::new();
    // Children come first this way.
    for change in all.into_iter().rev() {
        let within = |path: &[u8]| {
            path.strip_prefix(change.path.as_slice()).is_some_and(|rest| rest.starts_with(b"/"))
        };
        let ours = change.kind == ChangeKind::Added
            && change.hollow
            && reach::MOUNT_POINTS.contains(&&change.path[1..]);
        let empty = change.kind == ChangeKind::Within
            && !kept.last().is_some_and(|last| within(&last.path));
        if !ours && !empty {
            kept.push(change);
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_mounts_need_is_not_shown() {
        use ChangeKind::{Added, Deleted, Modified, Within};
        let change = |path: &str, kind, hollow| Change { path: path.into(), kind, hollow };
        let all = vec![
            change("/dev", Added, true),
            change("/dev/pts", Added, true),
            change("/etc", Within, true),
            change("/etc/hosts", Added, true),
            change("/opt", Within, true),
            change("/opt/x", Deleted, false),
            change("/proc", Modified, true),
            change("/sys/fs/cgroup", Added, false),
        ];
        let kept: Vec<String> =
            shown(all).iter().map(|c| c.path.escape_ascii().to_string()).collect();
        assert_eq!(kept, ["/opt", "/opt/x", "/proc", "/sys/fs/cgroup"]);
    }
}
