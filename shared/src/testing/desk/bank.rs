//! The bank that the card is charged at, as a replica sees it.

use std::time::Duration;

use tokio::time::{Instant, advance};

use crate::breaker::Settings;
use crate::breaker::class::Class;
use crate::breaker::fleet::Entry;
use crate::breaker::gate::{Admission, Gate, Limiter};

/// The gate of a bank, open.
pub(crate) fn bank() -> Gate {
    let limiter = Limiter::new("bank", "me", Settings::default(), Instant::now());
    limiter.seen(Entry::default(), 0);
    let gate = Gate::new(0, false, vec![limiter]);
    gate.looks_ahead();
    gate
}

/// A bank that gave no answer to eight messages, and may be asked again.
pub(crate) async fn doubted() -> Gate {
    let gate = bank();
    for number in 100..108 {
        let Admission::Call(permit) = gate.permit(gate.pulled(number)).await else { panic!() };
        let _holds = permit.finish(Class::Failed);
    }
    advance(Duration::from_millis(100)).await;
    gate
}
