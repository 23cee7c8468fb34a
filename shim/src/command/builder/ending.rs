//! Ctrl-C while a build goes on: its containers end first, then the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use dhow_image::build::cancel::Cancel;
use dhow_image::leftovers;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Waits for signals. They are caught and not blocked: what is blocked here would be in RUNs, too.
pub struct Ending(Arc<AtomicI32>);

impl Ending {
    /// From now on the first signal stops the build, the second ends the program as it is.
    pub fn new(cancel: &Arc<Cancel>) -> Self {
        let caught = Arc::new(AtomicI32::new(0));
        // `nohup` has one ignored: so it stays.
        let ignored = ignored();
        let wanted = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|s| ignored >> (s - 1) & 1 == 0);
        if let Ok(mut signals) = Signals::new(wanted) {
            let (seen, cancel) = (Arc::clone(&caught), Arc::clone(cancel));
            let wait = move || {
                for signal in signals.forever() {
                    if seen.swap(signal, Ordering::SeqCst) != 0 {
                        leftovers::sweep();
                        std::process::exit(128 + signal);
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

/// The signals that are ignored, a bit each. KERNEL: proc_pid_status(5), `SigIgn`.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
