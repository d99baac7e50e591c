//! What a process of the baseline does with JSON when it reads what it acts on: it uses the types
//! that Quadrille reads and writes with, so that the rest of the difference is the runtime.

use std::hint::black_box;

use anyhow::{Context as _, anyhow, bail};
use async_nats::jetstream::Message;
use bytes::Bytes;
use jiff::Timestamp;
use quadrille::broker::Stored;
use quadrille::flow::Row;
use quadrille::log::envelope::{CONTENT_TYPE, Cause, Envelope, Occasion, Outgoing, Work};
use quadrille::{BadData, Event, KeyNamespace, SagaId};
use schemas::order_fulfilment::FLOW;
use schemas::order_fulfilment::events::{
    InventoryReserved, OrderCompleted, OrderPlaced, PaymentCharged, ShipmentDispatched,
};
use serde_json::value::RawValue;

use crate::samples;

type Read = fn(&Envelope<'_>, &SagaId) -> Result<(), BadData>;
type Write = Box<dyn Fn() -> Box<RawValue> + Send + Sync>;

/// How the process of one row reads its messages, and what it says of each.
pub(super) struct Reading {
    row: &'static Row,
    read: Read,
    write: Write,
}

impl Reading {
    pub(super) fn of(row: &'static Row) -> anyhow::Result<Self> {
        let (read, write): (Read, Write) = match row.worker {
            "reserve-inventory" => {
                (read::<OrderPlaced>, write(samples::data::<InventoryReserved>(row.slot)?))
            }
            "charge-customer" => {
                (read::<InventoryReserved>, write(samples::data::<PaymentCharged>(row.slot)?))
            }
            "ship-order" => {
                (read::<PaymentCharged>, write(samples::data::<ShipmentDispatched>(row.slot)?))
            }
            "complete-order" => (read::<ShipmentDispatched>, write(OrderCompleted {})),
            other => bail!("{other} reads nothing here: give it a line"),
        };
        Ok(Self { row, read, write })
    }

    /// The event that a message leads to.
    pub(super) fn outcome(&self, message: &Message) -> anyhow::Result<Bytes> {
        let (slot, saga) = FLOW.parse_subject(&message.subject).context("no saga's subject")?;
        let delivery = message.info().map_err(anyhow::Error::from_boxed)?;
        let of_a_client = slot == FLOW.opens.slot;
        let structured = ("content-type".to_owned(), CONTENT_TYPE.to_owned());
        let time = Timestamp::now();
        let stored = Stored {
            subject: message.subject.to_string(),
            sequence: delivery.stream_sequence,
            stored_at: time,
            headers: if of_a_client { Vec::new() } else { vec![structured] },
            payload: message.payload.clone(),
        };
        let expected = FLOW.decides(slot).map_or(FLOW.opens.event, |row| row.done);
        let bad = |bad: BadData| anyhow!("{bad}");
        let envelope = Envelope::read(&FLOW, slot, &saga, expected, &stored).map_err(bad)?;
        (self.read)(&envelope, &saga).map_err(bad)?;
        let occasion = Occasion {
            traceparent: envelope.traceparent.as_deref().map(str::to_owned),
            cause: Some(Cause { id: envelope.id, sequence: stored.sequence }),
            time,
            seal: Some(KeyNamespace::FIRST.seal(0, &stored.subject, stored.sequence)),
            work: Some(Work { attempt: 1, started: time }),
        };
        let (slot, data) = (FLOW.slot(self.row.slot, &saga), (self.write)());
        let event = (self.row.done, &*data);
        Ok(Outgoing::new(&FLOW, slot, self.row.worker, event, &occasion).payload)
    }
}

fn read<E: Event>(envelope: &Envelope<'_>, saga: &SagaId) -> Result<(), BadData> {
    envelope.event::<E>(saga).map(|event| drop(black_box(event)))
}

fn write(event: impl Event) -> Write {
    Box::new(move || event.to_data())
}
