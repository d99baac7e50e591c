//! The stream of events: each transition once and in order, for readers that lose their connection
//! too.

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tests::eventually::within_patience;
use tests::stack::Stack;

use crate::asked::Query;
use crate::writer;

/// A reader, as a browser's `EventSource`.
struct Source {
    body: Incoming,
    text: String,
    /// The id of the last event.
    last: String,
}

struct Event {
    name: String,
    data: Value,
}

impl Source {
    async fn open(query: &Query, last: Option<&str>) -> Self {
        let mut request = query.request("GET", "/events");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let answer = query.raw(request.body(Full::default()).unwrap()).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { body: answer.into_body(), text: String::new(), last: String::new() }
    }

    /// `None` once the connection has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().trim().to_owned()
                };
                self.last = field("id:");
                let data = serde_json::from_str(&field("data:")).unwrap();
                let event = Event { name: field("event:"), data };
                self.text = rest.to_owned();
                return Some(event);
            }
            let frame = within_patience("an event comes", self.body.frame()).await?.ok()?;
            let data = frame.into_data().ok()?;
            self.text.push_str(std::str::from_utf8(&data).unwrap());
        }
    }

    /// Sequences of the transitions up to this one.
    async fn until(&mut self, last: u64) -> Vec<u64> {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|seen| *seen < last) {
            let event = self.next().await.expect("it goes on");
            match event.name.as_str() {
                "transition" => seen.push(event.data["sequence"].as_u64().unwrap()),
                "heartbeat" => {}
                other => panic!("{other}"),
            }
        }
        seen
    }
}

async fn sequences(stack: &Stack, after: u64) -> Vec<u64> {
    let log = stack.history().await.log;
    let known = log.iter().filter(|message| !message.subject.contains("UPPER"));
    known.map(|message| message.sequence).filter(|sequence| *sequence > after).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_each_transition_once_through_restarts_of_broker_and_worker() {
    let mut stack = Stack::bare().await;
    let first = writer::write(&stack.raw, "early", 10).await;
    let mut query = Query::start(&stack, "query").await;
    query.reaches(first).await;
    let mut sources = Vec::new();
    for _ in 0..50 {
        let mut source = Source::open(&query, None).await;
        assert_eq!(source.next().await.unwrap().name, "heartbeat");
        sources.push(source);
    }
    let middle = writer::write(&stack.raw, "middle", 30).await;
    let mut seen: Vec<Vec<u64>> = vec![Vec::new(); sources.len()];
    for (source, seen) in sources.iter_mut().zip(&mut seen) {
        seen.extend(source.until(middle).await);
    }
    stack.server.restart().await;
    let later = writer::write(&stack.raw, "later", 30).await;
    for (source, seen) in sources.iter_mut().zip(&mut seen) {
        seen.extend(source.until(later).await);
    }
    // The worker goes down in good order: streams end, and readers come back with their last id.
    assert!(query.process.shut_down().await.success(), "{}", query.process.said());
    let end = writer::write(&stack.raw, "end", 30).await;
    query = Query::start(&stack, "query").await;
    for (source, seen) in sources.iter_mut().zip(&mut seen) {
        while source.next().await.is_some() {}
        let mut again = Source::open(&query, Some(&source.last)).await;
        seen.extend(again.until(end).await);
    }
    let wanted = sequences(&stack, first).await;
    for seen in seen {
        assert_eq!(seen, wanted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_whose_place_is_gone_is_told_once_to_begin_anew() {
    let stack = Stack::bare().await;
    let first = writer::write(&stack.raw, "early", 10).await;
    let query = Query::start(&stack, "query").await;
    query.reaches(first).await;
    let mut source = Source::open(&query, Some("1f-7")).await;
    assert_eq!(source.next().await.unwrap().name, "resync");
    let last = writer::write(&stack.raw, "later", 5).await;
    assert_eq!(source.until(last).await, sequences(&stack, first).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_readers_place_passes_what_is_no_event_and_no_place_is_beyond_the_end() {
    let stack = Stack::bare().await;
    let query = Query::start(&stack, "query").await;
    let known = stack.raw.publish("orders.placed.A1", &[], "{}").await.unwrap();
    let unknown = stack.raw.publish("orders.UPPER.A1", &[], "{}").await.unwrap();
    query.reaches(unknown).await;
    let mut source = Source::open(&query, Some(&known.to_string())).await;
    let passed = async {
        while !source.last.ends_with(&format!("-{unknown}")) {
            assert_eq!(source.next().await.unwrap().name, "heartbeat");
        }
    };
    within_patience("a heartbeat names the end", passed).await;
    for beyond in ["4711", "18446744073709551615"] {
        let mut source = Source::open(&query, Some(beyond)).await;
        assert_eq!(source.next().await.unwrap().name, "resync", "{beyond}");
        let asked = json!({ "after": beyond }).to_string();
        let answer = stack.client().request("orders.changes", asked.into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(answer["resync"], true, "{answer}");
    }
}
