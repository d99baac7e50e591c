//! Lists and their counts, over indexes only: every order of a list is the order of an index that
//! begins with its filter.

mod statement;

use std::collections::BTreeSet;

use jiff::Timestamp;
use quadrille::Flow;
use quadrille::service::problem::Problem;
use quadrille_projection::rusqlite::{self, Connection, params_from_iter};
use serde_json::{Value, json};

use crate::found::Found;
use crate::question::{Cursor, Parameter, Question, bad};
use crate::view::View;
use statement::{Field, Statement};

/// Rows of one answer, at most.
pub(crate) const MOST: u64 = 200;
/// The state of a saga whose next message was set aside: which ones is asked of the broker.
pub(crate) const PARKED: &str = "parked";
/// What a count stops at.
const COUNTED: u64 = 10_000;

pub(crate) const HELD: Parameter = Parameter {
    name: "held",
    about: "Those that a worker has in hand now: retrying (an attempt failed), waiting (for a \
            service), or any",
    example: "retrying",
};

const WHY: Parameter = Parameter {
    name: "why",
    about: "Those that wait for this reason now, as `why` says it of one: retrying, \
            breaker-paused, parked, no-worker and others; worst first",
    example: "retrying",
};

/// The parameters of a list, besides the view's own filters.
const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "state",
        about: "open, parked, cancelling, completed or cancelled; those that are parked are open, \
                too",
        example: "open",
    },
    Parameter { name: "waits_for", about: "The worker whose turn it is", example: "ship-order" },
    Parameter { name: "reason", about: "Why it was turned around", example: "out-of-stock" },
    Parameter { name: "refused_at", about: "The slot that turned it around", example: "payment" },
    HELD,
    WHY,
    Parameter { name: "since", about: "Opened then or later", example: "2026-11-25T12:00:00Z" },
    Parameter { name: "until", about: "Opened before then", example: "2026-11-25T13:00:00Z" },
    Parameter { name: "older_than", about: "Opened longer ago than this", example: "10m" },
    Parameter {
        name: "order",
        about: "newest first; oldest first; or worst first: those that wait longest, with no \
                filters but state and waits_for",
        example: "newest",
    },
    Parameter { name: "limit", about: "Rows of the answer, 1 to 200", example: "50" },
    Parameter {
        name: "after",
        about: "The place of the next page: `next` of the last answer",
        example: "bi4xNzY0MDAwMDAwMDAwMDAwLjE3",
    },
];

/// Every parameter of this view's lists, filters first.
pub(crate) fn parameters(view: &View) -> Vec<Parameter> {
    let own = view.filters.iter().map(|filter| Parameter {
        name: filter.name,
        about: filter.about,
        example: filter.example,
    });
    PARAMETERS[..6].iter().copied().chain(own).chain(PARAMETERS[6..].iter().copied()).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Newest,
    Oldest,
    Worst,
}

impl Order {
    fn letter(self) -> char {
        match self {
            Self::Newest => 'n',
            Self::Oldest => 'o',
            Self::Worst => 'w',
        }
    }
}

/// A list that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct List {
    /// A column of `sagas` or a tag, and the value that it must have.
    filters: Vec<(Field, String)>,
    /// Of `opened_at`.
    dates: Vec<(&'static str, i64)>,
    /// Only these sagas, each once: what the workers hold is not in the rows.
    among: Option<String>,
    order: Order,
    pub(crate) limit: u64,
    pub(crate) after: Option<Cursor>,
}

impl List {
    /// `among` are the sagas that it is about, where the question itself does not say it.
    pub(crate) fn of(
        flow: &Flow,
        view: &View,
        question: &Question,
        among: Option<&BTreeSet<&str>>,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        let workers = flow.steps.iter().map(|step| step.worker).collect();
        one_of(question, "state", vec!["open", PARKED, "cancelling", "completed", "cancelled"])?;
        one_of(question, "waits_for", workers)?;
        one_of(question, "refused_at", flow.refusable().collect())?;
        let mut filters = tags(view, question)?;
        let columns = ["state", "waits_for", "reason", "refused_at"].map(Field::Column);
        let given = columns.into_iter().filter_map(|field| {
            let value = match question.text(field.name())? {
                // No row says what was set aside.
                PARKED if field.name() == "state" => "open",
                value => value,
            };
            Some((field, value.to_owned()))
        });
        filters.extend(given);
        let order = order(question, &filters)?;
        let cursor = |text: &str| {
            let cursor = Cursor::parse(text).filter(|cursor| cursor.order == order.letter());
            cursor.ok_or_else(|| {
                bad("after", "must be `next` of an answer with the same order", None)
            })
        };
        Ok(Self {
            filters,
            dates: dates(question, now)?,
            among: among.map(|sagas| json!(sagas).to_string()),
            order,
            limit: question.number("limit", 50, 1..=MOST)?,
            after: question.text("after").map(cursor).transpose()?,
        })
    }

