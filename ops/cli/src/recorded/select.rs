//! Which orders of which log are meant: those named, or those that were placed in a range.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;
use quadrille::SagaId;
use quadrille::broker::Stored;
use quadrille_tool::Tool;
use quadrille_tool::values::{moment, sequence};
use schemas::order_fulfilment::FLOW;

use super::Recorded;
use crate::dev::ServerArgs;

/// The orders that are meant, all of them where nothing is named, and the log that has them.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Orders; without them, all that were placed in the range
    #[arg(value_name = "ID")]
    ids: Vec<SagaId>,
    /// Orders placed at this sequence of the log or later
    #[arg(long, value_name = "SEQ", value_parser = sequence)]
    from: Option<u64>,
    /// Orders placed at this sequence or earlier
    #[arg(long, value_name = "SEQ", value_parser = sequence)]
    to: Option<u64>,
    /// Orders placed at this time or later: 2026-01-02T12:00:00Z, or how long ago: 2m, 1h, 3d
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// Orders placed at this time, or so long ago, or earlier
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// A recorded log, a file or a folder, in place of that of the broker
    #[arg(long, value_name = "LOG")]
    log: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// A selection in use: it learns which orders are meant as it sees them placed.
#[derive(Debug)]
pub(crate) struct Chosen<'s> {
    range: &'s Selection,
    named: BTreeSet<SagaId>,
    found: HashSet<SagaId>,
}

impl Selection {
    /// The log, and which of its orders are meant.
    ///
    /// # Errors
    /// When the range is empty whatever the log holds, or the log cannot be read.
    pub(crate) async fn open(&self, tool: &Tool) -> anyhow::Result<(Recorded, Chosen<'_>)> {
        if self.from.zip(self.to).is_some_and(|(from, to)| from > to) {
            bail!("--from is after --to, so no order is meant");
        }
        if self.since.zip(self.until).is_some_and(|(since, until)| since > until) {
            bail!("--since is after --until, so no order is meant");
        }
        let log = match &self.log {
            Some(path) => Recorded::open(path, &self.server, tool).await?,
            None => Recorded::live(tool).await?.0,
        };
        let named = self.ids.iter().cloned().collect();
        Ok((log, Chosen { range: self, named, found: HashSet::new() }))
    }
}

impl Chosen<'_> {
    /// Whether a message is of an order that is meant. Messages come in the order of the log.
    pub(crate) fn takes(&mut self, slot: &str, saga: &SagaId, message: &Stored) -> bool {
        let Selection { from, to, since, until, .. } = self.range;
        let (sequence, at) = (message.sequence, message.stored_at);
        let in_range = from.is_none_or(|from| from <= sequence)
            && to.is_none_or(|to| sequence <= to)
            && since.is_none_or(|since| since <= at)
            && until.is_none_or(|until| at <= until);
        let is_named = self.named.is_empty() || self.named.contains(saga);
        if slot == FLOW.opens.slot && in_range && is_named {
            self.found.insert(saga.clone());
        }
        self.found.contains(saga)
    }

    pub(crate) fn count(&self) -> usize {
        self.found.len()
    }

    /// Those that were named, and are not in the log or not in the range.
    pub(crate) fn missing(&self) -> Vec<&SagaId> {
        self.named.iter().filter(|saga| !self.found.contains(saga)).collect()
    }
}
