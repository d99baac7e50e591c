//! One request and its answer, through the client's shared inbox, so that none costs a
//! subscription.
//!
//! The client forgets such a request only once its answer comes. Those that get none would add up
//! for as long as the process lives, some 330 bytes each (measured), beside a broker that is
//! connected and silent. So after one of them each request has an inbox of its own for a while, and
//! the client forgets both together.

use std::sync::Mutex;
use std::time::Duration;

use async_nats::{Client, Message, Request, RequestError};
use tokio::time::{Instant, timeout};

/// How long one request without an answer says that there may be more.
const WARY: Duration = Duration::from_secs(10);

/// When the last request of this process was given up.
static GIVEN_UP: Mutex<Option<Instant>> = Mutex::new(None);

/// Notes that a request is given up when it is dropped before its answer: by this module, or by a
/// caller with less patience.
struct Waits {
    is_answered: bool,
}

impl Drop for Waits {
    fn drop(&mut self) {
        if !self.is_answered {
            let now = Some(Instant::now());
            *GIVEN_UP.lock().expect("no code panics while it holds the lock") = now;
        }
    }
}

/// `None` if there is no answer within `patience`. A caller may have less.
pub(super) async fn ask(
    client: &Client,
    subject: &str,
    request: Request,
    patience: Duration,
) -> Option<Result<Message, RequestError>> {
    let given_up = *GIVEN_UP.lock().expect("no code panics while it holds the lock");
    let request = match given_up {
        Some(at) if at.elapsed() < WARY => request.inbox(client.new_inbox()),
        Some(_) | None => request,
    };
    let request = client.send_request(subject.to_owned(), request.timeout(None));
    let mut waits = Waits { is_answered: false };
    let answer = timeout(patience, request).await.ok();
    waits.is_answered = answer.is_some();
    answer
}
