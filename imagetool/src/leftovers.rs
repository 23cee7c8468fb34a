//! Files and directories in the making that lie where no `gc` comes by: beside archives and
//! bundles, and in folders for what is temporary. A program that is told to end takes them away.
//!
//! In the store, the next lease or `gc` sweeps after who died there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// So many paths are looked through before another is kept.
const MANY: usize = 64;

/// Their names are drawn by lot, so one that has been renamed is simply gone.
static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The program is about to end.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Something is in the making there.
pub(crate) fn note(path: &Path) {
    if is_ending() {
        return remove(path);
    }
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if made.len() >= MANY {
        made.retain(|path| path.symlink_metadata().is_ok());
    }
    made.push(path.to_owned());
}

/// Whether [`sweep`] has begun: what fails now fails for that reason alone.
pub fn is_ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// Takes away what hasn't got its name yet. For a program about to end: whoever is still at
/// work on it fails.
pub fn sweep() {
    ENDING.store(true, Ordering::SeqCst);
    let made = std::mem::take(&mut *MADE.lock().unwrap_or_else(PoisonError::into_inner));
    for path in &made {
        remove(path);
    }
}

fn remove(path: &Path) {
    // Other threads may still be filling it.
    for _ in 0..100 {
        match path.symlink_metadata() {
            Ok(about) if about.is_dir() => drop(fs::remove_dir_all(path)),
            Ok(_) => drop(fs::remove_file(path)),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_its_name_stays() {
        let tmp = tempfile::tempdir().unwrap();
        let at = |name: &str| tmp.path().join(name);
        fs::create_dir_all(at("dir/below")).unwrap();
        fs::write(at("dir/below/file"), "x").unwrap();
        fs::write(at("making"), "x").unwrap();
        for name in ["dir", "making", "never"] {
            note(&at(name));
        }
        fs::rename(at("making"), at("made")).unwrap();
        // As sweep() does; that one would take what other tests are making.
        let ours: Vec<PathBuf> = {
            let mut made = MADE.lock().unwrap();
            let (ours, others) = made.drain(..).partition(|p| p.starts_with(tmp.path()));
            *made = others;
            ours
        };
        assert_eq!(ours.len(), 3);
        for path in &ours {
            remove(path);
        }
        assert!(at("made").exists() && !at("dir").exists() && !at("making").exists());
    }
}
