//! A list with what no rows have: what the workers hold of its sagas now, and why each waits.
//!
//! Which message is in hand is asked of the workers. Why a saga waits is decided for one after the
//! other, in the order of the list, from its rows and from one look at all workers, as it is for a
//! single one; so an answer is of some rows at most, and says of how many. Whether one is parked
//! follows from its rows and from what was set aside, so no worker is asked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::broker::Unavailable;
use quadrille::log::story::{self, Phase, Story};
use quadrille::log::token::Token;
use quadrille::service::problem::Problem;
use quadrille::why::{Code, Round, Why};
use quadrille_projection::rusqlite::{self, Connection};
use quadrille_projection::story::lines;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::api::{Api, unavailable};
use crate::aside;
use crate::found::Found;
use crate::held::{Hands, Which};
use crate::list::{List, MOST, PARKED, Page, counted};
use crate::question::{Question, bad};
use crate::why::TOOL;

/// Sagas that one answer looks at, at most, so that it takes about a second where it decides why
/// each of them waits, and far less where it does not.
const LOOKED_AT: u64 = 1_000;
/// How long one answer takes, about: each saga may need a look of its own. `nats req` gives up
/// after 5 s, and what is waited for before and behind counts, too.
const LONGEST: Duration = Duration::from_secs(2);

/// A list, as it was asked for.
pub(crate) async fn list(api: &Api, question: &Question) -> Result<Value, Problem> {
    let now = api.now()?;
    let (which, wanted) = (Which::of(question)?, Wanted::of(question)?);
    let (mut round, mut set_aside) = (None, Arc::default());
    if let Some(wanted) = wanted {
        // Before the look, so that nobody is asked about what has not happened.
        api.reached(question).await?;
        if wanted.code.is_some() {
            round = Some(Round::look(&*api.broker, api.flow).await.map_err(no_answer)?);
        }
        set_aside = api.aside.list(api).await.map_err(no_answer)?;
    }
    let hands = match (&round, which) {
        (Some(round), _) => Some(Hands::of(round.replicas())),
        (None, Some(_)) => Some(Hands::look(api.flow, &*api.broker).await),
        (None, None) => None,
    };
    // What some reasons are of is known without looking at every saga that waits.
    let mut among: Option<BTreeSet<&str>> =
        hands.as_ref().zip(which).map(|(hands, which)| hands.sagas(which));
    let of_code = match wanted {
        Some(Wanted { code: Some(Code::Retrying | Code::Held | Code::UndoBlocked), .. }) => {
            hands.as_ref().map(|hands| hands.sagas(Which::Any))
        }
        // Of all that was ever set aside few may be open: where it is much, the rows are walked.
        Some(wanted) if wanted.is_set_aside() && set_aside.len() as u64 <= LOOKED_AT => {
            Some(set_aside.iter().map(SagaId::as_str).collect())
        }
        Some(_) | None => None,
    };
    among = match (among, of_code) {
        (Some(held), Some(of_code)) => Some(held.intersection(&of_code).copied().collect()),
        (among, of_code) => among.or(of_code),
    };
    let list = List::of(api.flow, api.view, question, among.as_ref(), now)?;
    let mut answer = Map::new();
    let (mut page, place) = match wanted {
        None => {
            let (mut page, place) = api.rows(question, move |rows| list.read(rows, now)).await?;
            aside::mark(api, page.rows.iter_mut()).await;
            (page, place)
        }
        Some(wanted) => {
            let mut walk = Walk { api, wanted, round, set_aside, looked_at: 0 };
            let (page, place) = walk.page(list).await?;
            let looked_at = json!({ "rows": walk.looked_at, "all": page.next.is_none() });
            answer.insert("looked_at".to_owned(), looked_at);
            (page, place)
        }
    };
    if let Some(hands) = hands {
        hands.add_to(&mut page.rows, which.unwrap_or(Which::Any));
        answer.insert("asked".to_owned(), hands.asked(api.flow));
        answer.insert("not_named".to_owned(), hands.not_named().into());
        // The clock that `next_try` is of.
        answer.insert("now".to_owned(), now.to_string().into());
    }
    answer.insert(api.view.many.to_owned(), page.rows.into());
    answer.insert("next".to_owned(), page.next.into());
    if let Some(count) = page.count {
        answer.insert("count".to_owned(), count);
    }
    answer.insert("as_of".to_owned(), api.as_of(Some(place)));
    Ok(answer.into())
}

/// Why a saga waits that is parked.
const ASIDE: [Code; 2] = [Code::Parked, Code::UnknownVersion];

