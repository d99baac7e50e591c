//! Named places at which a test may kill or stop the process, and acknowledgements that a test may
//! lose, to show that this is harmless.
//!
//! Without the feature `failpoints` a call compiles to nothing. With it, the environment names one
//! place, the hit that counts, what happens there, and a file that gets a line each time.

/// Dies here by SIGKILL, or stops by SIGSTOP, if the environment says so.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_direction: crate::ids::Direction, _place: &str) {}

/// Dies here, if the environment says that this saga kills each process that runs or undoes it.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn poisoned(_: crate::ids::Direction, _: &crate::SagaId, _attempt: u32) {}

/// Whether the next acknowledgement is to be lost on its way.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn loses_ack() -> bool {
    false
}

#[cfg(feature = "failpoints")]
pub use armed::hit;
#[cfg(feature = "failpoints")]
pub(crate) use armed::{loses_ack, poisoned};

#[cfg(feature = "failpoints")]
mod armed {
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use crate::ids::Direction;

    struct Armed {
        /// `run.after-effect`
        place: String,
        at: u64,
        signal: Signal,
        hits: AtomicU64,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(arm);
    static LOG: LazyLock<Option<PathBuf>> =
        LazyLock::new(|| variable("QUADRILLE_FAILPOINT_LOG").map(PathBuf::from));
    /// The share of acknowledgements that is lost: 0 to 1.
    static LOST_ACKS: LazyLock<f64> = LazyLock::new(|| {
        variable("QUADRILLE_FAILPOINT_LOST_ACKS")
            .and_then(|share| share.parse().ok())
            .unwrap_or(0.0)
    });

    /// `run.A17`, or `run.A17.2` for the second attempt of each process.
    static POISON: LazyLock<Option<String>> =
        LazyLock::new(|| variable("QUADRILLE_FAILPOINT_POISON"));

    #[expect(clippy::disallowed_methods, reason = "test-only: no configuration knows of it")]
    fn variable(name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn arm() -> Option<Armed> {
        let stop = variable("QUADRILLE_FAILPOINT_ACTION").is_some_and(|action| action == "stop");
        Some(Armed {
            place: variable("QUADRILLE_FAILPOINT")?,
            at: variable("QUADRILLE_FAILPOINT_HIT")?.parse().ok()?,
            signal: if stop { Signal::STOP } else { Signal::KILL },
            hits: AtomicU64::new(0),
        })
    }

    pub fn hit(direction: Direction, place: &str) {
        let Some(armed) = &*ARMED else { return };
        let named = armed.place.strip_prefix(direction.as_str()).and_then(|p| p.strip_prefix('.'));
        if named != Some(place) || armed.hits.fetch_add(1, Ordering::SeqCst) + 1 != armed.at {
            return;
        }
        note(&armed.place);
        let _ = kill_process(getpid(), armed.signal);
        // The stop signal may reach another thread first; this one must not go on before it stops.
        std::thread::sleep(std::time::Duration::from_millis(200));
    }

    pub(crate) fn poisoned(direction: Direction, saga: &crate::SagaId, attempt: u32) {
        let Some(poison) = POISON.as_deref() else { return };
        if poison == format!("{}.{saga}", direction.as_str())
            || poison == format!("{}.{saga}.{attempt}", direction.as_str())
        {
            note("poisoned");
            if variable("QUADRILLE_FAILPOINT_ACTION").is_some_and(|action| action == "panic") {
                panic!("a failpoint panics");
            }
            std::process::abort();
        }
    }

    pub(crate) fn loses_ack() -> bool {
        let loses = *LOST_ACKS > 0.0 && fastrand::f64() < *LOST_ACKS;
        if loses {
            note("lost ack");
        }
        loses
    }

    /// One write, so that the lines of several processes do not mix.
    fn note(what: &str) {
        let Some(path) = &*LOG else { return };
        let log = std::fs::OpenOptions::new().append(true).create(true).open(path);
        let _ = log.and_then(|mut log| log.write_all(format!("{what}\n").as_bytes()));
    }
}
