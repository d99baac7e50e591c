//! The quote service's path. It reads its request and leaves the rest to `exchange`.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::routing::get;
use serde::Deserialize;

use crate::answer::{Answer, Reply};
use crate::carrier::{Destination, error};
use crate::exchange::{App, ask, malformed};
use crate::operation::Operation;
use crate::quote::Parcel;
use crate::request::Question;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/rates", get(rates))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rates {
    reference: String,
    country: String,
    postcode: Option<String>,
    items: u32,
}

async fn rates(State(app): State<Arc<App>>, query: Result<Query<Rates>, QueryRejection>) -> Reply {
    match read(query) {
        Ok(parcel) => ask(&app, Question::Rates(parcel)).await,
        Err(answer) => malformed(&app, Operation::Rates, answer),
    }
}

fn read(query: Result<Query<Rates>, QueryRejection>) -> Result<Parcel, Answer> {
    let Query(rates) = query.map_err(|bad| error(400, "malformed", &bad.body_text()))?;
    let Rates { reference, country, postcode, items } = rates;
    let parcel = Parcel { reference, ship_to: Destination { country, postcode }, items };
    parcel.check().map_err(|message| error(400, "malformed", message))?;
    Ok(parcel)
}
