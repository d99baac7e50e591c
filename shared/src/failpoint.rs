//! Named places at which a test may kill the process, to show that a crash there is harmless.
//!
//! Without the feature `failpoints` a call compiles to nothing. With it, the environment names one
//! place, the hit at which to die, and a file that gets a line per kill.

/// Dies here by SIGKILL, if the environment says so.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn hit(_direction: schemas::ids::Direction, _place: &str) {}

#[cfg(feature = "failpoints")]
pub(crate) use armed::hit;

#[cfg(feature = "failpoints")]
mod armed {
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use schemas::ids::Direction;

    struct Armed {
        /// `run.after-effect`
        place: String,
        at: u64,
        log: std::path::PathBuf,
        hits: AtomicU64,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    #[expect(clippy::disallowed_methods, reason = "test-only: no configuration knows of it")]
    fn arm() -> Option<Armed> {
        let place = std::env::var("QUADRILLE_FAILPOINT").ok()?;
        let at = std::env::var("QUADRILLE_FAILPOINT_HIT").ok()?.parse().ok()?;
        let log = std::env::var("QUADRILLE_FAILPOINT_LOG").ok()?.into();
        Some(Armed { place, at, log, hits: AtomicU64::new(0) })
    }

    pub(crate) fn hit(direction: Direction, place: &str) {
        let Some(armed) = ARMED.get_or_init(arm) else { return };
        let named = armed.place.strip_prefix(direction.as_str()).and_then(|p| p.strip_prefix('.'));
        if named != Some(place) || armed.hits.fetch_add(1, Ordering::SeqCst) + 1 != armed.at {
            return;
        }
        let log = std::fs::OpenOptions::new().append(true).create(true).open(&armed.log);
        let _ = log.and_then(|mut log| writeln!(log, "{}", armed.place));
        let own = rustix::process::getpid();
        let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    }
}
