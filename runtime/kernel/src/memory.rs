//! NUMA memory policy.

use crate::check;

/// set_mempolicy(2) on the calling thread; `nodes` is a bit mask, empty for none.
pub fn set_policy(mode: i32, nodes: &[u64]) -> nix::Result<()> {
    let (mask, bits) = match nodes {
        [] => (std::ptr::null(), 0),
        // KERNEL: mm/mempolicy.c get_nodes(): the count is one more than the bits that are read.
        some => (some.as_ptr(), some.len() * 64 + 1),
    };
    // SAFETY: `mask` is null with no bits, or points to the words of a live slice.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) }).map(drop)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_default_policy_takes_no_nodes_and_bind_takes_one() {
        // A kernel without NUMA has no such call.
        if super::set_policy(0, &[]) != Err(nix::errno::Errno::ENOSYS) {
            std::thread::spawn(|| assert_eq!(super::set_policy(2, &[1]), Ok(()))).join().unwrap();
            assert_eq!(super::set_policy(2, &[]), Err(nix::errno::Errno::EINVAL));
        }
    }
}
