//! A file of orders: each line gets a receipt, or an error that says where its mistakes are, in the
//! order of the lines.
//!
//! A bad line stops nothing. A broker that takes no orders does: every further line would only wait
//! for the same answer. In both cases the command may be run again, because an order's id is in its
//! line or follows from the line's number.

mod ahead;
mod documents;
mod reject;
mod report;

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use futures::stream::FuturesOrdered;
use futures::{Stream, StreamExt};
use quadrille::SagaId;
use quadrille::log::open;
use quadrille::nats::NatsBroker;
use quadrille_tool::Tool;
use tokio::time::Instant;

use super::looks::Looks;
use super::one::{Receipt, put};
use super::order::Order;
use super::room::{RESERVED, Room};
use super::{PlaceArgs, require_log};
use documents::{Document, Documents};
use reject::Reject;
use report::Report;

/// Where many orders are read from.
#[derive(Debug, Args)]
pub(super) struct Lines {
    /// Place each order of this file: JSON lines, or one JSON array; `-` reads stdin
    #[arg(long, value_name = "FILE", group = "many", conflicts_with_all = ["count", "id", "rate",
        "sku", "quantity", "price", "currency", "customer", "payment_method", "country",
        "postcode"])]
    pub(super) lines: Option<PathBuf>,
    /// Write the lines that were not placed to this file, each with its mistakes; written anew
    #[arg(long, value_name = "FILE", requires = "lines")]
    rejects: Option<PathBuf>,
}

pub(super) async fn run(file: &Path, args: &PlaceArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let name = file.display().to_string();
    let opened = documents::open(file).and_then(|opened| {
        args.lines.rejects.as_deref().map_or(Ok(()), |rejects| differ(rejects, file))?;
        Ok(opened)
    });
    let (input, length) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            tool.ui.error(&error);
            return Ok(ExitCode::from(2));
        }
    };
    if let Some(prefix) = &args.many.prefix {
        // The longest line number there can be.
        let id = format!("{prefix}-{}", u32::MAX);
        SagaId::parse(&id).with_context(|| format!("--prefix makes {id:?}"))?;
    }
    let documents = match Documents::open(input, &name, &given(args, tool)) {
        Ok(documents) => documents,
        Err(error) => {
            tool.ui.error(&error);
            return Ok(ExitCode::from(2));
        }
    };
    let connection = tool.connect().await?;
    require_log(&connection).await?;
    let rejects = args.lines.rejects.as_deref().map(create).transpose()?;
    let report = Report::new(args.json, tool.ui, length, rejects);
    let placing = Placing {
        broker: &connection.broker,
        in_flight: args.many.in_flight as usize,
        room: Room::default(),
        report,
    };
    let prefix = args.many.prefix.as_deref();
    let looks = Looks::new(&connection.broker);
    let placed = placing.run(ahead::lines(ahead::read(documents), &looks, prefix), &name).await;
    looks.tell(tool.ui);
    placed
}

/// The other flags of the call, each after a space.
fn given(args: &PlaceArgs, tool: &Tool) -> String {
    let rejects = args.lines.rejects.as_ref().map(|file| file.display().to_string());
    let flags = [("--prefix", args.many.prefix.clone()), ("--rejects", rejects)];
    let given = flags.into_iter().filter_map(|(flag, value)| Some(format!(" {flag} {}", value?)));
    given.chain(args.json.then(|| " --json".to_owned())).chain([tool.target.given()]).collect()
}

/// The file of rejects must not be the one that is read.
fn differ(rejects: &Path, lines: &Path) -> anyhow::Result<()> {
    let there = |path: &Path| path.canonicalize().ok();
    if there(rejects).is_some_and(|rejects| Some(rejects) == there(lines)) {
        bail!("--rejects {} is the file that is read; nothing was sent", rejects.display());
    }
    Ok(())
}

fn create(rejects: &Path) -> anyhow::Result<BufWriter<File>> {
    let file = File::create(rejects);
    Ok(BufWriter::new(file.with_context(|| format!("cannot write {}", rejects.display()))?))
}

/// What became of a line.
enum Outcome {
    Placed(Receipt),
    /// And the log's reason, where the line itself is good.
    Rejected(Box<Reject>, Option<open::Error>),
}

struct Placing<'b> {
    broker: &'b NatsBroker,
    in_flight: usize,
    room: Room,
    report: Report,
}

impl Placing<'_> {
    async fn run(
        mut self,
        lines: impl Stream<Item = anyhow::Result<Line>>,
        name: &str,
    ) -> anyhow::Result<ExitCode> {
        let began = Instant::now();
        let mut lines = pin!(lines);
        let (mut pending, mut sent) = (FuturesOrdered::new(), VecDeque::new());
        // Two lines under one id go one after the other, so that the first one is kept.
        let (mut ids, mut waiting) = (HashSet::new(), None::<Line>);
        let (mut reading, mut failed) = (true, None);
        loop {
            let free = waiting.take_if(|line| line.id().is_none_or(|id| !ids.contains(id)));
            if let Some(line) = free {
                let bytes = line.document.text.len() as u64;
                if line.order.is_ok() && !self.room.takes(self.broker, bytes).await {
                    self.report.stop(line.document.line, RESERVED.to_owned());
                    reading = false;
                    continue;
                }
                ids.extend(line.id().cloned());
                sent.push_back((line.document.line, line.document.read, line.id().cloned()));
                pending.push_back(line.settle(self.broker));
            }
            let room = reading && waiting.is_none() && pending.len() < self.in_flight;
            tokio::select! {
                biased;
                line = lines.next(), if room => match line {
                    Some(Ok(line)) => waiting = Some(line),
                    Some(Err(error)) => (reading, failed) = (false, Some(error)),
                    None => reading = false,
                },
                Some(outcome) = pending.next(), if !pending.is_empty() => {
                    let (line, read, id) = sent.pop_front().expect("one for each that is pending");
                    id.map(|id: SagaId| ids.remove(&id));
                    if self.report.take(line, read, outcome)? {
                        (reading, waiting) = (false, None);
                    }
                }
                else => break,
            }
        }
        self.report.end(name, began.elapsed(), failed)
    }
}

/// A line that was read.
struct Line {
    document: Document,
    order: Result<Order, Box<Reject>>,
}

impl Line {
    fn id(&self) -> Option<&SagaId> {
        self.order.as_ref().ok().map(|order| order.opening.slot.saga())
    }

    async fn settle(self, broker: &NatsBroker) -> Outcome {
        let order = match self.order {
            Ok(order) => order,
            Err(reject) => return Outcome::Rejected(reject, None),
        };
        match put(broker, &order).await {
            Ok(receipt) => Outcome::Placed(receipt),
            Err(error) => {
                let id = order.opening.slot.saga().as_str();
                let reject = Reject::refused(&self.document, id, &error);
                Outcome::Rejected(Box::new(reject), Some(error))
            }
        }
    }
}
