//! What the rows must be, computed from the log in another way than the projection does it, and
//! what they are. It knows the order saga by heart and shares no code with the worker.

mod event;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::ids::event_id;
use quadrille_projection::rusqlite::types::ValueRef;
use quadrille_projection::rusqlite::{Connection, Row};
use serde_json::{Value, json};
use tests::stack::Logged;

use event::{Event, kind, read};

/// Tables with their rows as text, sorted.
pub(crate) type Tables = BTreeMap<&'static str, Vec<String>>;

/// What is compared, and in which columns.
const COMPARED: [(&str, &str); 6] = [
    (
        "sagas",
        "saga, opened, opened_at, state, waits_for, waits_since, reason, refused_at, \
               refused_by, changed, changed_at, details",
    ),
    ("tags", "name, value, saga, opened, opened_at"),
    ("refs", "value, kind, saga"),
    ("counts", "state, waits_for, sagas"),
    (
        "events",
        "sequence, saga, slot, kind, type, source, reason, stored_at, cause, attempt, wait_us, \
               work_us, state, waits_for",
    ),
    ("skipped", "sequence, subject"),
];

/// What a file holds.
pub(crate) fn actual(rows: &Connection) -> Tables {
    let mut tables = Tables::new();
    for (table, columns) in COMPARED {
        let condition = if table == "counts" { " WHERE sagas <> 0" } else { "" };
        let sql = format!("SELECT {columns} FROM {table}{condition}");
        let mut statement = rows.prepare(&sql).unwrap();
        let count = statement.column_count();
        let line = |row: &Row<'_>| {
            let cells = (0..count).map(|at| match row.get_ref(at).unwrap() {
                ValueRef::Null => "-".to_owned(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Text(text) => canonical(std::str::from_utf8(text).unwrap()),
                ValueRef::Real(_) | ValueRef::Blob(_) => panic!("{table} has another type"),
            });
            Ok(cells.collect::<Vec<_>>().join("|"))
        };
        let lines = statement.query_map([], line).unwrap();
        let mut lines: Vec<_> = lines.map(Result::unwrap).collect();
        lines.sort();
        tables.insert(table, lines);
    }
    tables
}

/// JSON with sorted keys.
fn canonical(text: &str) -> String {
    match serde_json::from_str::<BTreeMap<String, Value>>(text) {
        Ok(map) => json!(map).to_string(),
        Err(_) => text.to_owned(),
    }
}

#[derive(Default)]
struct Order {
    slots: BTreeMap<String, Event>,
    details: BTreeMap<String, Value>,
}

