//! Reads slots from any replica, many in one request: while one request is under way, the next
//! questions gather. So checking every message costs far less than one request per message.
//!
//! What is found in a slot is true, no matter which replica says so, because a slot is written
//! once; that nothing is found proves nothing.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::broker::{Broker, Stored, Unavailable};

/// Subjects in one request: the broker answers at most 1,024, and a slot's event can be 64 KB.
const MOST: usize = 128;

type Answer = Result<Option<Stored>, Unavailable>;

struct Question {
    subject: String,
    answer: oneshot::Sender<Answer>,
}

/// Asks [`answer_all`].
#[derive(Debug, Clone)]
pub(crate) struct Lookup(mpsc::Sender<Question>);

/// What [`answer_all`] answers.
pub(crate) struct Questions(mpsc::Receiver<Question>);

pub(crate) fn lookup() -> (Lookup, Questions) {
    let (sender, receiver) = mpsc::channel(MOST);
    (Lookup(sender), Questions(receiver))
}

impl Lookup {
    /// The last message of an exact subject, from any replica: `None` proves nothing.
    pub(crate) async fn last(&self, subject: &str) -> Answer {
        let gone = || Unavailable("the process is stopping".into());
        let (answer, answered) = oneshot::channel();
        let question = Question { subject: subject.to_owned(), answer };
        self.0.send(question).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Answers until every [`Lookup`] is dropped.
pub(crate) async fn answer_all(broker: Arc<dyn Broker>, stream: &str, mut questions: Questions) {
    let mut batch = Vec::with_capacity(MOST);
    while questions.0.recv_many(&mut batch, MOST).await > 0 {
        let subjects = batch.iter().map(|question| question.subject.clone()).collect();
        let read = broker.last_of_many(stream, subjects).await;
        let found: Result<HashMap<&str, &Stored>, &Unavailable> = read
            .as_ref()
            .map(|found| found.iter().map(|stored| (stored.subject.as_str(), stored)).collect());
        for Question { subject, answer } in batch.drain(..) {
            let one = match &found {
                Ok(found) => Ok(found.get(subject.as_str()).copied().cloned()),
                Err(unavailable) => Err((*unavailable).clone()),
            };
            // The task that asked may have been dropped meanwhile.
            let _ = answer.send(one);
        }
    }
}
