//! Which ids an ordinary user may hand out: subuid(5) and subgid(5).

use crate::layer::{IdMap, Range};

/// KERNEL: user_namespaces(7): a map has at most 340 lines.
const MOST: usize = 340;

/// The name of a user, by passwd(5).
pub(super) fn name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// The runs of ids that `file` gives to a user, by name or by number: first id and how many.
pub(super) fn granted(file: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let who = fields.next()?;
        let run = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let ours = fields.next().is_none() && (Some(who) == name || who == number);
        let whole = run.1 > 0 && u32::checked_add(run.0, run.1).is_some();
        (ours && whole).then_some(run)
    };
    file.lines().filter_map(line).collect()
}

/// The map of a user namespace: its root is `own`, and what follows are the runs, one after another.
pub(super) fn map(own: u32, runs: &[(u32, u32)]) -> IdMap {
    let mut all = vec![Range { inside: 0, outside: own, size: 1 }];
    let mut next = 1u32;
    for &(outside, size) in runs.iter().take(MOST - 1) {
        let Some(end) = next.checked_add(size) else { break };
        all.push(Range { inside: next, outside, size });
        next = end;
    }
    IdMap(all)
}

/// What /proc/PID/uid_map says.
pub(super) fn read(text: &str) -> IdMap {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Range { inside: next()?, outside: next()?, size: next()? })
    };
    IdMap(text.lines().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_a_users_by_name_or_by_number() {
        let passwd = "root:x:0:0::/:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(name(passwd, 1000), Some("ann"));
        assert_eq!(name(passwd, 1001), None);
        let file = "ann:100000:65536\nbob:200000:65536\n# x\n1000:300000:10\nann:1:0\nann:x:1\n\
            ann:4294967295:2\n";
        assert_eq!(granted(file, Some("ann"), 1000), [(100_000, 65536), (300_000, 10)]);
        assert_eq!(granted(file, None, 1000), [(300_000, 10)]);
        assert!(granted(file, Some("carl"), 1003).is_empty());
    }

    #[test]
    fn root_within_is_the_user_and_the_ranges_follow() {
        let map = map(1000, &[(100_000, 65536), (300_000, 10)]);
        assert_eq!((map.outside(0), map.outside(1)), (Some(1000), Some(100_000)));
        assert_eq!((map.outside(65537), map.outside(65546)), (Some(300_000), Some(300_009)));
        assert_eq!(map.outside(65547), None);
        assert_eq!(
            read("         0       1000          1\n         1     100000      65536\n").0.len(),
            2
        );
    }

    proptest! {
        #[test]
        fn any_file_is_read_without_harm(file: String, uid: u32) {
            let runs = granted(&file, Some("a"), uid);
            let map = map(uid, &runs);
            prop_assert!(map.0.len() <= MOST);
            read(&file);
            name(&file, uid);
        }
    }
}
