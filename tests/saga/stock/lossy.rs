//! A connection that loses some batches on their way, and the answers to others: what a broken link
//! does at the worst moment.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use quadrille::broker::{
    Answers, BatchMessage, Broker, Care, Inspection, Page, Published, Pull, Receipt, Request,
    ServiceError, Settle, Stored, StreamState, Unavailable, Unknown,
};
use quadrille::nats::NatsBroker;
use quadrille::{Flow, Slot};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Receiver;

pub(crate) struct LossyBroker {
    pub(crate) broker: NatsBroker,
    /// One batch in this many loses its request, and as many lose their answer; 0 for none.
    pub(crate) loses_one_in: u32,
    /// States of a stream that an old leader tells: without its last messages.
    pub(crate) old_states: AtomicU32,
    /// Pages that were read from the first message of a stream.
    pub(crate) first_pages: AtomicU32,
    /// States that were asked for.
    pub(crate) states: AtomicU32,
    /// The first of them is told only then.
    pub(crate) first_state: Semaphore,
}

impl LossyBroker {
    pub(crate) fn of(broker: NatsBroker, loses_one_in: u32) -> Self {
        let (old_states, first_pages, states) = Default::default();
        let first_state = Semaphore::new(1);
        Self { broker, loses_one_in, old_states, first_pages, states, first_state }
    }

    fn loses(&self) -> bool {
        self.loses_one_in > 0 && fastrand::u32(0..self.loses_one_in) == 0
    }
}

impl Broker for LossyBroker {
    fn publish_batch(&self, messages: Vec<BatchMessage>) -> BoxFuture<'_, Published> {
        async move {
            let lost = || Published::Unknown(Unknown::NoAnswer("lost".into()));
            if self.loses_one_in > 1 && self.loses() {
                return lost();
            }
            let published = self.broker.publish_batch(messages).await;
            if self.loses() { lost() } else { published }
        }
        .boxed()
    }

    fn publish_once<'a>(&'a self, slot: &'a Slot, payload: Bytes) -> BoxFuture<'a, Published> {
        self.broker.publish_once(slot, payload)
    }

    fn publish<'a>(&'a self, subject: &'a str, payload: Bytes) -> BoxFuture<'a, Published> {
        self.broker.publish(subject, payload)
    }

    fn pull<'a>(
        &'a self,
        stream: &'a str,
        durable: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Pull>, Unavailable>> {
        self.broker.pull(stream, durable)
    }

    fn settle<'a>(&'a self, receipt: &'a Receipt, settle: Settle) -> BoxFuture<'a, ()> {
        self.broker.settle(receipt, settle)
    }

    fn last<'a>(
        &'a self,
        stream: &'a str,
        subject: &'a str,
    ) -> BoxFuture<'a, Result<Option<Stored>, Unavailable>> {
        self.broker.last(stream, subject)
    }

    fn last_of_many<'a>(
        &'a self,
        stream: &'a str,
        filters: Vec<String>,
    ) -> BoxFuture<'a, Result<Vec<Stored>, Unavailable>> {
        self.broker.last_of_many(stream, filters)
    }

    fn subjects<'a>(
        &'a self,
        stream: &'a str,
        filter: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, Unavailable>> {
        self.broker.subjects(stream, filter)
    }

    fn read_page<'a>(
        &'a self,
        stream: &'a str,
        from: u64,
        most: usize,
        care: Care,
    ) -> BoxFuture<'a, Result<Page, Unavailable>> {
        self.first_pages.fetch_add(u32::from(from == 1), Relaxed);
        self.broker.read_page(stream, from, most, care)
    }

    fn state<'a>(
        &'a self,
        stream: &'a str,
    ) -> BoxFuture<'a, Result<Option<StreamState>, Unavailable>> {
        let is_first = self.states.fetch_add(1, Relaxed) == 0;
        async move {
            if is_first {
                self.first_state.acquire().await.expect("never closed").forget();
            }
            let mut state = self.broker.state(stream).await?;
            let less = |left: u32| left.checked_sub(1);
            if let Some(state) = state
                .as_mut()
                .filter(|_| self.old_states.fetch_update(Relaxed, Relaxed, less).is_ok())
            {
                state.last_sequence = 1;
            }
            Ok(state)
        }
        .boxed()
    }

    fn inspect<'a>(
        &'a self,
        flow: &'static Flow,
        worker: &'a str,
    ) -> BoxFuture<'a, Result<Inspection, Unavailable>> {
        self.broker.inspect(flow, worker)
    }

    fn serve<'a>(
        &'a self,
        service: &'a str,
        prefix: &'a str,
        endpoints: &'a [&'a str],
        answers: Answers,
    ) -> BoxFuture<'a, Result<Receiver<Request>, Unavailable>> {
        self.broker.serve(service, prefix, endpoints, answers)
    }

    fn request<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<Result<Bytes, ServiceError>, Unavailable>> {
        self.broker.request(subject, payload)
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        self.broker.flush()
    }
}
