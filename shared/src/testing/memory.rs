//! A log in memory with the guard of the real one, for tests of what a worker decides from what it
//! reads. It hands nothing out: a test makes each delivery, and sees how it was settled.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::Slot;
use crate::broker::{
    Broker, Care, DurableState, Entry, Page, Published, Receipt, Settle, Stored, StreamState,
    Unavailable, Unknown,
};

type Read<'a, T> = BoxFuture<'a, Result<T, Unavailable>>;

pub(crate) struct Memory {
    began: Instant,
    held: Mutex<Kept>,
}

/// What it keeps, and how it answers.
#[derive(Default)]
pub(crate) struct Kept {
    messages: HashMap<String, Vec<Stored>>,
    pub(crate) bucket: HashMap<String, Entry>,
    pub(crate) settled: Vec<Settle>,
    /// Reads, of the leader and of any replica, and of the bucket.
    pub(crate) asked: Vec<String>,
    /// Replicas show nothing; the leader does.
    pub(crate) lags: bool,
    /// The bucket, the stream of parked messages and pages of the leader give no answer.
    pub(crate) is_silent: bool,
    /// Reads from any replica that get no answer.
    pub(crate) unread: u32,
    pub(crate) durable: Option<DurableState>,
    /// Looks at it.
    pub(crate) looks: u32,
    /// Of the log, where a test asks for it.
    pub(crate) state: Option<StreamState>,
    /// What the next publishes are told, whatever is stored.
    pub(crate) answers: VecDeque<Published>,
    /// When something was published.
    pub(crate) published: Vec<Timestamp>,
    /// The stream of parked messages takes no more.
    pub(crate) is_full: bool,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), held: Mutex::default() }
    }

    pub(crate) fn kept(&self) -> MutexGuard<'_, Kept> {
        self.held.lock().unwrap()
    }

    /// The broker's time.
    pub(crate) fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.began.elapsed()).unwrap();
        Timestamp::from_second(1_800_000_000).unwrap() + passed
    }

    /// As any client writes it.
    pub(crate) fn store(&self, stream: &str, subject: &str, payload: Bytes) -> Stored {
        let stored_at = self.now();
        let mut kept = self.kept();
        let messages = kept.messages.entry(stream.to_owned()).or_default();
        let (subject, sequence) = (subject.to_owned(), messages.len() as u64 + 1);
        let stored = Stored { subject, sequence, stored_at, headers: Vec::new(), payload };
        messages.push(stored.clone());
        stored
    }

    /// A power cut, or an older copy of its store: only so many are left.
    pub(crate) fn lose_all_but(&self, stream: &str, left: usize) {
        self.kept().messages.get_mut(stream).unwrap().truncate(left);
    }

    /// All that a stream holds.
    pub(crate) fn messages(&self, stream: &str) -> Vec<Stored> {
        self.kept().messages.get(stream).cloned().unwrap_or_default()
    }

    pub(crate) fn newest(&self, stream: &str, subject: &str) -> Option<Stored> {
        let kept = self.kept();
        let messages = kept.messages.get(stream)?;
        messages.iter().rfind(|stored| fits(subject, stored)).cloned()
    }
}

/// Whether a message is on a subject, or on one of those of a filter.
fn fits(filter: &str, stored: &Stored) -> bool {
    match filter.strip_suffix('*') {
        Some(before) => stored.subject.starts_with(before),
        None => stored.subject == filter,
    }
}

impl Broker for Memory {
    fn publish_once<'a>(&'a self, slot: &'a Slot, payload: Bytes) -> BoxFuture<'a, Published> {
        let (stream, now) = (super::desk::FLOW.stream, self.now());
        self.kept().published.push(now);
        let scripted = self.kept().answers.pop_front();
        if let Some(answer) = scripted {
            return async { answer }.boxed();
        }
        let answer = match self.newest(stream, slot.subject()) {
            Some(_) => Published::Conflict,
            None => {
                Published::Stored { sequence: self.store(stream, slot.subject(), payload).sequence }
            }
        };
        async { answer }.boxed()
    }

