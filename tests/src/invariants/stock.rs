//! Stock: nothing lost, nothing held twice, nothing held without an order.

use std::collections::BTreeMap;

use schemas::stock::NO_HOLD;
use serde::Deserialize;

use super::{Findings, History, Rule, story::Story};

#[derive(Deserialize)]
struct Level {
    sku: String,
    stocked: u64,
    free: u64,
}

#[derive(Deserialize)]
struct Hold {
    pieces: Vec<Piece>,
    released: bool,
    /// Off the shelf, in the background, some time after its order was completed.
    #[serde(default)]
    shipped: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Piece {
    sku: String,
    quantity: u64,
}

pub(super) fn check(
    history: &History,
    stories: &BTreeMap<String, Story<'_>>,
    found: &mut Findings,
) {
    let (levels, holds) = read(history, found);
    let mut held: BTreeMap<&str, u64> = BTreeMap::new();
    for (order, hold) in &holds {
        if !stories.contains_key(order) {
            found.add(Rule::Stock, format!("a hold for {order}, which was never placed"));
        }
        for piece in hold.pieces.iter().filter(|_| !hold.released && !hold.shipped) {
            *held.entry(&piece.sku).or_default() += piece.quantity;
        }
    }
    for Level { sku, stocked, free } in &levels {
        let held = held.remove(sku.as_str()).unwrap_or_default();
        if *stocked != free + held {
            let what = format!("{sku}: {stocked} stocked is not {free} free and {held} held");
            found.add(Rule::Stock, what);
        }
    }
    for (sku, pieces) in held {
        found.add(Rule::Stock, format!("{pieces} held of {sku}, of which there is none"));
    }
    for (order, story) in stories {
        holds_what_it_should(story, holds.get(order), found);
    }
}

fn read(history: &History, found: &mut Findings) -> (Vec<Level>, BTreeMap<String, Hold>) {
    let (mut levels, mut holds) = (Vec::new(), BTreeMap::new());
    let records = history.stock.iter();
    for message in records.filter(|message| !message.subject.starts_with(NO_HOLD)) {
        let unreadable = match message.subject.strip_prefix("stock.hold.") {
            Some(order) => match serde_json::from_slice(&message.payload) {
                Ok(hold) => holds.insert(order.to_owned(), hold).is_some(),
                Err(_) => true,
            },
            None => match serde_json::from_slice(&message.payload) {
                Ok(level) => {
                    levels.push(level);
                    false
                }
                Err(_) => true,
            },
        };
        if unreadable {
            found.add(Rule::Stock, format!("{} does not hold a stock record", message.subject));
        }
    }
    (levels, holds)
}

fn holds_what_it_should(story: &Story<'_>, hold: Option<&Hold>, found: &mut Findings) {
    let held = hold.is_some_and(|hold| !hold.released);
    if story.cancelled() {
        return found.demand(!held, Rule::Stock, story, "cancelled, but it holds stock");
    }
    if !story.completed() {
        let shipped = hold.is_some_and(|hold| hold.shipped);
        return found.demand(!shipped, Rule::Stock, story, "open, and its stock is off the shelf");
    }
    let Some(placed) = &story.placed else { return };
    let mut wanted: BTreeMap<&str, u64> = BTreeMap::new();
    for line in &placed.lines {
        *wanted.entry(line.sku.as_str()).or_default() += u64::from(line.quantity);
    }
    let wanted: Vec<_> =
        wanted.into_iter().map(|(sku, quantity)| Piece { sku: sku.to_owned(), quantity }).collect();
    let mut pieces = hold.map(|hold| hold.pieces.clone()).unwrap_or_default();
    pieces.sort();
    let what = "completed, but it does not hold what was ordered";
    found.demand(held && pieces == wanted, Rule::Stock, story, what);
}
