//! The questions, and how long their answers take.

use std::time::Instant;

use anyhow::{Context, bail};
use quadrille::broker::Broker;
use quadrille::nats::NatsBroker;
use serde::Serialize;
use serde_json::{Value, json};

/// A question to an endpoint; `{n}` is another number each time, below that of the orders.
pub(crate) struct Question(&'static str, &'static str);

/// Each filter alone, three pairs and more, lists in every order and far inside, the search by
/// everything, and single orders.
pub(crate) const QUESTIONS: &[Question] = &[
    Question("orders.list", ""),
    Question("orders.list", "state=open"),
    Question("orders.list", "state=cancelling"),
    Question("orders.list", "state=completed"),
    Question("orders.list", "state=cancelled"),
    Question("orders.list", "waits_for=ship-order"),
    Question("orders.list", "reason=card-declined"),
    Question("orders.list", "refused_at=payment"),
    Question("orders.list", "customer=cus_{n}"),
    Question("orders.list", "sku=SKU-7"),
    Question("orders.list", "country=DE"),
    Question("orders.list", "since=2020-01-01T00:00:00Z"),
    Question("orders.list", "until=2100-01-01T00:00:00Z"),
    Question("orders.list", "older_than=1s"),
    Question("orders.list", "order=oldest"),
    Question("orders.list", "order=worst"),
    Question("orders.list", "order=worst state=open"),
    Question("orders.list", "state=open country=DE"),
    Question("orders.list", "state=cancelled reason=card-declined"),
    Question("orders.list", "sku=SKU-7 country=AT"),
    Question("orders.list", "customer=cus_{n} state=open"),
    Question("orders.list", "waits_for=ship-order older_than=1s"),
    // In an order that has the fewest rows at its end.
    Question("orders.list", "state=open refused_at=payment"),
    Question("orders.list", "limit=200 {after}"),
    // What no rows have, but the stream of parked messages and the workers.
    Question("orders.list", "state=parked"),
    Question("orders.list", "held=retrying"),
    Question("orders.list", "why=retrying"),
    Question("orders.list", "why=parked"),
    Question("orders.list", "why=no-worker"),
    Question("orders.counts", ""),
    Question("orders.steps", "window=1h"),
    Question("orders.find", "q=order-{n}"),
    Question("orders.find", "q={n}"),
    Question("orders.find", "q=cus_{n}"),
    Question("orders.find", "q=TR{n}"),
    Question("orders.get", "id=order-{n}"),
];

/// One order by its id: its whole story but for the payloads.
pub(crate) const BY_ID: &str = "orders.get id=order-{n}";

/// Milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Asked {
    pub(crate) question: String,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Question {
    pub(crate) async fn ask(
        &self,
        broker: &NatsBroker,
        orders: u64,
        times: u64,
    ) -> anyhow::Result<Asked> {
        let Self(subject, text) = self;
        let mut took = Vec::new();
        let mut next = Value::Null;
        for time in 0..times {
            // Spread over all of them, and the same in each run.
            let number = (time * 7_919 + 13) % orders.max(1);
            let mut question = serde_json::Map::new();
            for pair in text.split_whitespace() {
                match pair.split_once('=') {
                    Some((name, value)) => {
                        let value = value.replace("{n}", &number.to_string());
                        question.insert(name.to_owned(), value.into());
                    }
                    None => drop(question.insert("after".to_owned(), next.clone())),
                }
            }
            #[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
            let began = Instant::now();
            let answer = broker.request(subject, json!(question).to_string().into()).await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
            let Ok(answer) = answer else { bail!("{subject} {text}: {answer:?}") };
            let mut answer: Value = serde_json::from_slice(&answer)?;
            next = answer["next"].take();
        }
        took.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = took.len().checked_sub(1).context("it is asked at least once")?;
            let time = took[(last as f64 * share).round() as usize];
            anyhow::Ok((time * 100.0).round() / 100.0)
        };
        let question = format!("{subject} {text}").trim_end().to_owned();
        Ok(Asked { question, p50_ms: at(0.5)?, p99_ms: at(0.99)?, max_ms: at(1.0)? })
    }
}
