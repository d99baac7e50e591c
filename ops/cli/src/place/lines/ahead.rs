//! What is known of the lines before they are sent: which are orders, under which id, and whether
//! that id can still be used.

use std::io::BufRead;

use futures::stream::{self, Stream, StreamExt};
use quadrille::{BadData, Reason, SagaId};
use tokio::sync::mpsc;

use super::super::looks::{AT_ONCE, Looks};
use super::super::order::{Order, parse};
use super::Line;
use super::documents::{Document, Documents};
use super::reject::Reject;

/// Documents read ahead; enough that reading and sending do not wait for each other.
const AHEAD: usize = 1_024;

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
    looks: &'a Looks<'a>,
    prefix: Option<&'a str>,
) -> impl Stream<Item = anyhow::Result<Line>> + 'a {
    let some = move |mut documents: mpsc::Receiver<Read>| async move {
        let mut read = Vec::new();
        if documents.recv_many(&mut read, AT_ONCE).await == 0 {
            return None;
        }
        let lines = read.into_iter().map(|read| read.map(|document| line(document, prefix)));
        let mut lines: Vec<_> = lines.collect();
        reject_spent(looks, lines.iter_mut().flatten()).await;
        Some((stream::iter(lines), documents))
    };
    stream::unfold(documents, some).flatten()
}

/// Rejects those whose orders could not end, because their slots are taken already.
async fn reject_spent<'l>(looks: &Looks<'_>, lines: impl Iterator<Item = &'l mut Line>) {
    let lines: Vec<_> = lines.filter(|line| line.order.is_ok()).collect();
    let ids: Vec<_> = lines.iter().filter_map(|line| line.id()).collect();
    let found = looks.spent(&ids).await;
    for (line, spent) in lines.into_iter().zip(found) {
        let (Some(spent), Some(id)) = (spent, line.id()) else { continue };
        line.order = Err(Box::new(Reject::spent(&line.document, id.as_str(), &spent)));
    }
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
