//! Every problem that this worker answers with, each with what to do next.

use quadrille::SagaId;
use quadrille::log::story::Occupied;
use quadrille::service::problem::{Mistake, Problem};

/// Seconds until a full log is looked at again: an operator must act first.
const FULL_AGAIN: u32 = 10;
/// Seconds until a lost broker may be back.
const AWAY_AGAIN: u32 = 2;

/// What is wrong with a document, or with a header.
pub(crate) fn unreadable(errors: Vec<Mistake>) -> Problem {
    let detail = format!("{} Nothing was stored.", counted(&errors));
    Problem { errors, ..Problem::new(400, "unreadable", "not readable as an order", detail) }
}

pub(crate) fn invalid(errors: Vec<Mistake>) -> Problem {
    let detail = format!("{} Nothing was stored.", counted(&errors));
    Problem { errors, ..Problem::new(422, "invalid-order", "not a valid order", detail) }
}

fn counted(errors: &[Mistake]) -> String {
    match errors.len() {
        1 => "There is one mistake.".to_owned(),
        count => format!("There are {count} mistakes."),
    }
}

pub(crate) fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(400, "bad-request", "not readable as a request", detail)
}

pub(crate) fn bad_id() -> Problem {
    bad_request("an order's id is 1 to 64 of A-Z a-z 0-9 _ -")
}

pub(crate) fn too_large(detail: impl Into<String>) -> Problem {
    Problem::new(413, "too-large", "too large for an order", detail)
}

pub(crate) fn wrong_media(detail: impl Into<String>) -> Problem {
    Problem::new(415, "wrong-media-type", "not application/json", detail)
}

/// By its header, whatever its bytes are.
pub(crate) fn compressed() -> Problem {
    wrong_media(
        "a body is read as it is, and not unpacked: unpack what is compressed (gunzip for gzip), \
         and send it without Content-Encoding; nothing was stored",
    )
}

pub(crate) fn too_slow() -> Problem {
    let detail = "the body did not arrive in time; send it again, nothing was stored";
    Problem::new(408, "too-slow", "the request did not arrive in time", detail)
}

pub(crate) fn no_such_path() -> Problem {
    let detail = "there are POST /orders, POST /orders/{id}/cancel and GET /openapi.json; orders \
                  are read from the query service";
    Problem::new(404, "no-such-path", "nothing is at this path", detail)
}

pub(crate) fn wrong_method() -> Problem {
    let detail = "the header Allow says which methods this path has";
    Problem::new(405, "wrong-method", "this path does not have this method", detail)
}

/// The slot holds another order.
pub(crate) fn taken(saga: &SagaId, sequence: u64, by_key: bool) -> Problem {
    let detail = if by_key {
        format!(
            "this Idempotency-Key was used for another order, {saga} at sequence {sequence} of the \
             log, which stands; send a new order under a new key"
        )
    } else {
        format!(
            "order {saga} exists with other data, at sequence {sequence} of the log, and stands; \
             send a new order under another id"
        )
    };
    Problem::new(409, "order-taken", "the id belongs to another order", detail)
        .with("id", saga.as_str())
        .with("sequence", sequence)
}

/// A slot of the order is taken already, so that it could not end.
pub(crate) fn spent(saga: &SagaId, spent: &Occupied, by_key: bool) -> Problem {
    let what = spent.what();
    let key = if by_key { ", which follows from another Idempotency-Key" } else { "" };
    let detail = format!("order {saga} could not end, and was not stored: {what}{key}");
    Problem::new(409, "id-spent", "the id is spent", detail).with("id", saga.as_str())
}

/// Stored or not.
pub(crate) fn unknown(saga: &SagaId, why: &str) -> Problem {
    tracing::warn!(%saga, why, "no answer says whether an order was stored");
    let detail = format!(
        "no answer says whether the order was stored; send the same order again with \"order_id\": \
         \"{saga}\": that is safe, and tells what became of it"
    );
    Problem::new(504, "outcome-unknown", "it is not known whether the order is stored", detail)
        .with("id", saga.as_str())
        .retry_after(AWAY_AGAIN)
}

pub(crate) fn full() -> Problem {
    let detail = "the log takes no new orders until an operator gives it room, so that the orders \
                  in it can end; nothing was stored";
    Problem::new(503, "log-full", "the log is full", detail).retry_after(FULL_AGAIN)
}

pub(crate) fn away() -> Problem {
    let detail = "the broker cannot be reached; nothing was stored";
    Problem::new(503, "broker-away", "the broker is away", detail).retry_after(AWAY_AGAIN)
}

pub(crate) fn refused(code: u64, description: &str) -> Problem {
    tracing::error!(code, description, "the broker refuses orders: is the log as it must be?");
    let detail = "the broker refuses every order, and an operator must look; nothing was stored";
    Problem::new(503, "broker-refuses", "the broker refuses", detail).retry_after(FULL_AGAIN)
}

pub(crate) fn busy() -> Problem {
    let detail = "too many commands at once; nothing was stored";
    Problem::new(503, "busy", "too many commands at once", detail).retry_after(1)
}

/// The order is shipped, or about to be.
pub(crate) fn too_late(saga: &SagaId, is_completed: bool) -> Problem {
    let what = if is_completed { "is completed" } else { "is with the carrier" };
    let detail = format!("order {saga} {what}, and cannot be cancelled; nothing was changed");
    Problem::new(409, "too-late", "it is too late to cancel the order", detail)
        .with("id", saga.as_str())
}

/// No worker can record that it is taken back.
pub(crate) fn occupied(saga: &SagaId, occupied: &Occupied) -> Problem {
    let what = occupied.what();
    let detail = format!(
        "order {saga} cannot be taken back: {what}; its operator can mend that, as \
         ops/runbooks/occupied-slot.md says"
    );
    Problem::new(409, "slot-occupied", "a slot of the order is taken", detail)
        .with("id", saga.as_str())
}

/// The wish waited for its order as long as a wish does.
pub(crate) fn not_placed(saga: &SagaId, spent: Option<&Occupied>) -> Problem {
    let advice = match spent {
        Some(spent) => spent.what(),
        None => "upper and lower case differ; if placing it had no answer, place it again, then \
                 cancel it"
            .to_owned(),
    };
    let detail = format!(
        "no order {saga} is in the log, so there is nothing to cancel, and this call stored no \
         wish; {advice}"
    );
    Problem::new(404, "not-found", "there is no such order", detail).with("id", saga.as_str())
}

/// The wish is stored or not.
pub(crate) fn cancel_unknown(saga: &SagaId) -> Problem {
    let detail = format!(
        "no answer says whether the wish to cancel order {saga} was stored; send it again: that is \
         safe"
    );
    Problem::new(504, "outcome-unknown", "it is not known whether the wish is stored", detail)
        .with("id", saga.as_str())
        .retry_after(AWAY_AGAIN)
}
