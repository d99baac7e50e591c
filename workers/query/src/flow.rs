//! The flow as it runs now: for each arrow, which is one durable, how fast it flows, what waits and
//! for how long, what fails, who takes its messages, and whether it is paused.
//!
//! Rates and ages come from the rows; all else is asked of the broker and of the workers when
//! somebody looks, and asked once for all who look at about the same time.

mod round;

use jiff::Timestamp;
use quadrille::Flow;
use quadrille::broker::{DurableState, Pause, Unavailable};
use quadrille::flow::{Durable, Role, Row};
use quadrille::service::problem::Problem;
use quadrille::worker::held::Report;
use quadrille_projection::rusqlite::{self, Connection, params};
use serde_json::{Map, Value, json};

use crate::api::{Api, unavailable};
use crate::found::{milliseconds, shown};
use crate::steps;

use round::Round;
pub(crate) use round::Watch;

/// What a rate is an average of: short, because people look at it while it changes.
const WINDOW: std::time::Duration = std::time::Duration::from_secs(10);
/// Sagas looked at for the age of those that go one way; they come in the order of their ages.
const LOOKED_AT: u32 = 10_000;

pub(crate) async fn flow(api: &Api) -> Result<Value, Problem> {
    let round = api.watch.round(api.flow, &*api.broker).await;
    if let Some(why) = round.no_answer() {
        return Err(unavailable(&why.to_string()));
    }
    let now = api.now()?;
    let flow = api.flow;
    let query = move |rows: &Connection| {
        let steps = steps::steps(rows, flow, WINDOW, now)?;
        let ages = arrows(flow).into_iter().map(|durable| waiting(rows, &durable, now));
        Ok((steps, ages.collect::<rusqlite::Result<Vec<_>>>()?))
    };
    let read = api.projection.read(api.settings.query_limit, query).await;
    let place = read.as_ref().ok().map(|(_, place)| *place);
    // Without rows the map is still there.
    let (steps, waiting) = read.map_or_else(|_| Default::default(), |(read, _)| read);
    let durables = arrows(flow);
    let arrows = durables.iter().enumerate().map(|(at, durable)| {
        let worker = flow.steps.iter().position(|row| row.worker == durable.worker);
        let step = worker.and_then(|at| steps.get(at));
        arrow(&round, durable, step, waiting.get(at), now)
    });
    let mut answer = table(flow);
    answer["arrows"] = arrows.collect();
    answer["replicas"] = round.reports().map(replica).collect();
    answer["services"] = round.services(flow).into();
    answer["window_s"] = WINDOW.as_secs().into();
    answer["as_of"] = api.as_of(place);
    Ok(answer)
}

/// The durables that move sagas on their way: what may turn one around from outside, or tries again
/// what was parked, is no arrow of the picture.
pub(crate) fn arrows(flow: &Flow) -> Vec<Durable> {
    let moves =
        |durable: &Durable| matches!(durable.role, Role::Forward | Role::Undo | Role::Closing);
    flow.durables(None).into_iter().filter(moves).collect()
}

/// The flow table: what there is, whoever runs.
pub(crate) fn table(flow: &Flow) -> Value {
    json!({
        "saga": flow.saga,
        "stream": flow.stream,
        "subjects": flow.subjects,
        "opens": { "slot": flow.opens.slot, "event": flow.opens.event },
        "turns": { "slot": flow.turns.slot, "event": flow.turns.event },
        "steps": flow.steps.iter().map(step).collect::<Vec<_>>(),
    })
}

/// A row of the flow table.
fn step(row: &Row) -> Value {
    json!({
        "worker": row.worker,
        "on": row.on,
        "slot": row.slot,
        "done": row.done,
        "refused": row.refused,
        "cancelled": row.cancelled,
        "undo": row.undo.map(|undo| json!({ "slot": undo.slot, "events": undo.events })),
        "pivot": row.pivot.map(|pivot| {
            json!({ "slot": pivot.slot, "go": pivot.go, "stop": pivot.stop })
        }),
        "requires": row.requires,
        "prefers": row.prefers,
    })
}

fn replica(report: &Report) -> Value {
    json!({
        "worker": report.worker,
        "instance": report.instance,
        "held_total": report.held_total,
        "held": report.held,
        "breakers": report.breakers,
    })
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Forward => "forward",
        Role::Undo => "undo",
        Role::Closing => "closing",
        Role::Cancel => "cancel",
        Role::Deadline(_) => "deadline",
        Role::Released => "released",
    }
}

