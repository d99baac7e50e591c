//! What can be asked, whichever way the question came: each operation is one function from a
//! question to a JSON document, or to a problem.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use quadrille::broker::Broker;
use quadrille::log::token::Token;
use quadrille::service::problem::Problem;
use quadrille::{Flow, SagaId};
use quadrille_projection::rusqlite::Connection;
use quadrille_projection::{NotThere, Projection, ReadError, Status, rusqlite};
use serde_json::{Value, json};

use crate::operation::Operation;
use crate::question::{Question, bad};
use crate::view::View;
use crate::{Settings, aside, changes, find, flow, held, listed, one, steps, stock, why};

/// Everything that an operation needs.
pub(crate) struct Api {
    pub(crate) projection: Projection,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) flow: &'static Flow,
    pub(crate) view: &'static View,
    pub(crate) settings: Settings,
    pub(crate) watch: flow::Watch,
    pub(crate) aside: aside::Named,
    /// Names this replica.
    pub(crate) replica: String,
}

impl Api {
    pub(crate) fn new(
        projection: Projection,
        broker: Arc<dyn Broker>,
        view: &'static View,
        settings: Settings,
        replica: String,
    ) -> Self {
        let flow = projection.flow();
        let (watch, aside) = (flow::Watch::default(), aside::Named::default());
        Self { projection, broker, flow, view, settings, watch, aside, replica }
    }

    pub(crate) async fn answer(
        &self,
        operation: Operation,
        question: &Question,
    ) -> Result<Value, Problem> {
        match operation {
            Operation::List => listed::list(self, question).await,
            Operation::Get => one::get(self, question).await,
            Operation::Why => why::get(self, question).await,
            Operation::Payload => one::payload(self, question).await,
            Operation::Find => self.find(question).await,
            Operation::Counts => self.counts(question).await,
            Operation::Steps => self.steps(question).await,
            Operation::Flow => flow::flow(self).await,
            Operation::Held => held::held(self, question).await,
            Operation::Stock => stock::show(self, question).await,
            Operation::Projections => Ok(self.projections()),
            Operation::Changes => changes::page(self, question).await,
            Operation::Rebuild => {
                self.projection.rebuild();
                Ok(self.projections())
            }
        }
    }

    async fn find(&self, question: &Question) -> Result<Value, Problem> {
        let Some(text) = question.text("q").map(|text| text.trim().to_owned()) else {
            return Err(bad("q", "must be given: what to look for", Some("A123")));
        };
        let now = self.now()?;
        let query = move |rows: &Connection| find::find(rows, &text, now);
        let ((mut found, more), place) = self.rows(question, query).await?;
        aside::mark(self, found.iter_mut().map(|hit| &mut hit["saga"])).await;
        Ok(json!({ "found": found, "more": more, "as_of": self.as_of(Some(place)) }))
    }

    async fn counts(&self, question: &Question) -> Result<Value, Problem> {
        let query = |rows: &Connection| {
            let mut counts = rows.prepare_cached(
                "SELECT state, waits_for, sagas FROM counts WHERE sagas > 0 \
                 ORDER BY state, waits_for",
            )?;
            let count = |row: &rusqlite::Row<'_>| {
                let waits_for = Some(row.get::<_, String>(1)?).filter(|worker| !worker.is_empty());
                let (state, count) = (row.get::<_, String>(0)?, row.get::<_, i64>(2)?);
                Ok(json!({ "state": state, "waits_for": waits_for, "count": count }))
            };
            counts.query_map([], count)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        let (counts, place) = self.rows(question, query).await?;
        Ok(json!({ "counts": counts, "as_of": self.as_of(Some(place)) }))
    }

    async fn steps(&self, question: &Question) -> Result<Value, Problem> {
        let now = self.now()?;
        let window = question.duration("window")?.unwrap_or(Duration::from_secs(60));
        if window.is_zero() || window > Duration::from_secs(3_600) {
            return Err(bad("window", "must be above zero, up to 1h", Some("60s")));
        }
        let flow = self.flow;
        let query = move |rows: &Connection| steps::steps(rows, flow, window, now);
        let (steps, place) = self.rows(question, query).await?;
        let window_s = window.as_secs_f64();
        Ok(json!({ "steps": steps, "window_s": window_s, "as_of": self.as_of(Some(place)) }))
    }

    /// Also when nothing serves.
    fn projections(&self) -> Value {
        let status = self.projection.status();
        let Status { version, skipped, wal_bytes, building, builds, ref trouble, .. } = status;
        json!({
            "replica": self.replica,
            "projections": [{
                "name": self.view.model.name,
                "version": version,
                "wanted_version": self.view.model.version,
                "serves": status.as_of.is_some(),
                "building": building,
                "builds": builds,
                "skipped": skipped,
                "wal_bytes": wal_bytes,
                "trouble": trouble,
                "file": self.projection.file().display().to_string(),
            }],
            "as_of": self.as_of(status.as_of),
        })
    }

