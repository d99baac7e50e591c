//! The point of no return: `go` is written before the step may act, and a cancellation or deadline
//! writes `stop` into the same slot. The first writer wins, and the loser reads so.

use serde_json::value::RawValue;

use crate::commit::{self, Committed, Resolved};
use crate::decode::Trigger;
use crate::delivery::Ending;
use crate::envelope::Outgoing;
use crate::failpoint;
use crate::ids::Direction;
use crate::kernel::Kernel;
use crate::slots::{self, Entry};

/// Lets a trigger pass once `go` stands in the log; passes at once where the flow has no pivot.
pub(crate) async fn pass<On>(kernel: &Kernel, trigger: &Trigger<On>) -> Result<(), Ending> {
    let Some(pivot) = kernel.row.pivot else { return Ok(()) };
    let slot = kernel.slot(pivot.slot, &trigger.saga);
    let occasion = kernel.occasion(trigger.this.clone(), trigger.traceparent.clone());
    let event = (pivot.go, nothing_more());
    let go = Outgoing::new(kernel.flow, slot, kernel.row.worker, event, &occasion);
    let stored = match commit::write_once(kernel, &go, trigger.this.sequence).await? {
        Resolved::Written => {
            failpoint::hit(Direction::Run, "after-pivot");
            return Ok(());
        }
        Resolved::Found(stored) => stored,
    };
    match slots::pivot(kernel.flow, kernel.row, &trigger.saga, &stored) {
        Entry::Done(_) => Ok(()),
        Entry::Refused(stop) => {
            let signal = commit::make_sure_of_signal(kernel, trigger, pivot.slot, &stop);
            Box::pin(signal).await?;
            Err(Ending::Committed(Committed::stopped(&stop)))
        }
        Entry::Alien => Err(commit::alien()),
    }
}

/// The data of an event whose type says it all.
pub(crate) fn nothing_more() -> &'static RawValue {
    serde_json::from_str("{}").expect("an empty object is JSON")
}
