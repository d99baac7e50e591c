//! How long a command awaits what becomes of a saga, and what it says at the end of that; the same
//! for every command, so that a script learns it once.

use std::time::Duration;

use quadrille::nats::NatsBroker;
use quadrille::{Flow, SagaId};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::output::{QUIET, Ui, duration};
use crate::why;

/// How long a saga is awaited. One that takes longer waits for something, and `why` says for what.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Looks again and again until there is an answer; `None` if there is none within [`LONGEST`].
///
/// # Errors
/// Those of `look`, at once.
pub async fn until<T>(
    every: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let looking = async {
        loop {
            tick.tick().await;
            if let Some(found) = look().await? {
                return Ok(found);
            }
        }
    };
    timeout(LONGEST, looking).await.ok().transpose()
}

/// What a wait says while it lasts: what it waits for, after a second, once for each change.
pub struct Waits {
    ui: Ui,
    began: Instant,
    told: String,
}

impl Waits {
    pub fn begin(ui: Ui) -> Self {
        Self { ui, began: Instant::now(), told: String::new() }
    }

    /// How long it lasts by now.
    pub fn lasts(&self) -> Duration {
        self.began.elapsed()
    }

    /// `now` is what it waits for; nothing is said of an empty one.
    pub fn tell(&mut self, now: String) {
        if now != self.told && !now.is_empty() && self.lasts() > Duration::from_secs(1) {
            self.ui.note(self.ui.on_stderr.paint(QUIET, &now));
            self.told = now;
        }
    }
}

/// Says what became of a saga after so long: `completed`, `has not ended`; and why, unless that is
/// what was wished for.
///
/// # Errors
/// When the broker does not answer.
pub async fn tell(
    broker: &NatsBroker,
    flow: &'static Flow,
    id: &SagaId,
    (became, is_wished_for): (&str, bool),
    took: Duration,
    ui: Ui,
) -> anyhow::Result<()> {
    if !is_wished_for {
        ui.note(why::sentence(&why::ask(broker, flow, id, ui.tool).await?.1));
    }
    let took = duration(took.as_secs_f64() * 1e3);
    let said = format!("{id} {became} after {took}; `{} trace {id}` tells its story", ui.tool);
    ui.note(ui.on_stderr.paint(QUIET, said));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_what_is_found_and_otherwise_after_a_minute() {
        let began = Instant::now();
        let found = until(SECOND, async || Ok((began.elapsed() >= 3 * SECOND).then_some("it")));
        assert_eq!(found.await.unwrap(), Some("it"));
        assert_eq!(began.elapsed(), 3 * SECOND);
        let began = Instant::now();
        assert_eq!(until::<()>(SECOND, async || Ok(None)).await.unwrap(), None);
        assert_eq!(began.elapsed(), LONGEST);
        let never = until::<()>(SECOND, async || std::future::pending().await);
        assert_eq!(never.await.unwrap(), None, "a look without an answer does not hold it");
        until::<()>(SECOND, async || anyhow::bail!("no log")).await.unwrap_err();
    }
}
