//! Temporary files and directories, of which a signal leaves nothing behind either.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The present state.
static PENDING: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn pending() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As long as this lives, a signal that ends the process removes the path first.
#[derive(Debug)]
pub(super) struct Pending(PathBuf);

impl Pending {
    pub(super) fn new(path: &Path) -> Self {
        signals::watch();
        pending().insert(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        pending().remove(&self.0);
    }
}

#[cfg(unix)]
mod signals {
    use std::sync::Once;

    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::{iterator::Signals, low_level::emulate_default_handler};

    /// Watches for Ctrl-C and for being asked to end. Not before there is something to remove: until then the system's own way
    /// is as good.
    pub(super) fn watch() {
        static WATCHING: Once = Once::new();
        WATCHING.call_once(|| {
            let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else { return };
            let wait = move || {
                for signal in signals.forever() {
                    // Held until the process ends, so that nothing new is begun.
                    let pending = super::pending();
                    for path in pending.iter() {
                        let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_dir_all(path));
                    }
                    // Parent processes see that the signal ended it.
                    if emulate_default_handler(signal).is_err() {
                        std::process::exit(1);
                    }
                }
            };
            // Without the thread a signal would be caught and have no effect.
            if std::thread::Builder::new().name("signals".into()).spawn(wait).is_err() {
                log::debug!("no thread could be made that waits for signals");
            }
        });
    }
}

#[cfg(not(unix))]
mod signals {
    /// Elsewhere the system removes nothing either; files are there only while they are written.
    pub(super) fn watch() {}
}
