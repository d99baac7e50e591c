//! A message in hand, and the only ways to let go of it.
//!
//! An acknowledgement settles a message whoever says it and however late, so it takes a proof that
//! the message is decided or set aside, which `commit`, `decode` and `park` hand out.

use std::time::Duration;

use super::commit::Committed;
use super::decode::NotOurs;
use super::park::{self, SetAside};
use super::worker::{GiveBack, Worker};
use crate::broker::{Delivered, Settle, Stored};
use crate::{BadData, SagaId, failpoint};

/// How the handling of a delivery ended.
pub(crate) enum Ending {
    /// Its slot is decided, and whoever must know was told.
    Committed(Committed),
    /// Not a trigger of this step.
    NotOurs(NotOurs),
    /// Cannot be handled; a human has to look.
    Park(BadData),
    /// Not now.
    GiveBack(Duration),
}

impl From<GiveBack> for Ending {
    fn from(GiveBack(delay): GiveBack) -> Self {
        Self::GiveBack(delay)
    }
}

/// One delivery that this process has to settle.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) delivered: Delivered,
    pub(crate) saga: SagaId,
    /// The durable that handed it out.
    pub(crate) durable: String,
}

impl Delivery {
    pub(crate) fn message(&self) -> &Stored {
        &self.delivered.message
    }

    /// Ends the delivery; where it is to be parked, that is stored first.
    pub(crate) async fn end(self, worker: &Worker, ending: Ending) {
        match ending {
            Ending::Committed(Committed { .. }) => self.settle(worker, Settle::Ack).await,
            Ending::NotOurs(NotOurs { .. }) => self.settle(worker, Settle::Ack).await,
            Ending::GiveBack(delay) => self.settle(worker, Settle::Retry(delay)).await,
            Ending::Park(bad) => {
                let Self { delivered, saga, durable } = &self;
                let parked = park::park(worker, delivered, durable, Some(saga), &bad);
                let SetAside { .. } = Box::pin(parked).await;
                self.settle(worker, Settle::Term(bad.reason.code())).await;
            }
        }
    }

    async fn settle(self, worker: &Worker, settle: Settle) {
        if settle == Settle::Ack && failpoint::loses_ack() {
            return;
        }
        worker.broker.settle(&self.delivered.receipt, settle).await;
    }
}