    /// Reads the page; with its first page also how many rows there are.
    pub(crate) fn read(&self, rows: &Connection, now: Timestamp) -> rusqlite::Result<Page> {
        let begin = self.begin(rows)?;
        let (found, more) = self.found(rows, begin)?;
        let next = found.last().filter(|_| more).map(|last| self.cursor(last));
        let count = match self.after {
            Some(_) => None,
            None => {
                let Statement { text, values } = self.count(begin);
                let mut statement = rows.prepare_cached(&text)?;
                Some(statement.query_row(params_from_iter(values), |row| row.get::<_, u64>(0))?)
            }
        };
        Ok(Page {
            rows: found.iter().map(|found| found.json(now)).collect(),
            next: next.map(|next| next.to_string()),
            count: count.map(counted),
        })
    }

    /// Reads what the page is of, and whether more follows.
    pub(crate) fn found(
        &self,
        rows: &Connection,
        begin: Option<usize>,
    ) -> rusqlite::Result<(Vec<Found>, bool)> {
        let Statement { text, values } = self.page(begin);
        let mut statement = rows.prepare_cached(&text)?;
        let found = statement.query_map(params_from_iter(values), Found::of)?;
        let mut found = found.collect::<rusqlite::Result<Vec<_>>>()?;
        let more = found.len() as u64 > self.limit;
        found.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
        Ok((found, more))
    }

    /// The place behind a row.
    pub(crate) fn cursor(&self, found: &Found) -> Cursor {
        let at = match self.order {
            Order::Worst => found.waits_since.unwrap_or(0),
            Order::Newest | Order::Oldest => found.opened_at,
        };
        Cursor { order: self.order.letter(), at, opened: found.opened }
    }
}

/// The view's own filters that are given.
fn tags(view: &View, question: &Question) -> Result<Vec<(Field, String)>, Problem> {
    let given = view.filters.iter().filter_map(|filter| {
        let value = (filter.reads)(question.text(filter.name)?);
        Some(value.map(|value| (Field::Tag(filter.name), value)).ok_or_else(|| {
            let what = format!("must be a value such as {} ({})", filter.example, filter.about);
            bad(filter.name, &what, Some(filter.example))
        }))
    });
    given.collect()
}

/// A value that no row can have is a mistake, not an empty list.
fn one_of(question: &Question, name: &str, known: Vec<&str>) -> Result<(), Problem> {
    match question.text(name) {
        Some(value) if !known.contains(&value) => {
            let what = format!("must be one of {}", known.join(", "));
            Err(bad(name, &what, known.first().copied()))
        }
        Some(_) | None => Ok(()),
    }
}

/// Those that wait for a reason come worst first, unless no index has that with their filters.
fn order(question: &Question, filters: &[(Field, String)]) -> Result<Order, Problem> {
    let other = filters.iter().map(|(field, _)| field.name());
    let mut other = other.filter(|name| !["state", "waits_for"].contains(name));
    let rest = ["since", "until", "older_than"].into_iter();
    let mut rest = rest.filter(|name| question.text(name).is_some());
    let other = other.next().or_else(|| rest.next());
    let for_a_reason = question.text("why").is_some() || question.text("state") == Some(PARKED);
    let is_worst = for_a_reason && other.is_none();
    match (question.text("order"), other) {
        (None, _) if is_worst => Ok(Order::Worst),
        (None | Some("newest"), _) => Ok(Order::Newest),
        (Some("oldest"), _) => Ok(Order::Oldest),
        (Some("worst"), None) => Ok(Order::Worst),
        (Some("worst"), Some(name)) => {
            let what = format!("of worst cannot be combined with {name}: use newest or oldest");
            Err(bad("order", &what, Some("newest")))
        }
        (Some(_), _) => Err(bad("order", "must be newest, oldest or worst", Some("newest"))),
    }
}

fn dates(question: &Question, now: Timestamp) -> Result<Vec<(&'static str, i64)>, Problem> {
    let since = question.time("since")?.map(|since| (">=", since));
    let until = question.time("until")?.map(|until| ("<", until));
    let older = question.duration("older_than")?;
    let older = older.map(|age| ("<", now.checked_sub(age).unwrap_or(Timestamp::MIN)));
    let all = [since, until, older].into_iter().flatten();
    Ok(all.map(|(compare, time)| (compare, time.as_microsecond())).collect())
}

/// `{"rows": 12, "text": "12"}`, or with `"text": "10,000+"`.
pub(crate) fn counted(count: u64) -> Value {
    let capped = count > COUNTED;
    let count = count.min(COUNTED);
    let mut text = thousands(count);
    if capped {
        text.push('+');
    }
    json!({ "rows": count, "capped": capped, "text": text })
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What a list answers.
pub(crate) struct Page {
    pub(crate) rows: Vec<Value>,
    pub(crate) next: Option<String>,
    pub(crate) count: Option<Value>,
}

#[cfg(test)]
mod tests;
