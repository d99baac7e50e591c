//! One step of a file along the log, and the proof that the log is still the one that its rows are
//! of.
//!
//! Every page begins with the message of the checkpoint itself. So each read proves that the log
//! was not cut and written on; that the stream is the same is asked of the broker each second.

use quadrille::broker::{Care, StreamState, Unavailable};

use crate::build::blocking;
use crate::pages::Pages;
use crate::store::{Checkpoint, Store, StoreError};

/// What a step came to.
pub(crate) enum Step {
    /// The rows are of a later place, or there is nothing new; so many messages are left.
    At { left: u64, applied: u64 },
    /// The message of the checkpoint is not where it was, as far as one replica knows.
    Doubt,
    /// The broker does not answer.
    NoAnswer(Unavailable),
    /// The file cannot be written.
    Failed(StoreError),
}

/// Applies the next page, if there is one.
pub(crate) async fn step(pages: &Pages, mut store: Store) -> (Store, Step) {
    let checkpoint = store.checkpoint.clone();
    let begins = checkpoint.place.sequence == 0;
    let page = match pages.read(checkpoint.place.sequence.max(1)).await {
        Ok(page) => page,
        Err(error) => return (store, Step::NoAnswer(error)),
    };
    let known = usize::from(!begins);
    if !begins && !page.messages.first().is_some_and(|first| checkpoint.is_of(first)) {
        return (store, Step::Doubt);
    }
    let left = page.left;
    let mut new = page.messages;
    new.drain(..known);
    if new.is_empty() {
        return (store, Step::At { left, applied: 0 });
    }
    let applied = new.len() as u64;
    blocking(move || match store.apply(&new) {
        Ok(()) => (store, Step::At { left, applied }),
        Err(error) => (store, Step::Failed(error)),
    })
    .await
}

/// Whether the log is the one that the rows are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Log {
    Same,
    /// Asked again, it may say something else: a leader that no longer is one may have answered.
    PerhapsCut,
    Other(&'static str),
    NoAnswer(String),
}

/// Asks the leader.
pub(crate) async fn compare(pages: &Pages, checkpoint: &Checkpoint) -> (Log, Option<StreamState>) {
    let state = match pages.broker.state(pages.stream).await {
        Ok(Some(state)) => state,
        Ok(None) => return (Log::Other("the stream does not exist"), None),
        Err(Unavailable(why)) => return (Log::NoAnswer(why), None),
    };
    let sequence = checkpoint.place.sequence;
    let log = if state.incarnation.created != checkpoint.place.created {
        Log::Other("the stream was restored or made anew")
    } else if sequence == 0 {
        Log::Same
    } else if state.last_sequence < sequence {
        Log::PerhapsCut
    } else {
        let read = pages.broker.read_page(pages.stream, sequence, 1, Care::Careful).await;
        match read.map(|page| page.messages.into_iter().next()) {
            Ok(Some(first)) if checkpoint.is_of(&first) => Log::Same,
            Ok(Some(_)) => Log::Other("the log was cut and written on"),
            Ok(None) => Log::PerhapsCut,
            Err(Unavailable(why)) => Log::NoAnswer(why),
        }
    };
    (log, Some(state))
}
