//! What is told of the lines, and where: receipts to stdout, rejects to their file and to stderr.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quadrille::log::open;
use quadrille_tool::output::{self, Ui};
use serde::Serialize;
use tokio::time::Instant;

use super::super::many::{left, placed_in};
use super::reject::Reject;
use super::{Outcome, Receipt};

/// Rejects that are also told on stderr, where a file takes them all.
const TOLD: u64 = 10;

/// A receipt, and the line it is for.
#[derive(Serialize)]
struct Placed<'r> {
    line: u64,
    #[serde(flatten)]
    receipt: &'r Receipt,
}

/// What is told, and where.
pub(super) struct Report {
    json: bool,
    ui: Ui,
    bar: ProgressBar,
    rejects: Option<BufWriter<File>>,
    tally: Tally,
    told: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    placed: u64,
    already_placed: u64,
    /// Placed by this call or an earlier one.
    unknown: u64,
    rejected: u64,
    /// The line at which the log took no orders any more, and why.
    stopped_at: Option<(u64, String)>,
}

impl Report {
    /// `length` is that of the file, where it is known.
    pub(super) fn new(
        json: bool,
        ui: Ui,
        length: Option<u64>,
        rejects: Option<BufWriter<File>>,
    ) -> Self {
        let (bar, tally, told) = (bar(length, ui), Tally::default(), Instant::now());
        Self { json, ui, bar, rejects, tally, told }
    }

    /// Tells one line's outcome; true where no further line would fare better.
    pub(super) fn take(&mut self, line: u64, read: u64, outcome: Outcome) -> anyhow::Result<bool> {
        self.bar.set_position(read);
        match outcome {
            Outcome::Placed(receipt) => self.receipt(line, &receipt)?,
            Outcome::Rejected(reject, error) => {
                self.reject(&reject)?;
                if let Some(error) = error.filter(stops) {
                    self.stop(line, error.to_string());
                }
            }
        }
        let Tally { placed, already_placed, unknown, rejected, .. } = self.tally;
        let text = || format!("{} placed, {rejected} rejected", placed + already_placed + unknown);
        if self.ui.watched {
            self.bar.set_message(format!(", {}", text()));
        } else if self.told.elapsed() > Duration::from_secs(5) {
            self.told = Instant::now();
            self.ui.note(format!("line {line}: {}", text()));
        }
        Ok(self.tally.stopped_at.is_some())
    }

    /// Notes the first line that the log did not take.
    pub(super) fn stop(&mut self, line: u64, why: String) {
        self.tally.stopped_at.get_or_insert((line, why));
    }

    fn receipt(&mut self, line: u64, receipt: &Receipt) -> anyhow::Result<()> {
        match receipt.placed {
            open::When::Now => self.tally.placed += 1,
            open::When::Before => self.tally.already_placed += 1,
            open::When::Unknown => self.tally.unknown += 1,
        }
        if self.json {
            return self.bar.suspend(|| output::json(&Placed { line, receipt }));
        }
        if self.ui.read_by_a_person {
            return Ok(());
        }
        receipt.print(false)
    }

    fn reject(&mut self, reject: &Reject) -> anyhow::Result<()> {
        self.tally.rejected += 1;
        if let Some(file) = &mut self.rejects {
            serde_json::to_writer(&mut *file, reject)?;
            file.write_all(b"\n")?;
        }
        if self.json {
            self.bar.suspend(|| output::json(reject))?;
        } else if self.tally.stopped_at.is_none()
            && (self.rejects.is_none() || self.tally.rejected <= TOLD)
        {
            self.bar.suspend(|| self.ui.note(reject.sentence()));
        }
        Ok(())
    }

    pub(super) fn end(
        mut self,
        name: &str,
        took: Duration,
        failed: Option<anyhow::Error>,
    ) -> anyhow::Result<ExitCode> {
        self.bar.finish_and_clear();
        if let Some(file) = &mut self.rejects {
            file.flush()?;
        }
        self.ui.note(self.tally.sentence(took));
        if self.rejects.is_some() && self.tally.rejected > 0 {
            let more = match self.tally.rejected.saturating_sub(TOLD) {
                more if more > 0 && !self.json => format!("; {more} are only there"),
                _ => String::new(),
            };
            self.ui.note(format!(
                "the file of --rejects has every one, with its mistakes and its text{more}"
            ));
        }
        if let Some((line, why)) = &self.tally.stopped_at {
            self.ui.note(format!(
                "stopped at line {line}, because {why}; run the same command again once that is \
                 mended: what is in the log is found there, not placed twice"
            ));
        }
        if let Some(error) = failed {
            self.ui.error(&error.context(format!("{name} was not read to its end")));
            return Ok(ExitCode::FAILURE);
        }
        let all = self.tally.rejected == 0 && self.tally.stopped_at.is_none();
        Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Whether the log would answer the next line in the same way.
fn stops(error: &open::Error) -> bool {
    match error {
        open::Error::Taken { .. } | open::Error::TooLarge => false,
        open::Error::Full | open::Error::NoAnswer(_) | open::Error::Rejected { .. } => true,
    }
}

impl Tally {
    fn sentence(&self, took: Duration) -> String {
        let Self { placed, already_placed, unknown, rejected, .. } = self;
        let mut text = placed_in(*placed, took);
        if *already_placed > 0 {
            text.push_str(&format!(", {already_placed} were there already"));
        }
        if *unknown > 0 {
            text.push_str(&format!(", {unknown} now or before"));
        }
        if *rejected > 0 {
            text.push_str(&format!(", {rejected} lines REJECTED"));
        }
        text
    }
}

fn bar(length: Option<u64>, ui: Ui) -> ProgressBar {
    let target =
        if ui.watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(length, target);
    let form = match length {
        // As wide as the terminal leaves it.
        Some(_) => "{wide_bar} {bytes}/{total_bytes}{msg}{left}",
        None => "{spinner} {bytes}{msg}",
    };
    let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.with_key("left", left))
}