fn arrow(
    round: &Round,
    durable: &Durable,
    step: Option<&Value>,
    waiting: Option<&Value>,
    now: Timestamp,
) -> Value {
    let Durable { name, worker, role: of, filters, stream: _ } = durable;
    let live = round.durables.get(name);
    let state = live.and_then(|live| live.as_ref().ok()).and_then(Option::as_ref);
    let replicas = round.reports().filter(|report| report.worker == *worker).count();
    let mut held: Vec<_> = round
        .reports()
        .flat_map(|report| &report.held)
        .filter(|one| one.durable == *name)
        .collect();
    held.sort_by_key(|held| held.since);
    let failing: Vec<_> = held.iter().filter(|held| held.last_error.is_some()).collect();
    let pause = round.pause(durable, state);
    let condition = if replicas == 0 {
        "stopped"
    } else if pause.is_some() {
        "paused"
    } else if !failing.is_empty() {
        "failing"
    } else {
        "running"
    };
    let mut arrow = Map::new();
    let mut put = |name: &str, value: Value| arrow.insert(name.to_owned(), value);
    put("durable", json!(name));
    put("worker", json!(worker));
    put("role", json!(role(*of)));
    put("woken_by", json!(filters));
    put("condition", json!(condition));
    put("replicas", json!(replicas));
    put("pause", json!(pause));
    put("pending", json!(state.map(|state| state.pending)));
    put("in_hand", json!(state.map(|state| state.in_hand)));
    put("redelivered", json!(state.map(|state| state.redelivered)));
    put("pulls", json!(state.map(|state| state.pulls)));
    put("error", json!(live.and_then(error)));
    put("held", json!(held.len()));
    put("failing", json!(failing.len()));
    // A replica names only some of what it holds, so there may be more.
    put("capped", json!(round.reports().any(|one| one.worker == *worker && is_cut(one))));
    put("last_error", json!(failing.first().and_then(|held| held.last_error.as_deref())));
    let rate = step.map(|step| rate(step, *of));
    put("per_second", json!(rate));
    put("refused", json!(step.filter(|_| *of == Role::Forward).map(|step| &step["refused"])));
    put("waiting", json!(waiting));
    put("now", json!(now.to_string()));
    Value::Object(arrow)
}

/// Whether a replica holds more than it names.
fn is_cut(report: &Report) -> bool {
    report.held_total > report.held.len()
}

fn error(live: &Result<Option<DurableState>, Unavailable>) -> Option<String> {
    match live {
        Ok(Some(_)) => None,
        Ok(None) => Some("the broker has no such durable".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// What a step decides in a second, one way.
fn rate(step: &Value, role: Role) -> f64 {
    let count = |name: &str| step[name].as_u64().unwrap_or(0) as f64;
    let decided = match role {
        Role::Forward => count("done") + count("refused"),
        Role::Undo | Role::Closing => count("undone"),
        Role::Cancel | Role::Deadline(_) | Role::Released => 0.0,
    };
    (decided / WINDOW.as_secs_f64() * 10.0).round() / 10.0
}

/// How many sagas wait for a worker to do this, and since when the one that waits longest.
fn waiting(rows: &Connection, durable: &Durable, now: Timestamp) -> rusqlite::Result<Value> {
    let state = if durable.role == Role::Forward { "open" } else { "cancelling" };
    let count: u64 = rows
        .prepare_cached(
            "SELECT coalesce(sum(sagas), 0) FROM counts WHERE state = ?1 AND waits_for = ?2",
        )?
        .query_row([state, durable.worker], |row| row.get(0))?;
    let since: Option<i64> = if count == 0 {
        None
    } else {
        rows.prepare_cached(
            "SELECT min(waits_since) FROM (SELECT waits_since, state FROM sagas \
             WHERE waits_for = ?1 AND waits_since IS NOT NULL ORDER BY waits_since LIMIT ?3) \
             WHERE state = ?2",
        )?
        .query_row(params![durable.worker, state, LOOKED_AT], |row| row.get(0))?
    };
    Ok(json!({
        "count": count,
        "oldest_since": since.and_then(shown),
        "oldest_ms": since.map(|since| milliseconds(since, now.as_microsecond())),
    }))
}

/// How a durable is paused.
fn paused(pause: &Pause) -> Option<Timestamp> {
    match pause {
        Pause::Off => None,
        Pause::On { until, .. } => Some(*until),
    }
}
