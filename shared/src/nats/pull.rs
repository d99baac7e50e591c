//! The pull loop. It is our own, because it must know at any moment how many messages it has asked
//! for.
//!
//! Each durable has one inbox. A request lives for one second, and then the server says how many of
//! its messages were left over (`Nats-Pending-Messages`), so the count stays exact. When it cannot
//! stay exact (a lost connection, a leader gone without a word), the count starts again. Asking for
//! too little stops a worker; asking for too much makes it hold what it cannot start. The short
//! life limits both.
//!
//! A message that no client can read ends the connection. So each durable has one of its own, asks
//! for few messages at first, as they may be lost with it, and finds it otherwise ([`unread`]).

mod count;
mod inbox;
mod unread;

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::{Client, Message, connection::State};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Names;
use super::connection::Reading;
use super::message::delivered;
use crate::broker::{Delivered, Pull, Pulled, Unavailable};
use count::{Count, left_over};
use inbox::{Inbox, exists};
use unread::Unread;

/// Life of a request. It also limits how long `stop` takes, and how long messages still arrive
/// after the gate has closed. Its price is one request a second from an idle durable.
const EXPIRES: Duration = Duration::from_secs(1);

/// Requests in a row that ended without a word from the server before the inbox is replaced.
const SILENT_REQUESTS: u32 = 3;

/// Answers "no responders" in a row before we ask whether the durable still exists.
const ABSENCES: u32 = 3;

pub(super) struct DurablePull {
    /// The main connection, whose answers do no harm.
    leader: Client,
    names: Names,
    inbox: Inbox,
    request: String,
    info: String,
    /// Counts how often the count started again; statuses of requests from before that no longer
    /// matter.
    generation: u64,
    ready: VecDeque<Delivered>,
    /// In `ready`, in the subscriber, or still to come.
    count: Count,
    not_before: Instant,
    failures: u32,
    silent_requests: u32,
    absences: u32,
    doubted: bool,
    /// Asked for at most at once: one after a connection was lost, and twice as many each time.
    trust: usize,
    unread: Unread,
}

enum Heard {
    Message(Message),
    Disconnected,
    Nothing,
    /// The client dropped the subscription: its task is dead.
    End,
}

impl DurablePull {
    pub(super) async fn new(
        leader: Client,
        names: Names,
        reading: Reading,
        stream: &str,
        durable: &str,
    ) -> Result<Self, Unavailable> {
        let inbox = Inbox::open(reading).await?;
        let now = Instant::now();
        Ok(Self {
            inbox,
            request: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"),
            info: format!("$JS.API.CONSUMER.INFO.{stream}.{durable}"),
            generation: 0,
            ready: VecDeque::new(),
            count: Count::new(now),
            not_before: now,
            failures: 0,
            silent_requests: 0,
            absences: 0,
            doubted: false,
            trust: 1,
            unread: Unread::new(leader.clone(), names.clone(), stream, durable),
            leader,
            names,
        })
    }

    async fn deliver(&mut self, free: usize) -> Pulled {
        loop {
            if self.doubted && Box::pin(self.is_deleted()).await {
                return Pulled::Deleted;
            }
            if let Some(delivered) = self.unread.next(free) {
                return Pulled::Message(delivered);
            }
            self.ask(free.min(self.trust)).await;
            if let Some(delivered) = self.ready.pop_front() {
                self.count.less(1);
                self.trust = self.trust.saturating_mul(2);
                return Pulled::Message(delivered);
            }
            match self.hear(free).await {
                Heard::Message(message) => self.take(message),
                Heard::Nothing => {}
                Heard::Disconnected => {
                    self.unread.look();
                    self.count_again();
                }
                Heard::End => {
                    self.unread.look();
                    Box::pin(self.replace_inbox()).await;
                }
            }
        }
    }

    async fn ask(&mut self, free: usize) {
        let now = Instant::now();
        if self.count.asked() > self.ready.len() && now > self.count.runs_out() {
            Box::pin(self.run_out()).await;
        }
        let batch = self.count.wanted(free, now);
        if batch == 0 || now < self.not_before {
            return;
        }
        if self.inbox.client.connection_state() != State::Connected {
            self.back_off();
            return;
        }
        let body = format!("{{\"batch\":{batch},\"expires\":{}}}", EXPIRES.as_nanos());
        if let Err(error) = self.inbox.ask(&self.request, self.generation, body).await {
            tracing::warn!(%error, pull = self.request, "cannot ask for messages");
            self.back_off();
            return;
        }
        self.count.ask(batch, now);
    }

