//! The operations over NATS, as a micro service: `nats micro ls`, `nats req orders.list '{}'`.

use std::sync::Arc;

use quadrille::broker::{Request, ServiceError};
use quadrille::service::Stopping;
use quadrille::service::problem::Problem;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::api::Api;
use crate::operation::Operation;
use crate::question::Question;

/// Requests in hand at once; further ones wait in the client.
const AT_ONCE: usize = 64;

/// The operations that there are, as endpoints.
pub(crate) fn endpoints(api: &Api) -> Vec<&'static str> {
    let all = Operation::ALL.into_iter();
    let served = all.filter(|operation| *operation != Operation::Stock || api.view.stock);
    served.map(Operation::name).collect()
}

/// What is asked of one certain replica.
pub(crate) const OF_REPLICA: [&str; 2] = ["projections", "rebuild"];

/// What each replica answers, to one who wants to know which there are: under a name that none has.
pub(crate) const OF_EACH: (&str, [&str; 1]) = ("query.each", ["projections"]);

/// Answers until the process is to stop; then finishes what it has in hand.
pub(crate) async fn serve(
    mut requests: mpsc::Receiver<Request>,
    api: Arc<Api>,
    mut stopping: Stopping,
) {
    let mut work = JoinSet::new();
    let mut asked = stopping.clone();
    loop {
        tokio::select! {
            request = requests.recv(), if work.len() < AT_ONCE => match request {
                Some(request) => {
                    let api = api.clone();
                    work.spawn(async move { respond(&api, request).await });
                }
                None => break,
            },
            Some(_) = work.join_next() => {}
            () = asked.asked() => break,
        }
    }
    drop(requests);
    tokio::select! {
        () = async { while work.join_next().await.is_some() {} } => {}
        () = stopping.let_go() => {}
    }
}

async fn respond(api: &Api, request: Request) {
    match answer(api, &request).await {
        Ok(answer) => request.respond(Ok(answer.into())),
        Err(problem) => {
            let message = format!("{}: {}", problem.title, problem.detail);
            let document = problem.to_json();
            request.refuse(ServiceError { code: problem.status, message }, document);
        }
    }
}

async fn answer(api: &Api, request: &Request) -> Result<Vec<u8>, Problem> {
    let endpoint = request.subject.rsplit('.').next().unwrap_or_default();
    let operation = Operation::ALL.into_iter().find(|operation| operation.name() == endpoint);
    let Some(operation) = operation else {
        return Err(Problem::new(404, "no-such-endpoint", "no such endpoint", endpoint));
    };
    let question = Question::from_json(&request.payload, &operation.parameters(api.view))?;
    let answer = api.answer(operation, &question).await?;
    Ok(answer.to_string().into_bytes())
}
