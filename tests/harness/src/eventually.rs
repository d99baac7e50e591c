//! Waiting for something to become true: by looking again and again, never by one long sleep.

use std::future::Future;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

/// Longest wait; generous, because a busy machine must not fail a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks every 10 ms until `look` finds something.
///
/// # Panics
/// After a minute, saying what was waited for.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = until(what, async || Ok(look().await)).await;
    found.unwrap_or_else(|error| panic!("{error}"))
}

/// As [`eventually`], but `look` can also find that waiting longer makes no sense.
pub(crate) async fn until<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        ensure!(Instant::now() < end, "waited in vain for this: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for `done`, for at most as long as [`eventually`] does.
///
/// # Panics
/// After a minute, saying what was waited for.
pub async fn within_patience<T>(what: &str, done: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, done).await {
        Ok(done) => done,
        Err(_) => panic!("this did not happen in time: {what}"),
    }
}
