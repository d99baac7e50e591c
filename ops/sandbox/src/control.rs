//! The paths for tests, which no client of the services may use: the ledger, the calls, the faults.
//! Faults never disturb them, and their requests are not counted.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::routing::{get, put};
use serde::Deserialize;

use crate::answer::Answer;
use crate::exchange::App;
use crate::faults::Settings;
use crate::ledger::Effect;
use crate::operation::Service;

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/ledger", get(ledger))
        .route("/ledger/summary", get(summary))
        .route("/balance", get(balance))
        .route("/calls", get(calls))
        .route("/faults", get(faults).delete(clear_faults))
        .route("/faults/{service}", put(set_faults))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    order: Option<String>,
    effect: Option<Effect>,
}

async fn ledger(State(app): State<Arc<App>>, Query(wanted): Query<Selection>) -> Answer {
    let world = app.world();
    Answer::new(200, &world.ledger.select(wanted.order.as_deref(), wanted.effect))
}

async fn summary(State(app): State<Arc<App>>) -> Answer {
    Answer::new(200, app.world().ledger.summary())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneOrder {
    order: String,
}

async fn balance(
    State(app): State<Arc<App>>,
    Query(OneOrder { order }): Query<OneOrder>,
) -> Answer {
    Answer::new(200, &app.world().ledger.balance(&order))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyOrder {
    order: Option<String>,
}

async fn calls(State(app): State<Arc<App>>, Query(AnyOrder { order }): Query<AnyOrder>) -> Answer {
    Answer::new(200, &app.world().calls.report(order.as_deref()))
}

async fn faults(State(app): State<Arc<App>>) -> Answer {
    Answer::new(200, &app.world().faults.report())
}

async fn set_faults(
    State(app): State<Arc<App>>,
    Path(service): Path<Service>,
    body: Bytes,
) -> Answer {
    match Settings::parse(service, &body) {
        Ok(settings) => {
            let answer = Answer::new(200, &settings);
            app.world().faults.set(service, settings);
            answer
        }
        Err(message) => Answer::bad_control(&message),
    }
}

async fn clear_faults(State(app): State<Arc<App>>) -> Answer {
    let mut world = app.world();
    world.faults.clear();
    Answer::new(200, &world.faults.report())
}
