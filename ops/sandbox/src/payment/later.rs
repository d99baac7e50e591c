//! What happens to an intent by itself, some time after the answer: a payment that was `processing`
//! succeeds, a refund that was `pending` ends.

use jiff::Timestamp;

use super::fact;
use crate::intent::{Intent, RefundStatus, Status};
use crate::ledger::{Effect, Fact};

/// The intent as it is now, and what happened until now; `None` if nothing did.
pub(super) fn after(mut intent: Intent, now: Timestamp) -> Option<(Intent, Vec<Fact>)> {
    let (mut facts, mut changed) = (Vec::new(), false);
    if let Some(later) = intent.succeeds.take_if(|later| later.at <= now) {
        facts.push(capture(&mut intent, &later.key));
        changed = true;
    }
    for at in 0..intent.refunds.len() {
        let refund = &mut intent.refunds[at];
        let Some((later, status)) = refund.ends.take_if(|(later, _)| later.at <= now) else {
            continue;
        };
        changed = true;
        refund.status = status;
        let amount = refund.amount;
        match status {
            RefundStatus::Succeeded => {
                facts.push(fact(Effect::Refunded, &intent, amount, &later.key));
            }
            RefundStatus::Failed | RefundStatus::Pending => intent.amount_refunded -= amount,
        }
    }
    changed.then_some((intent, facts))
}

/// The money is the shop's.
pub(super) fn capture(intent: &mut Intent, key: &str) -> Fact {
    intent.status = Status::Succeeded;
    intent.amount_received = intent.amount;
    fact(Effect::Captured, intent, intent.amount, key)
}
