//! Ctrl-C while a build goes on: its containers end first, then the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use dhow_image::build::cancel::Cancel;
use dhow_image::leftovers;
use nix::sys::signal::{SigSet, Signal};

/// Waits for signals.
pub struct Ending(Arc<AtomicI32>);

impl Ending {
    /// From now on the first signal stops the build, the second ends the program as it is. To be
    /// called before there is another thread.
    pub fn new(cancel: &Arc<Cancel>) -> Self {
        let caught = Arc::new(AtomicI32::new(0));
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            // `nohup` has it ignored: so it stays.
            if !is_ignored(signal) {
                set.add(signal);
            }
        }
        if set.thread_block().is_ok() {
            let (seen, cancel) = (Arc::clone(&caught), Arc::clone(cancel));
            let wait = move || {
                while let Ok(signal) = set.wait() {
                    if seen.swap(signal as i32, Ordering::SeqCst) != 0 {
                        leftovers::sweep();
                        std::process::exit(128 + signal as i32);
                    }
                    cancel.stop();
                }
            };
            // Without a thread the build can still be killed.
            let _ = std::thread::Builder::new().name("signals".into()).spawn(wait);
        }
        Self(caught)
    }

    /// The signal that has come.
    pub fn signal(&self) -> Option<i32> {
        Some(self.0.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }
}

/// KERNEL: proc_pid_status(5), `SigIgn`.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (signal as i32 - 1) & 1 == 1
}