/// What the log says.
pub(crate) fn expected(log: &[Logged]) -> Tables {
    let mut orders: BTreeMap<String, Order> = BTreeMap::new();
    let mut tables: Tables = COMPARED.iter().map(|(table, _)| (*table, Vec::new())).collect();
    let mut newest: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    for message in log {
        let mut put = |table: &'static str, cells: &[String]| {
            tables.get_mut(table).unwrap().push(cells.join("|"));
        };
        let number = message.sequence.to_string();
        let mut tokens = message.subject.split('.').skip(1);
        let (slot, id) = (tokens.next().unwrap(), tokens.next().unwrap());
        if slot.chars().any(char::is_uppercase) {
            put("skipped", &[number, message.subject.clone()]);
            continue;
        }
        let event = read(message, slot, id);
        let kind = kind(slot, &event);
        let order = orders.entry(id.to_owned()).or_default();
        let at = event.at;
        let told = order.told(&event);
        order.slots.insert(slot.to_owned(), event);
        let understood = order.understand(slot, id, &mut put);
        if kind == "alien" || !understood {
            put("skipped", &[number.clone(), message.subject.clone()]);
        }
        let (state, waits_for) = match order.stands() {
            Some(stands) => (stands.state, stands.waits.map_or("-".to_owned(), |(who, _)| who)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let [event_type, source, reason, cause, attempt, wait_us, work_us] = told;
        let [who, at_text] = [id.to_owned(), at.to_string()];
        let cells = [
            number,
            who,
            slot.into(),
            kind,
            event_type,
            source,
            reason,
            at_text,
            cause,
            attempt,
            wait_us,
            work_us,
            state,
            waits_for,
        ];
        put("events", &cells);
        newest.insert(id.to_owned(), (message.sequence, at));
    }
    stand(&orders, &newest, &mut tables);
    tables.values_mut().for_each(|lines| lines.sort());
    tables
}

/// Where the orders stand in the end, and how many where.
fn stand(
    orders: &BTreeMap<String, Order>,
    newest: &BTreeMap<String, (u64, i64)>,
    tables: &mut Tables,
) {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (id, order) in orders {
        let (Some(stands), Some(opening)) = (order.stands(), order.slots.get("placed")) else {
            continue;
        };
        let Stands { state, waits, turn } = stands;
        let (changed, changed_at) = newest[id];
        let dash = || "-".to_owned();
        let who = waits.as_ref().map(|(who, _)| who.clone());
        *counts.entry((state.clone(), who.clone().unwrap_or_default())).or_default() += 1;
        let (slot, by, reason) = turn.unwrap_or_else(|| (dash(), dash(), dash()));
        let cells = [
            id.clone(),
            opening.sequence.to_string(),
            opening.at.to_string(),
            state,
            who.unwrap_or_else(dash),
            waits.map_or_else(dash, |(_, since)| since.to_string()),
            if reason.is_empty() { dash() } else { reason },
            slot,
            by,
            changed.to_string(),
            changed_at.to_string(),
            json!(order.details).to_string(),
        ];
        tables.get_mut("sagas").unwrap().push(cells.join("|"));
    }
    for ((state, waits_for), count) in counts {
        tables.get_mut("counts").unwrap().push(format!("{state}|{waits_for}|{count}"));
    }
}

struct Stands {
    state: String,
    waits: Option<(String, i64)>,
    /// Slot, by, reason.
    turn: Option<(String, String, String)>,
}

impl Order {
    fn is(&self, slot: &str, wanted: &str) -> bool {
        self.slots.get(slot).is_some_and(|event| kind(slot, event) == wanted)
    }

    /// What a line of its story says of an event that is not in its slot yet: type, source, reason,
    /// cause, attempt, and for how long it waited and was worked on.
    fn told(&self, event: &Event) -> [String; 7] {
        let or_dash = |number: Option<i64>| number.map_or("-".to_owned(), |it| it.to_string());
        let counted = |number: Option<u64>| or_dash(number.map(|number| number as i64));
        let mut known = self.slots.values();
        let cause_at = event.cause.and_then(|cause| known.find(|one| one.sequence == cause));
        let cause_at = cause_at.map(|cause| cause.at);
        let began = event.started.map(|at| at.max(cause_at.unwrap_or(at)).min(event.at));
        let reason = if event.reason.is_empty() { "-" } else { &event.reason };
        [
            event.event_type.clone(),
            event.source.clone(),
            reason.to_owned(),
            counted(event.cause),
            counted(event.attempt),
            or_dash(began.zip(cause_at).map(|(began, cause_at)| began - cause_at)),
            or_dash(began.map(|began| event.at - began)),
        ]
    }

    fn since(&self, slot: &str) -> Option<i64> {
        self.slots.get(slot).map(|event| event.at)
    }

    /// `None` for an order that was not placed.
    fn stands(&self) -> Option<Stands> {
        self.since("placed")?;
        let turned_at = ["inventory", "payment", "pivot", "shipment"]
            .into_iter()
            .find(|slot| self.is(slot, "refusal"));
        let turn = turned_at.map(|slot| {
            let event = &self.slots[slot];
            (slot.to_owned(), event.source.clone(), event.reason.clone())
        });
        let stands = |state: &str, waits: Option<(&str, &str)>| {
            let waits = waits.and_then(|(who, on)| Some((who.to_owned(), self.since(on)?)));
            Some(Stands { state: state.to_owned(), waits, turn: turn.clone() })
        };
        if self.is("closed", "forward") {
            return stands("completed", None);
        }
        if self.is("closed", "undo") {
            return stands("cancelled", None);
        }
        let Some((slot, by, _)) = &turn else {
            let steps = [
                ("inventory", "reserve-inventory", "placed"),
                ("payment", "charge-customer", "inventory"),
                ("shipment", "ship-order", "payment"),
                ("closed", "complete-order", "shipment"),
            ];
            let next = steps.into_iter().find(|(slot, ..)| !self.is(slot, "forward"));
            return stands("open", next.map(|(_, who, on)| (who, on)));
        };
        if !self.slots.contains_key("refused") {
            return stands("cancelling", Some((by, slot)));
        }
        let mut woken = "refused";
        for (slot, undo, who) in [
            ("payment", "payment-undo", "charge-customer"),
            ("inventory", "inventory-undo", "reserve-inventory"),
        ] {
            if self.slots.contains_key(slot) {
                if !self.is(undo, "undo") {
                    return stands("cancelling", Some((who, woken)));
                }
                woken = undo;
            }
        }
        stands("cancelling", Some(("complete-order", woken)))
    }

    /// Takes what the newest event says; whether all of it could be understood.
    fn understand(
        &mut self,
        slot: &str,
        id: &str,
        put: &mut impl FnMut(&'static str, &[String]),
    ) -> bool {
        let event = &self.slots[slot];
        let found = |value: &str, kind: &str| [value.to_lowercase(), kind.into(), id.to_owned()];
        if slot == "placed" {
            let mut parts = BTreeSet::from([id.to_owned()]);
            parts.extend(id.match_indices('-').map(|(at, _)| id[at + 1..].to_owned()));
            parts.iter().for_each(|part| put("refs", &found(part, "order")));
            let saga = SagaId::parse(id).unwrap();
            let derived = || event_id("order", &saga, "", "trace", "").simple().to_string();
            let trace = event.trace.clone().unwrap_or_else(derived);
            put("refs", &found(&trace, "trace"));
        }
        let data = event.data.clone();
        let text = |name: &str| data[name].as_str().map(str::to_owned);
        match event.event_type.as_str() {
            "order.placed.v1" => {
                let (Some(customer), Some(lines)) = (text("customer"), data["lines"].as_array())
                else {
                    return false;
                };
                let opening = [event.sequence.to_string(), event.at.to_string()];
                let skus: BTreeSet<_> =
                    lines.iter().map(|line| line["sku"].as_str().unwrap()).collect();
                let country = data["ship_to"]["country"].as_str().unwrap();
                let tags = skus.iter().map(|sku| ("sku", *sku));
                for (name, value) in tags.chain([("customer", &*customer), ("country", country)]) {
                    let tag = [name.to_owned(), value.to_owned(), id.to_owned()];
                    put("tags", &[tag.as_slice(), &opening].concat());
                    if name != "country" {
                        put("refs", &found(value, name));
                    }
                }
                let sum = |of: &dyn Fn(&Value) -> u64| json!(lines.iter().map(of).sum::<u64>());
                let pieces = |line: &Value| line["quantity"].as_u64().unwrap();
                let price = |line: &Value| line["unit_price"]["amount"].as_u64().unwrap();
                self.details.insert("pieces".into(), sum(&pieces));
                self.details.insert("amount".into(), sum(&|line| pieces(line) * price(line)));
                self.details.insert("currency".into(), json!("EUR"));
                self.details.insert("customer".into(), json!(customer));
            }
            "payment.charged.v1" => put("refs", &found(&text("payment").unwrap(), "payment")),
            "shipment.dispatched.v1" => {
                for name in ["label", "tracking"] {
                    put("refs", &found(&text(name).unwrap(), name));
                }
                if self.slots.contains_key("placed") {
                    self.details.insert("tracking".into(), data["tracking"].clone());
                }
            }
            _ => {}
        }
        true
    }
}

/// # Panics
/// When the rows are not what the log says; shows the first differences.
pub(crate) fn assert_equal(log: &[Logged], rows: &Connection) {
    let (expected, actual) = (expected(log), actual(rows));
    for (table, wanted) in &expected {
        let found = &actual[table];
        if wanted == found {
            continue;
        }
        let only = |of: &[String], other: &[String]| -> Vec<String> {
            let other: BTreeSet<_> = other.iter().collect();
            of.iter().filter(|line| !other.contains(line)).take(3).cloned().collect()
        };
        panic!(
            "{table}: {} rows, not {}\nthe log says {:#?}\nthe file {:#?}",
            found.len(),
            wanted.len(),
            only(wanted, found),
            only(found, wanted),
        );
    }
    let newest = log.iter().map(|message| message.at).max().unwrap_or(Timestamp::UNIX_EPOCH);
    assert!(newest > Timestamp::UNIX_EPOCH, "the log holds something");
}
