//! A carrier in memory that does what a test tells it to, and remembers what it did.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use quadrille::IdempotencyKey;
use quadrille::ids::Reference;
use quadrille::step::StepError;
use quadrille::testing::Faults;
use tokio::time::Instant;

use super::{Answer, Carrier, Parcel};
use crate::quotes::Rate;

/// Clones are the same carrier.
#[derive(Debug, Clone, Default)]
pub struct ScriptedCarrier {
    faults: Faults,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    answers: HashMap<IdempotencyKey, Answer>,
    refuses: Option<String>,
    labels: u32,
}

impl ScriptedCarrier {
    /// A carrier that is reached through `faults`, and accepts every parcel.
    pub fn new(faults: Faults) -> Self {
        Self { faults, book: Arc::default() }
    }

    /// From now on it refuses every parcel with this code.
    #[must_use]
    pub fn refusing(self, code: &str) -> Self {
        self.book().refuses = Some(code.to_owned());
        self
    }

    /// How many labels were bought.
    pub fn labels(&self) -> u32 {
        self.book().labels
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no code panics while it holds the lock")
    }
}

impl Book {
    fn label(&mut self, rate: &Rate, key: IdempotencyKey) -> Answer {
        if let Some(answer) = self.answers.get(&key) {
            return answer.clone();
        }
        let answer = match &self.refuses {
            Some(code) => Answer::Refused(code.clone()),
            None => {
                self.labels += 1;
                let reference = |prefix| Reference::parse(&format!("{prefix}-{}", self.labels));
                Answer::Label {
                    carrier: match rate {
                        Rate::Quoted(quote) => quote.carrier.clone(),
                        Rate::Flat => "scripted-post".into(),
                    },
                    label: reference("L").expect("printable ASCII"),
                    tracking: Some(format!("T-{}", self.labels)),
                    at_flat_rate: *rate == Rate::Flat,
                }
            }
        };
        self.answers.insert(key, answer.clone());
        answer
    }
}

impl Carrier for ScriptedCarrier {
    async fn label(
        &self,
        _: &Parcel<'_>,
        rate: &Rate,
        key: IdempotencyKey,
        _: Instant,
    ) -> Result<Answer, StepError> {
        Ok(self.faults.call(|| self.book().label(rate, key)).await?)
    }

    async fn decided(
        &self,
        _: &Parcel<'_>,
        key: IdempotencyKey,
        _: Instant,
    ) -> Result<Option<Answer>, StepError> {
        Ok(self.faults.call(|| self.book().answers.get(&key).cloned()).await?)
    }
}
