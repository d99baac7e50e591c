//! Why one saga waits, asked of the log, the workers and the breakers at this moment.

use quadrille::service::problem::Problem;
use quadrille::why::{self, Code};
use serde_json::Value;

use crate::api::{Api, saga_of, unavailable};
use crate::question::Question;

/// The operator's tool, as what can be done names it.
pub(crate) const TOOL: &str = "quadrille";

pub(crate) async fn get(api: &Api, question: &Question) -> Result<Value, Problem> {
    let id = saga_of(question)?;
    let looked = why::look(&*api.broker, api.flow, &id).await;
    let (story, seen) = looked.map_err(|error| unavailable(&error.to_string()))?;
    let why = why::decide(api.flow, &story, &seen, TOOL);
    if why.code == Code::NotOpened {
        return Err(Problem::new(404, "not-found", "not in the log", why.sentence));
    }
    Ok(serde_json::to_value(why).unwrap_or_default())
}
