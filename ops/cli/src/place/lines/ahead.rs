//! What is known of the lines before they are sent: which are orders, under which id, and whether
//! that id can still be used.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use quadrille::broker::Broker;
use quadrille::log::story;
use quadrille::nats::NatsBroker;
use quadrille::{BadData, Reason, SagaId};
use schemas::order_fulfilment::FLOW;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::order::{Order, parse};
use super::Line;
use super::documents::{Document, Documents};
use super::reject::Reject;

/// Documents read ahead; enough that reading and sending do not wait for each other.
const AHEAD: usize = 1_024;
/// Lines whose slots are looked at in one request: the broker answers with at most 1,024 messages,
/// and an order has about a dozen.
const AT_ONCE: usize = 64;
/// How long such a look may take.
const LOOK: Duration = Duration::from_secs(1);

type Read = anyhow::Result<Document>;

/// Reads in a thread of its own, which a stdin that never ends cannot keep the command with.
pub(super) fn read(mut documents: Documents<Box<dyn BufRead + Send>>) -> mpsc::Receiver<Read> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        while let Some(document) = documents.next().transpose() {
            let failed = document.is_err();
            if sender.blocking_send(document).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

/// The lines of the documents, in their order. Ends after the first that cannot be read.
pub(super) fn lines<'a>(
    documents: mpsc::Receiver<Read>,
    broker: &'a NatsBroker,
    prefix: Option<&'a str>,
) -> impl Stream<Item = anyhow::Result<Line>> + 'a {
    let some = move |(mut documents, looks): (mpsc::Receiver<Read>, bool)| async move {
        let mut read = Vec::new();
        if documents.recv_many(&mut read, AT_ONCE).await == 0 {
            return None;
        }
        let lines = read.into_iter().map(|read| read.map(|document| line(document, prefix)));
        let mut lines: Vec<_> = lines.collect();
        // Only a courtesy: where nobody answers, or the placer may not read, nothing is looked at.
        let looks = looks && reject_spent(broker, lines.iter_mut().flatten()).await.is_some();
        Some((stream::iter(lines), (documents, looks)))
    };
    stream::unfold((documents, true), some).flatten()
}

/// Rejects those whose orders could not end, because their slots are taken already. `None` if
/// nothing answers.
async fn reject_spent<'l>(
    broker: &NatsBroker,
    lines: impl Iterator<Item = &'l mut Line>,
) -> Option<()> {
    let lines: Vec<_> = lines.filter_map(|line| Some((line.id()?.clone(), line))).collect();
    let filters = lines.iter().map(|(id, _)| FLOW.story(id)).collect();
    let read = timeout(LOOK, broker.last_of_many(FLOW.stream, filters)).await.ok()?.ok()?;
    let mut events = BTreeMap::<_, Vec<_>>::new();
    for stored in read {
        let id = stored.subject.rsplit('.').next().unwrap_or_default().to_owned();
        events.entry(id).or_default().push(stored);
    }
    for (id, line) in lines {
        let Some(events) = events.get(id.as_str()) else { continue };
        let occupied = story::tell(&FLOW, &id, events, &[]).occupied(&FLOW);
        if let Some(spent) = occupied.filter(|it| !it.is_opened()) {
            line.order = Err(Box::new(Reject::spent(&line.document, id.as_str(), &spent)));
        }
    }
    Some(())
}

fn line(document: Document, prefix: Option<&str>) -> Line {
    let order = order(&document, prefix);
    Line { document, order }
}

/// The order in a line, under its id.
fn order(document: &Document, prefix: Option<&str>) -> Result<Order, Box<Reject>> {
    if let Some(fault) = document.fault {
        return Err(Box::new(Reject::unreadable(document, fault.says())));
    }
    let invalid = |bad| Box::new(Reject::invalid(document, bad));
    let no_text = |what| invalid(BadData::new(Reason::NotJson, "", what));
    let text = quadrille::event::text::of(&document.text).map_err(no_text)?;
    let template = parse(text).map_err(invalid)?;
    let id = match (template.named(), prefix) {
        (Some(id), _) => id,
        (None, Some(prefix)) => {
            let number = document.item.map_or(document.line, |item| item + 1);
            format!("{prefix}-{number}")
        }
        (None, None) => return Err(Box::new(Reject::nameless(document))),
    };
    let saga = SagaId::parse(&id)
        .map_err(|error| invalid(BadData::new(Reason::InvalidId, "/subject", error.to_string())))?;
    Order::new(&template, &saga).map_err(invalid)
}
