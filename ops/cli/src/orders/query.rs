//! A question to a query worker, and what to do when there is no answer.

use anyhow::{Context, anyhow};
use quadrille::broker::Broker;
use quadrille::nats::NatsBroker;
use quadrille_tool::output::Advise;
use serde_json::Value;

/// Asks any of the query workers on this broker, or the one that the subject names.
///
/// # Errors
/// When none runs, or it refuses the question.
pub(crate) async fn ask(
    broker: &NatsBroker,
    subject: &str,
    question: &Value,
) -> anyhow::Result<Value> {
    let asked = broker.request(subject, question.to_string().into()).await;
    let answer = asked.map_err(|error| {
        anyhow::Error::new(error).context("no query worker was reached").advise(
            "a query worker must be running on this broker: `nats micro ls` lists those that run. \
             Without one, `quadrille open` lists what is open, and `quadrille trace ID` tells an \
             order's story, from the log itself",
        )
    })?;
    match answer {
        Ok(answer) => serde_json::from_slice(&answer).context("the query worker's answer"),
        Err(error) if error.code >= 500 => Err(anyhow!("{} ({})", error.message, error.code)
            .advise("the query worker could not find out: try again")),
        Err(error) => Err(anyhow!("{}", error.message)),
    }
}
