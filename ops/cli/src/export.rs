//! `quadrille export`: writes every event of some orders as JSON lines, for `audit`, `replay` and
//! stock tools.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use quadrille_tool::Tool;
use quadrille_tool::output::{self, Advise};
use schemas::order_fulfilment::FLOW;

use crate::recorded::{Line, Read, Selection};

const EXAMPLES: &str = "\
Examples:
  quadrille export A123 > A123.jsonl                        one order
  quadrille export --from 4000 --to 5000 > some.jsonl       all orders placed in a range
  quadrille export --since 2h > new.jsonl                   all placed in the last two hours
  quadrille export --log backup/ A123                       out of a backup: see `replay --help`
  quadrille export A123 | jq -r .subject

Each line has stream, sequence, subject, stored_at, headers and payload (payload_base64 where that
is no text), in the order of the log.

Exit codes: 0 written; 1 an order that was named is not there; 2 there are no such orders.";

/// Write all events of some orders as JSON lines
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    selection: Selection,
}

pub(crate) async fn run(args: &ExportArgs, tool: &Tool) -> anyhow::Result<ExitCode> {
    let (mut log, mut chosen) = args.selection.open(tool).await?;
    let mut written = 0_u64;
    loop {
        match log.next().await? {
            Read::Messages(messages) => {
                for message in messages {
                    let Some((slot, saga)) = FLOW.parse_subject(&message.subject) else { continue };
                    if chosen.takes(slot, &saga, &message) {
                        output::json(&Line::of(FLOW.stream, message))?;
                        written += 1;
                    }
                }
            }
            Read::Unreadable(bad) => {
                tool.ui.note(format!("{}: {} cannot be read: {}", log.name, bad.place, bad.why));
            }
            Read::End => break,
        }
    }
    if written == 0 {
        let none = anyhow!("{} has no such orders", log.name);
        tool.ui.error(&none.advise("upper and lower case differ in ids; is it the right log?"));
        log.close().await;
        return Ok(ExitCode::from(2));
    }
    log.close().await;
    tool.ui.note(format!("{written} events of {} orders", chosen.count()));
    let missing = chosen.missing();
    for saga in &missing {
        tool.ui.error(&anyhow!("order {saga} is not in the log, or not in the range"));
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
