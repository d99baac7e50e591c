//! One request from arrival to reply: faults first, then the key, then the execution.
//!
//! An execution that has begun is finished even when its client leaves, as at a real service. So
//! latency after the start runs in the background and not in the client's connection.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::answer::{Answer, Reply};
use crate::decision::Slowly;
use crate::faults::{Disturbance, Plan};
use crate::keys::Begin;
use crate::operation::{Operation, Service};
use crate::request::{Change, Question};
use crate::world::World;

#[derive(Debug)]
pub(crate) struct App {
    world: Mutex<World>,
    /// Executions that outlive their request. Bounded by the requests that clients send.
    background: Mutex<JoinSet<()>>,
}

impl App {
    pub(crate) fn new(world: World) -> Self {
        Self { world: Mutex::new(world), background: Mutex::default() }
    }

    /// The world as it is now: what was to happen by itself until now has happened.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        let world = self.world.lock();
        let mut world = world.expect("a panic under this lock has already failed the test");
        world.catch_up();
        world
    }

    /// Aborts what still executes in the background, so that it never happens.
    pub(crate) async fn stop(&self) {
        let mut background = std::mem::take(&mut *self.tasks());
        background.shutdown().await;
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.background.lock().expect("nothing panics under this lock")
    }

    fn in_background(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

/// A request that was never well-formed: counted, answered, not saved under its key.
pub(crate) fn malformed(app: &App, operation: Operation, answer: Answer) -> Reply {
    app.world().calls.count(operation, None);
    Reply::Fresh(answer)
}

/// A request that changes nothing.
pub(crate) async fn ask(app: &App, question: Question) -> Reply {
    let mut plan = {
        let mut world = app.world();
        let order = world.order_of_question(&question).map(str::to_owned);
        world.admit(question.operation(), order.as_deref())
    };
    let service = question.operation().service();
    if let Some(reply) = disturb(&mut plan, service).await {
        return reply;
    }
    pause(plan.latency).await;
    let answer = match saved_error(&plan, service) {
        // A read has no key to save it under.
        Some(error) => error,
        None => app.world().answer(&question),
    };
    deliver(&plan, Reply::Fresh(answer))
}

/// A request that may change something.
pub(crate) async fn change(app: Arc<App>, change: Change) -> Reply {
    let mut plan = {
        let mut world = app.world();
        let order = world.order_of_change(&change).map(str::to_owned);
        world.admit(change.operation(), order.as_deref())
    };
    let service = change.operation().service();
    if let Some(reply) = disturb(&mut plan, service).await {
        return reply;
    }
    // A statement of its own, so that the lock is released before anything is awaited.
    let begin = app.world().begin(&change);
    let reply = match begin {
        Begin::Begun => return deliver(&plan, execute(app, change, &plan).await),
        Begin::Replay(answer) => Reply::Replayed(answer),
        Begin::InUse => Reply::Fresh(Answer::key_in_use(service)),
        Begin::OtherRequest => Reply::Fresh(Answer::key_reused(service)),
    };
    pause(plan.latency).await;
    deliver(&plan, reply)
}

/// Applies the fault that comes before any execution; `None` means that the request goes on.
async fn disturb(plan: &mut Plan, service: Service) -> Option<Reply> {
    let disturbance = std::mem::take(&mut plan.disturbance);
    let reply = match disturbance {
        Disturbance::None | Disturbance::SaveError { .. } => {
            plan.disturbance = disturbance;
            return None;
        }
        Disturbance::Hang(mut released) => match released.changed().await {
            Ok(()) => return None,
            Err(_the_server_stops) => Reply::Severed,
        },
        Disturbance::DropBefore => Reply::Severed,
        Disturbance::Overload { retry_after_s } => {
            let answer = Answer::failure(service, 429, "rate_limit", "too many requests");
            Reply::RetryAfter(answer, retry_after_s)
        }
        Disturbance::KeyInUse => Reply::Fresh(Answer::key_in_use(service)),
        Disturbance::Page { status } => Reply::Page(status),
        Disturbance::Error { status } => Reply::Fresh(injected_error(service, status)),
    };
    pause(plan.latency).await;
    Some(deliver(plan, reply))
}

/// Executes a change whose key has just been marked: at once, after the latency, or late.
async fn execute(app: Arc<App>, change: Change, plan: &Plan) -> Reply {
    let service = change.operation().service();
    let outcome = match saved_error(plan, service) {
        Some(error) => Outcome::Error(error),
        None => Outcome::Executed(plan.slowly),
    };
    if let Some(delay) = plan.commit_late {
        drop(complete_after(&app, delay, change, outcome));
        pause(plan.latency).await;
        let message = "the request is still being processed";
        return Reply::Fresh(Answer::failure(service, 504, "timeout", message));
    }
    if plan.latency.is_zero() {
        return Reply::Fresh(complete(&app, &change, outcome));
    }
    let completed = complete_after(&app, plan.latency, change, outcome);
    // Only a server that stops drops the sender; its connections are closing anyway.
    completed.await.map_or(Reply::Severed, Reply::Fresh)
}

/// How an execution ends.
enum Outcome {
    Executed(Slowly),
    /// With this error, which the key remembers.
    Error(Answer),
}

fn complete(app: &App, change: &Change, outcome: Outcome) -> Answer {
    let mut world = app.world();
    match outcome {
        Outcome::Error(error) => world.complete_with(change, error),
        Outcome::Executed(slowly) => world.complete(change, slowly),
    }
}

fn complete_after(
    app: &Arc<App>,
    delay: Duration,
    change: Change,
    outcome: Outcome,
) -> oneshot::Receiver<Answer> {
    let (sender, receiver) = oneshot::channel();
    let world = Arc::clone(app);
    app.in_background(async move {
        pause(delay).await;
        // The client may have left; the execution counts all the same.
        let _ = sender.send(complete(&world, &change, outcome));
    });
    receiver
}

fn saved_error(plan: &Plan, service: Service) -> Option<Answer> {
    if let Disturbance::SaveError { status } = plan.disturbance {
        Some(injected_error(service, status))
    } else {
        None
    }
}

fn injected_error(service: Service, status: u16) -> Answer {
    Answer::failure(service, status, "unavailable", "an injected fault")
}

fn deliver(plan: &Plan, reply: Reply) -> Reply {
    if plan.drop_reply { Reply::Severed } else { reply }
}

/// A zero sleep would still wait for the next tick of the timer.
async fn pause(duration: Duration) {
    if !duration.is_zero() {
        sleep(duration).await;
    }
}