    fn publish<'a>(&'a self, subject: &'a str, payload: Bytes) -> BoxFuture<'a, Published> {
        let now = self.now();
        let mut kept = self.kept();
        kept.published.push(now);
        let answer = match (kept.is_full, kept.is_silent) {
            (true, _) => Published::Unknown(Unknown::Full),
            (_, true) => Published::Unknown(Unknown::NoAnswer("silent".to_owned())),
            (false, false) => Published::Stored { sequence: 1 },
        };
        drop(kept);
        if let Published::Stored { .. } = answer {
            self.store(&super::desk::FLOW.parked_stream(), subject, payload);
        }
        async { answer }.boxed()
    }

    fn settle<'a>(&'a self, _: &'a Receipt, settle: Settle) -> BoxFuture<'a, ()> {
        self.kept().settled.push(settle);
        async {}.boxed()
    }

    fn last<'a>(&'a self, stream: &'a str, subject: &'a str) -> Read<'a, Option<Stored>> {
        self.kept().asked.push(format!("leader: {subject}"));
        let found = self.newest(stream, subject);
        async { Ok(found) }.boxed()
    }

    fn last_of_many<'a>(&'a self, stream: &'a str, filters: Vec<String>) -> Read<'a, Vec<Stored>> {
        let mut kept = self.kept();
        kept.asked.extend(filters.clone());
        if let Some(left) = kept.unread.checked_sub(1) {
            kept.unread = left;
            return async { Err(Unavailable("no answer".to_owned())) }.boxed();
        }
        let lags = kept.lags;
        drop(kept);
        let found = filters.iter().filter_map(|subject| self.newest(stream, subject));
        let found = if lags { Vec::new() } else { found.collect() };
        async { Ok(found) }.boxed()
    }

    fn read_page<'a>(&'a self, stream: &'a str, from: u64, most: usize, _: Care) -> Read<'a, Page> {
        let messages = self.messages(stream).into_iter();
        let messages = messages.filter(|stored| stored.sequence >= from).take(most).collect();
        let page = match self.kept().is_silent {
            true => Err(Unavailable("silent".to_owned())),
            false => Ok(Page { messages, left: 0 }),
        };
        async { page }.boxed()
    }

    fn read_matching<'a>(
        &'a self,
        stream: &'a str,
        filter: &'a str,
        from: u64,
        most: usize,
    ) -> Read<'a, Page> {
        let messages = self.messages(stream).into_iter();
        let messages = messages.filter(|stored| stored.sequence >= from && fits(filter, stored));
        self.kept().asked.push(filter.to_owned());
        let most = if self.kept().lags { 0 } else { most };
        let page = Page { messages: messages.take(most).collect(), left: 0 };
        async { Ok(page) }.boxed()
    }

    fn durable<'a>(&'a self, _: &'a str, _: &'a str) -> Read<'a, Option<DurableState>> {
        let mut kept = self.kept();
        kept.looks += 1;
        let state = kept.durable.clone();
        async { Ok(state) }.boxed()
    }

    fn state<'a>(&'a self, _: &'a str) -> Read<'a, Option<StreamState>> {
        let state = self.kept().state.clone();
        async { Ok(state) }.boxed()
    }

    fn entry<'a>(&'a self, _: &'a str, key: &'a str) -> Read<'a, Option<Entry>> {
        let mut kept = self.kept();
        kept.asked.push(key.to_owned());
        let entry = match kept.is_silent {
            true => Err(Unavailable("silent".to_owned())),
            false => Ok(kept.bucket.get(key).cloned()),
        };
        async { entry }.boxed()
    }

    fn compare_and_set<'a>(
        &'a self,
        _: &'a str,
        key: &'a str,
        expected: u64,
        value: Bytes,
        _: Option<std::time::Duration>,
    ) -> BoxFuture<'a, Published> {
        let written_at = self.now();
        let mut kept = self.kept();
        let revision = kept.bucket.get(key).map_or(0, |entry| entry.revision);
        let answer = if revision == expected {
            let (key, sequence) = (key.to_owned(), revision + 1);
            let entry = Entry { key: key.clone(), revision: sequence, value, written_at };
            kept.bucket.insert(key, entry);
            Published::Stored { sequence }
        } else {
            Published::Conflict
        };
        async { answer }.boxed()
    }

    crate::unasked!(publish_batch pull inspect serve request flush);
}
