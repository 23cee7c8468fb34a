//! The end that comes from outside: ctrl-c, SIGTERM, a terminal that is gone, `--command-timeout`.
//! What isn't whole by then is nowhere visible; its files and directories go.

use std::fs;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dhow_image::build::cancel::Cancel;
use dhow_image::leftovers;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// A build that has to be stopped first, as its containers have.
static BUILD: OnceLock<Arc<Cancel>> = OnceLock::new();
/// The signal that has stopped it.
static STOPPED: AtomicI32 = AtomicI32::new(0);

/// From now on the first signal stops a build, and the program ends when that has.
pub fn stops(build: &Arc<Cancel>) {
    let _ = BUILD.set(Arc::clone(build));
}

/// The code to end with if a signal has stopped the build.
pub fn code_of_signal() -> Option<u8> {
    match STOPPED.load(Ordering::SeqCst) {
        0 => None,
        signal => u8::try_from(128 + signal).ok(),
    }
}

/// Ends the program by the signal it was sent, with nothing half-made left behind.
///
/// Signals that whoever started us has ignored (`nohup`) stay so.
pub fn on_signals() {
    let ignored = ignored();
    let wanted = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|s| ignored >> (s - 1) & 1 == 0);
    // Without a watch it is as after a kill: the next of us sweeps what it can find.
    let Ok(mut signals) = Signals::new(wanted) else { return };
    let watch = move || {
        for signal in signals.forever() {
            if let Some(build) = BUILD.get().filter(|build| !build.is_stopped()) {
                STOPPED.store(signal, Ordering::SeqCst);
                build.stop();
                continue;
            }
            leftovers::sweep();
            let _ = emulate_default_handler(signal);
        }
    };
    let _ = std::thread::Builder::new().name("signals".into()).spawn(watch);
}

/// Ends the program, with `last` said before, when its time is over.
pub fn after(limit: Duration, code: u8, last: impl FnOnce() + Send + 'static) {
    let watch = move || {
        std::thread::sleep(limit);
        last();
        leftovers::sweep();
        std::process::exit(i32::from(code));
    };
    // Without a thread there is no limit, but still the work.
    let _ = std::thread::Builder::new().name("timeout".into()).spawn(watch);
}

/// Goes on only if nobody is about to end the program: what failed because its files were taken
/// away is no error to tell of.
pub fn unless_ending() {
    while leftovers::is_ending() {
        std::thread::park();
    }
}

/// The signals that are ignored, a bit each. KERNEL: proc_pid_status(5), `SigIgn`.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