    /// Reads rows that are of the place that the caller wants, or of a later one.
    pub(crate) async fn rows<T: Send + 'static>(
        &self,
        question: &Question,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<(T, Token), Problem> {
        self.reached(question).await?;
        let limit = self.settings.query_limit;
        self.projection.read(limit, query).await.map_err(|error| self.no_rows(&error))
    }

    /// Waits for the place that the caller wants.
    pub(crate) async fn reached(&self, question: &Question) -> Result<(), Problem> {
        let Some(text) = question.text("min_seq") else { return Ok(()) };
        let what = "must be the token of an earlier answer, or a sequence of the log";
        let token = self.projection.token(text).map_err(|_| bad("min_seq", what, Some("4711")))?;
        let limit = question.duration("wait")?.unwrap_or(self.settings.wait);
        let limit = limit.min(self.settings.wait_max);
        self.projection.wait(token, limit).await.map_err(|error| match error {
            NotThere::Behind { wanted, status } => {
                let at = status.as_of.map_or_else(|| "nowhere yet".to_owned(), |at| at.to_string());
                let why = status.trouble.map(|why| format!("; {why}")).unwrap_or_default();
                let age = milliseconds(status.seen.elapsed());
                let detail = format!(
                    "{wanted} is not reached within {limit:?}: the rows are of {at}, and the log \
                     was last read {age} ms ago{why}"
                );
                Problem::new(503, "behind", "the projection is behind", detail)
                    .with("min_seq", wanted.to_string())
                    .with("as_of", self.as_of(status.as_of))
                    .retry_after(1)
            }
            NotThere::OldLog { wanted, status } => {
                let detail = format!(
                    "{wanted} is a place in a log that is no longer there: the stream {} was \
                     restored or made anew since; read without min_seq",
                    self.flow.stream
                );
                Problem::new(410, "old-log", "the token is of an earlier log", detail)
                    .with("min_seq", wanted.to_string())
                    .with("as_of", self.as_of(status.as_of))
            }
        })
    }

    fn no_rows(&self, error: &ReadError) -> Problem {
        match error {
            ReadError::NotBuilt => {
                let status = self.projection.status();
                let why = status.trouble.map(|why| format!(": {why}")).unwrap_or_default();
                let wait = status.building.and_then(|building| building.eta_s);
                let wait = wait.map_or(1, |seconds| seconds.clamp(1, 60) as u32);
                let detail = format!(
                    "the rows are being built from the log{why}; single ones can be read meanwhile"
                );
                Problem::new(503, "not-built", "the projection is being built", detail)
                    .with("building", json!(status.building))
                    .retry_after(wait)
            }
            ReadError::TooSlow => {
                let detail = format!(
                    "it took over {:?}: ask for less, or with a filter that fewer rows have",
                    self.settings.query_limit
                );
                Problem::new(503, "too-slow", "the query took too long", detail).retry_after(1)
            }
            ReadError::Sqlite(error) => {
                tracing::error!(%error, "a query failed");
                let detail = "the rows could not be read; the log of this process says why";
                Problem::new(500, "failed", "the rows cannot be read", detail)
            }
        }
    }

    /// The place that an answer's rows are of, and how old that is.
    pub(crate) fn as_of(&self, place: Option<Token>) -> Value {
        let status = self.projection.status();
        let same = status.as_of == place;
        json!({
            "token": place.map(|place| place.to_string()),
            "sequence": place.map(|place| place.sequence),
            "stored_at": status.stored_at.filter(|_| same).map(|time| time.to_string()),
            "behind": status.behind,
            "read_ms_ago": milliseconds(status.seen.elapsed()),
        })
    }

    /// The broker's time, because our own clock may be wrong.
    pub(crate) fn now(&self) -> Result<Timestamp, Problem> {
        let now = self.projection.status().now();
        now.ok_or_else(|| unavailable("the broker has not said what time it is yet"))
    }
}

pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The broker, or another service, did not answer.
pub(crate) fn unavailable(why: &str) -> Problem {
    Problem::new(503, "no-answer", "no answer", format!("{why}; try again")).retry_after(1)
}

/// The id of the path, or of the question.
pub(crate) fn saga_of(question: &Question) -> Result<SagaId, Problem> {
    let text = question.text("id").unwrap_or_default();
    SagaId::parse(text).map_err(|error| bad("id", &format!("is none: {error}"), Some("A123")))
}
