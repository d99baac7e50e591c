//! What replaces the servers of hotel and bank: a book each, a text file that the workers of
//! several processes share and a person can read. Delete it once you have real adapters.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use quadrille::IdempotencyKey;
use quadrille::step::StepError;
use quadrille::testing::{Faults, laws::Effects};
use serde::{Deserialize, Serialize};

/// The section of a worker in the settings: `[book-hotel]`, or `QUADRILLE_BOOK_HOTEL__WORLD`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The folder of the books; if this is empty, the folder where the worker was started.
    pub world: PathBuf,
    /// How long an answer takes, once the book is written.
    #[serde(with = "quadrille::config::duration")]
    pub answers_after: Duration,
}

/// What one service has done, by key: a line for each time that it did or took back something.
#[derive(Debug, Clone)]
pub struct Book {
    file: PathBuf,
    answers_after: Duration,
    faults: Faults,
}

impl Book {
    /// The book of this `service`: `hotel` is the file `hotel.book`.
    pub fn of(service: &str, settings: &Settings) -> Self {
        let file = settings.world.join(service).with_extension("book");
        Self { file, answers_after: settings.answers_after, faults: Faults::none() }
    }

    /// The same book, reached with these faults, which the laws of the steps need.
    pub fn with(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// Does it, once for each key; false if this key is struck off.
    pub async fn enter(&self, key: IdempotencyKey) -> Result<bool, StepError> {
        let entry = |last: Option<&str>| if last.is_none() { Some("done") } else { None };
        let last = self.write(key, entry).await?;
        Ok(last.is_none_or(|last| last == "done"))
    }

    /// Takes it back, and never does it again.
    pub async fn strike(&self, key: IdempotencyKey) -> Result<(), StepError> {
        let entry = |last: Option<&str>| match last {
            None => Some("barred"),
            Some("done") => Some("undone"),
            Some(_) => None,
        };
        self.write(key, entry).await.map(drop)
    }

    /// What it did and took back, whatever the keys.
    pub fn effects(&self) -> Effects {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let count = |word: &str| text.lines().filter(|line| line.ends_with(word)).count() as u32;
        Effects { done: count(" done"), undone: count(" undone") }
    }

    /// One request: adds the `entry` that follows the last one of this key, and returns the last.
    async fn write(
        &self,
        key: IdempotencyKey,
        entry: impl Fn(Option<&str>) -> Option<&'static str>,
    ) -> Result<Option<String>, StepError> {
        let written = self.faults.call(|| {
            let mut file = File::options().create(true).read(true).append(true).open(&self.file)?;
            file.lock()?;
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            let key = format!("{key} ");
            let last = text.lines().rev().find_map(|line| line.strip_prefix(&key));
            if let Some(word) = entry(last) {
                file.write_all(format!("{key}{word}\n").as_bytes())?;
            }
            io::Result::Ok(last.map(str::to_owned))
        });
        let last = written.await??;
        tokio::time::sleep(self.answers_after).await;
        Ok(last)
    }
}