    async fn hear(&mut self, free: usize) -> Heard {
        let wake = match self.count.asked() {
            // Nothing is to come, and nothing may be asked for: only the caller can change that.
            0 if free == 0 => Instant::now() + EXPIRES * 60,
            0 => self.not_before,
            _ if self.not_before > Instant::now() => self.not_before.min(self.count.runs_out()),
            _ => self.count.runs_out(),
        };
        tokio::select! {
            biased;
            message = self.inbox.subscriber.next() => match message {
                Some(message) => Heard::Message(message),
                None => Heard::End,
            },
            () = self.unread.found() => Heard::Nothing,
            _ = self.inbox.disconnects.changed() => Heard::Disconnected,
            () = sleep_until(wake + Duration::from_millis(1)) => Heard::Nothing,
        }
    }

    /// A delivery, or what the server says about a request.
    fn take(&mut self, message: Message) {
        self.silent_requests = 0;
        let Some(status) = message.status else {
            self.ready.extend(delivered(&self.names, message));
            self.failures = 0;
            self.absences = 0;
            return;
        };
        if message.reply.is_some() {
            // A stored message with a forged status line is still a delivery.
            self.ready.extend(delivered(&self.names, message));
            return;
        }
        let current = message.subject.rsplit('.').next() == Some(&*self.generation.to_string());
        let description = message.description.as_deref().unwrap_or_default();
        self.doubted |= description.eq_ignore_ascii_case("consumer deleted");
        if !current {
            return;
        }
        let left_over = left_over(&message);
        match (status.as_u16(), left_over) {
            (100, _) => {}
            (404 | 408, Some(left_over)) => {
                self.count.less(left_over);
                self.absences = 0;
            }
            (503, _) => {
                self.absences += 1;
                self.doubted |= self.absences >= ABSENCES;
                self.count_again();
                self.back_off();
            }
            (status, _) => {
                // Leader change, shutdown, or a limit: no request of ours is certain any longer.
                tracing::debug!(status, description, pull = self.request, "a pull was ended");
                self.count_again();
                self.back_off();
            }
        }
    }

    /// Forgets every outstanding request; what has already arrived still counts.
    fn count_again(&mut self) {
        while let Some(Some(message)) = self.inbox.subscriber.next().now_or_never() {
            self.silent_requests = 0;
            if message.reply.is_some() {
                self.ready.extend(delivered(&self.names, message));
            }
        }
        self.generation += 1;
        self.trust = 1;
        self.count.expect_only(self.ready.len());
    }

    async fn run_out(&mut self) {
        self.silent_requests += 1;
        self.count_again();
        if self.silent_requests >= SILENT_REQUESTS {
            tracing::warn!(pull = self.request, "a pull went silent; asking from a new inbox");
            self.replace_inbox().await;
        }
    }

    async fn replace_inbox(&mut self) {
        self.count_again();
        match self.inbox.replace().await {
            Ok(()) => self.silent_requests = 0,
            Err(error) => {
                tracing::warn!(%error, pull = self.request, "cannot open an inbox");
                self.back_off();
                sleep_until(self.not_before).await;
            }
        }
    }

    /// 100 ms to 2 s, jittered.
    fn back_off(&mut self) {
        let longest = 200 << self.failures.min(4);
        self.failures += 1;
        let wait_ms = fastrand::u64(longest / 2..=longest.min(2_000));
        self.not_before = Instant::now() + Duration::from_millis(wait_ms);
    }

    /// Whether the durable is gone, according to the server.
    async fn is_deleted(&mut self) -> bool {
        match exists(&self.leader, &self.info).await {
            Ok(true) => self.absences = 0,
            Ok(false) => return true,
            Err(error) => {
                tracing::debug!(%error, pull = self.request, "cannot tell whether it still exists");
                self.back_off();
            }
        }
        self.doubted = false;
        false
    }

    /// Waits for the messages under way, because otherwise they would be delivered again only at
    /// the end of `ack_wait`.
    async fn drain(mut self) -> Vec<Delivered> {
        let end = self.count.runs_out().min(Instant::now() + EXPIRES + EXPIRES / 2);
        while self.count.asked() > self.ready.len()
            && !self.inbox.disconnects.has_changed().unwrap_or(true)
        {
            match timeout_at(end, self.inbox.subscriber.next()).await {
                Ok(Some(message)) => self.take(message),
                Ok(None) | Err(_) => break,
            }
        }
        self.count_again();
        let _ = self.inbox.subscriber.unsubscribe().await;
        let _ = timeout_at(end + EXPIRES, self.inbox.client.flush()).await;
        self.ready.into()
    }
}

/// Every message allocates this future, so what `deliver` rarely does is boxed.
impl Pull for DurablePull {
    fn next(&mut self, free: usize) -> BoxFuture<'_, Pulled> {
        Box::pin(self.deliver(free))
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Vec<Delivered>> {
        Box::pin(self.drain())
    }
}
