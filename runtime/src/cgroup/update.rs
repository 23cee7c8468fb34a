//! Changing limits of a group that has some: an order that the kernel takes.

use super::limit::Limit;

const MEMORY: &str = "memory.limit_in_bytes";
const BOTH: &str = "memory.memsw.limit_in_bytes";

/// Puts limits into an order in which each is valid beside those that stand.
///
/// KERNEL: cgroup v1 wants memory never above memory and swap together: what
/// grows is written from the wider limit on, what shrinks the other way.
/// `read` gives a file of the memory group.
pub(super) fn order(
    mut limits: Vec<Limit>,
    read: impl Fn(&'static str) -> Option<String>,
) -> Vec<Limit> {
    let at = |limits: &[Limit], file| limits.iter().position(|limit| limit.file == file);
    let (Some(memory), Some(both)) = (at(&limits, MEMORY), at(&limits, BOTH)) else {
        return limits;
    };
    // Unlimited is a number beyond any that one asks for, and -1 beyond that.
    let number = |text: &str| text.parse::<i64>().ok().filter(|n| *n >= 0).unwrap_or(i64::MAX);
    let now = read(BOTH).map_or(i64::MAX, |text| number(&text));
    let grows = number(&limits[both].value) > now;
    if grows == (memory < both) {
        limits.swap(memory, both);
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(memory: i64, swap: i64, now: &str) -> Vec<String> {
        let limits = vec![
            Limit::new("memory", MEMORY, memory, ""),
            Limit::new("memory", BOTH, swap, ""),
            Limit::new("pids", "pids.max", 1, ""),
        ];
        let ordered = order(limits, |_| Some(now.to_owned()));
        ordered.into_iter().map(|limit| limit.file.into_owned()).collect()
    }

    #[test]
    fn growing_limits_start_with_the_wider_one() {
        assert_eq!(files(200, 400, "100"), [BOTH, MEMORY, "pids.max"]);
        assert_eq!(files(-1, -1, "100"), [BOTH, MEMORY, "pids.max"]);
        assert_eq!(files(20, 40, "100"), [MEMORY, BOTH, "pids.max"]);
        assert_eq!(files(20, 40, "9223372036854771712"), [MEMORY, BOTH, "pids.max"]);
    }
}
