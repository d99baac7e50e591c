//! Whether the ids of orders can still be used, looked up in batches before they are sent.
//!
//! Only a courtesy: where the broker gives no answer, or the placer may not read, the orders are
//! sent all the same, and how many those were is told once.

use std::cell::Cell;

use quadrille::SagaId;
use quadrille::broker::Broker;
use quadrille::log::spent::spent;
use quadrille::log::story::Occupied;
use quadrille_tool::output::Ui;
use schemas::order_fulfilment::FLOW;

/// Ids that are looked up at once; enough that a look costs an order next to nothing.
pub(super) const AT_ONCE: usize = 64;

/// Looks at ids, and counts those that it could not look at.
pub(super) struct Looks<'b> {
    broker: &'b dyn Broker,
    /// Batches to be sent without a look, because the last ones had no answer: after each such
    /// look about twice as many, so that who may not read waits for only a few.
    skip: Cell<u32>,
    failed: Cell<u32>,
    unseen: Cell<u64>,
}

impl<'b> Looks<'b> {
    pub(super) fn new(broker: &'b dyn Broker) -> Self {
        Self { broker, skip: Cell::new(0), failed: Cell::new(0), unseen: Cell::new(0) }
    }

    /// What spends each of these ids, in their order; `None` for one that is free, or unseen.
    pub(super) async fn spent(&self, ids: &[&SagaId]) -> Vec<Option<Occupied>> {
        let found = match self.skip.get().checked_sub(1) {
            Some(left) => {
                self.skip.set(left);
                None
            }
            None => {
                let found = spent(self.broker, &FLOW, ids).await;
                let failed = self.failed.get();
                let (skip, failed) =
                    if found.is_some() { (0, 0) } else { (failed, failed.saturating_mul(2) + 1) };
                self.skip.set(skip);
                self.failed.set(failed);
                found
            }
        };
        found.unwrap_or_else(|| {
            self.unseen.set(self.unseen.get() + ids.len() as u64);
            vec![None; ids.len()]
        })
    }

    /// Says how many were not looked at, if any.
    pub(super) fn tell(&self, ui: Ui) {
        let orders = match self.unseen.get() {
            0 => return,
            1 => "1 order".to_owned(),
            many => format!("{many} orders"),
        };
        ui.note(format!(
            "of {orders} it is not known whether the id was spent, because the broker did not \
             say in time what the log has of it, or you may not read it: an order under an id \
             that was never used before is safe"
        ));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use jiff::Timestamp;
    use quadrille::broker::{Stored, Unavailable};

    use super::*;

    /// Fails so many looks, with an answer or without one; then `orders.payment.A1` holds junk.
    struct Script {
        failures: Mutex<u32>,
        is_silent: bool,
    }

    impl Broker for Script {
        fn last_of_many<'a>(
            &'a self,
            _: &'a str,
            _: Vec<String>,
        ) -> BoxFuture<'a, Result<Vec<Stored>, Unavailable>> {
            let mut failures = self.failures.lock().unwrap();
            if let Some(left) = failures.checked_sub(1) {
                *failures = left;
                return match self.is_silent {
                    true => std::future::pending().boxed(),
                    false => async { Err(Unavailable("too many".to_owned())) }.boxed(),
                };
            }
            let junk = Stored {
                subject: "orders.payment.A1".to_owned(),
                sequence: 7,
                stored_at: Timestamp::UNIX_EPOCH,
                headers: Vec::new(),
                payload: Bytes::from_static(b"junk"),
            };
            async { Ok(vec![junk]) }.boxed()
        }

        quadrille::unasked!(publish_once publish publish_batch pull settle last inspect);
        quadrille::unasked!(serve request flush);
    }

    /// Which of these looks find that the id is spent, and how many do not know.
    async fn found(failures: u32, is_silent: bool, looks: usize) -> (Vec<bool>, u64) {
        let broker = Script { failures: Mutex::new(failures), is_silent };
        let (seen, id) = (Looks::new(&broker), SagaId::parse("A1").unwrap());
        let mut found = Vec::new();
        for _ in 0..looks {
            found.push(seen.spent(&[&id]).await[0].is_some());
        }
        (found, seen.unseen.get())
    }

    #[tokio::test(start_paused = true)]
    async fn one_look_without_an_answer_does_not_end_the_looking() {
        for is_silent in [false, true] {
            assert_eq!(found(1, is_silent, 3).await, (vec![false, true, true], 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_gets_no_answer_at_all_waits_for_a_few_looks_only_and_is_told_of_all() {
        let began = tokio::time::Instant::now();
        assert_eq!(found(u32::MAX, true, 1_000).await, (vec![false; 1_000], 1_000));
        assert_eq!(began.elapsed().as_secs(), 10);
    }
}