/// What is asked of those that wait.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// Why.
    code: Option<Code>,
    /// Whether only those are listed that are shown as parked, whatever they wait for.
    is_parked: bool,
}

impl Wanted {
    /// `None` if neither is asked for.
    fn of(question: &Question) -> Result<Option<Self>, Problem> {
        let is_parked = question.text("state") == Some(PARKED);
        let Some(text) = question.text("why") else {
            return Ok(is_parked.then_some(Self { code: None, is_parked }));
        };
        let known = Code::WAITING.into_iter().find(|code| code.name() == text);
        known.map(|code| Some(Self { code: Some(code), is_parked })).ok_or_else(|| {
            let names = Code::WAITING.map(Code::name).join(", ");
            bad("why", &format!("must be one of {names}"), Some("retrying"))
        })
    }

    /// Whether only what was set aside can be it.
    fn is_set_aside(self) -> bool {
        self.is_parked || self.code.is_some_and(|code| ASIDE.contains(&code))
    }

    /// `why` is there where a reason is asked for.
    fn is(self, story: &Story, why: Option<&Why>) -> bool {
        (!self.is_parked || story.state.phase == Phase::Parked)
            && self.code.is_none_or(|code| why.is_some_and(|why| why.code == code))
    }
}

/// Looks at one saga after the other.
struct Walk<'a> {
    api: &'a Api,
    wanted: Wanted,
    /// Where a reason is asked for.
    round: Option<Round>,
    set_aside: Arc<BTreeSet<SagaId>>,
    looked_at: u64,
}

impl Walk<'_> {
    async fn page(&mut self, mut list: List) -> Result<(Page, Token), Problem> {
        let api = self.api;
        let first = list.after.is_none();
        let limit = std::mem::replace(&mut list.limit, MOST);
        let mut rows = Vec::new();
        let began = Instant::now();
        loop {
            let now = api.now()?;
            let of = list.clone();
            let only = self.wanted.is_set_aside().then(|| Arc::clone(&self.set_aside));
            let query = move |rows: &Connection| {
                let (found, more) = of.found(rows, of.begin(rows)?)?;
                let told = found.into_iter().map(|found| {
                    // What is over waits for nothing.
                    let id = SagaId::parse(found.id()).ok().filter(|id| {
                        found.waits() && only.as_ref().is_none_or(|only| only.contains(id))
                    });
                    let lines = id.as_ref().map(|id| lines(rows, id)).transpose()?;
                    Ok((found, id.zip(lines)))
                });
                let told: Vec<_> = told.collect::<rusqlite::Result<_>>()?;
                Ok((told, more))
            };
            let ((told, more), place) = api.rows(&Question::default(), query).await?;
            let ids = told.iter().filter_map(|(_, told)| Some(&told.as_ref()?.0));
            let ids = ids.filter(|id| self.set_aside.contains(id));
            let mut parked = aside::read(api, ids.cloned().collect()).await.map_err(no_answer)?;
            let count = told.len();
            let mut last = None;
            for (at, (found, told)) in told.into_iter().enumerate() {
                self.looked_at += 1;
                last = Some(list.cursor(&found));
                if let Some((id, lines)) = told {
                    let parked = parked.remove(&id).unwrap_or_default();
                    let story = story::retell(api.flow, &id, lines, &parked);
                    let mut why = None;
                    if let Some(round) = &mut self.round {
                        let decided = round.decide(&*api.broker, &story, TOOL).await;
                        why = Some(decided.map_err(no_answer)?);
                    }
                    if self.wanted.is(&story, why.as_ref()) {
                        rows.push(row(api, &found, &story, why.as_ref(), now));
                    }
                }
                let is_enough = rows.len() as u64 == limit || began.elapsed() >= LONGEST;
                if is_enough && (more || at + 1 < count) {
                    let next = last.map(|last| last.to_string());
                    return Ok((Page { rows, next, count: None }, place));
                }
            }
            let last = last.filter(|_| more);
            if last.is_none() || self.looked_at >= LOOKED_AT {
                let next = last.map(|last| last.to_string());
                let all = (first && next.is_none()).then(|| counted(rows.len() as u64));
                return Ok((Page { rows, next, count: all }, place));
            }
            list.after = last;
        }
    }
}

fn no_answer(error: Unavailable) -> Problem {
    unavailable(&error.to_string())
}

fn row(api: &Api, found: &Found, story: &Story, why: Option<&Why>, now: Timestamp) -> Value {
    let mut row = found.json(now);
    if story.state.phase == Phase::Parked && row["state"] == "open" {
        aside::show(api, &mut row, story);
    }
    if let Some(why) = why {
        row["why"] = json!({ "code": why.code, "sentence": why.sentence });
    }
    row
}
