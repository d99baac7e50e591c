//! A log as it was recorded: that of a broker up to its present end, or a file or folder of one.
//!
//! | what | written by |
//! |---|---|
//! | a file of JSON lines | `quadrille export` |
//! | a folder with `backup.json` | `nats backup stream`, `nats sub --backup` |
//! | a folder of `1.json`, `2.json`, … | `nats sub --dump` |
//!
//! A backup is restored into a broker of its own, because only a server knows its form. What is
//! read may be read again from its beginning; nothing is kept in memory but a page.

mod export;
mod dump;
mod backup;
mod select;

use std::path::Path;

use anyhow::{Context, anyhow};
use quadrille::KeyNamespace;
use quadrille::broker::{Broker, Care, Stored};
use quadrille::nats::NatsBroker;
use quadrille_tool::Tool;
use quadrille_tool::output::Advise;
use schemas::order_fulfilment::FLOW;

use crate::dev::ServerArgs;
pub(crate) use backup::Restored;
pub(crate) use export::Line;
pub(crate) use select::Selection;

/// What helps with a log from a broker on which the flow has other names.
pub(crate) const OTHER_NAMES: &str =
    "one that has other names there is read with --flow-stream NAME and --flow-prefix PREFIX";

/// Messages that are read at once.
const PAGE: usize = 512;

/// What cannot be read of a recorded log; the rest is read all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// `line 17`, or a file's name.
    pub(crate) place: String,
    pub(crate) why: String,
}

/// A recorded log.
pub(crate) struct Recorded {
    /// What the user calls it.
    pub(crate) name: String,
    kind: Kind,
    /// In which the idempotency keys of its orders are derived, where it says so.
    pub(crate) keys: Option<KeyNamespace>,
    /// Whether no message of it should be missing.
    whole: bool,
    /// Messages, as far as that is known before they are read.
    pub(crate) about: Option<u64>,
}

enum Kind {
    /// A stream up to this sequence, and the next one to read.
    Stream {
        broker: NatsBroker,
        stream: String,
        last: u64,
        next: u64,
        restored: Option<Box<Restored>>,
    },
    Export(export::Lines),
    Dump(dump::Files),
}

/// What reading on brought.
pub(crate) enum Read {
    Messages(Vec<Stored>),
    Unreadable(Unreadable),
    End,
}

impl Recorded {
    /// The log of the broker that the command line names, up to its present end.
    ///
    /// # Errors
    /// When the broker cannot be reached, or has no log.
    pub(crate) async fn live(tool: &Tool) -> anyhow::Result<(Self, NatsBroker)> {
        let connection = tool.connect().await?;
        let (broker, url) = (connection.broker.clone(), connection.url.clone());
        let recorded = Self::stream(broker, FLOW.stream, &url, None).await?;
        Ok((recorded, connection.broker))
    }

    /// Any stream of a broker, up to its present end.
    ///
    /// # Errors
    /// When the broker gives no answer, or has no such stream.
    pub(crate) async fn of(broker: NatsBroker, stream: &str) -> anyhow::Result<Self> {
        Self::stream(broker, stream, "the broker", None).await
    }

    /// Whether no message of it should be missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// A stream up to its present end.
    async fn stream(
        broker: NatsBroker,
        stream: &str,
        whose: &str,
        restored: Option<Restored>,
    ) -> anyhow::Result<Self> {
        let state = broker.state(stream).await?;
        let state = state.ok_or_else(|| {
            anyhow!("there is no log {stream} at {whose}").advise("is it the right broker?")
        })?;
        let keys = broker.inspect(&FLOW, FLOW.closing().worker).await?.keys;
        let last = state.last_sequence;
        let (name, stream) = (format!("{stream} at {whose}"), stream.to_owned());
        let restored = restored.map(Box::new);
        let kind = Kind::Stream { broker, stream, last, next: 1, restored };
        Ok(Self { name, kind, keys, whole: true, about: Some(last) })
    }

    /// A file or folder.
    ///
    /// # Errors
    /// When it cannot be read, or is none of the forms above; says what it is.
    pub(crate) async fn open(
        path: &Path,
        server: &ServerArgs,
        tool: &Tool,
    ) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let metadata = path.metadata().with_context(|| format!("cannot read {name}"))?;
        if metadata.is_file() {
            let lines = export::Lines::open(path)?;
            // Of about this many bytes each.
            let about = Some(metadata.len() / 700 + 1);
            return Ok(Self { name, kind: Kind::Export(lines), keys: None, whole: false, about });
        }
        if let Some(data) = backup::data_of(path) {
            let opened = Restored::open(path, &data, FLOW.stream, server, tool).await?;
            let (restored, whole) = opened;
            let broker = restored.broker().clone();
            let stream = Self::stream(broker, FLOW.stream, &name, Some(restored)).await?;
            return Ok(Self { whole, ..stream });
        }
        let files = dump::Files::open(path, tool.target.names(&FLOW)?)?;
        if files.is_empty() {
            return Err(anyhow!("{name} is no recorded log: it has no backup and no 1.json")
                .advise("see `quadrille replay --help` for what is"));
        }
        let about = Some(files.len());
        Ok(Self { name, kind: Kind::Dump(files), keys: None, whole: false, about })
    }

    /// Reads on; in the order of the log.
    ///
    /// # Errors
    /// When the broker gives no answer.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Read> {
        match &mut self.kind {
            Kind::Stream { broker, stream, last, next, .. } => {
                if *next > *last {
                    return Ok(Read::End);
                }
                // A message whose headers no client can read would end the connection.
                let page = match broker.read_page(stream, *next, PAGE, Care::Fast).await {
                    Ok(page) => page,
                    Err(_) => broker.read_page(stream, *next, PAGE, Care::Careful).await?,
                };
                let mut messages = page.messages;
                messages.retain(|message| message.sequence <= *last);
                let Some(newest) = messages.last() else { return Ok(Read::End) };
                *next = newest.sequence + 1;
                Ok(Read::Messages(messages))
            }
            Kind::Export(lines) => lines.next(),
            Kind::Dump(files) => files.next(),
        }
    }

    /// Begins again.
    ///
    /// # Errors
    /// When a file can no longer be read.
    pub(crate) fn rewind(&mut self) -> anyhow::Result<()> {
        match &mut self.kind {
            Kind::Stream { next, .. } => *next = 1,
            Kind::Export(lines) => lines.rewind()?,
            Kind::Dump(files) => files.rewind(),
        }
        Ok(())
    }

    /// Ends what was started to read it.
    pub(crate) async fn close(self) {
        if let Kind::Stream { restored: Some(restored), .. } = self.kind {
            restored.end().await;
        }
    }
}
