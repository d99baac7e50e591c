//! The two files: the ledger that people and tests read, and `FILE.journal`, from which a restart
//! rebuilds intents and saved answers.
//!
//! The journal is written first and each line holds all that one request did, so a kill between
//! the two writes leaves a ledger that only lacks lines; `restore` adds them. No fsync: the files
//! survive the death of the process, not of the machine.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::intent::Intent;
use crate::keys::SavedAnswer;
use crate::ledger::{Entry, Fact};

/// All that one request did: the facts, the intent as it is now, the answer kept under the key.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) at: Timestamp,
    pub(crate) facts: Vec<Fact>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) intent: Option<Intent>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) saved: Option<SavedAnswer>,
}

#[derive(Debug)]
pub(crate) struct Journal {
    journal: Lines,
    ledger: Lines,
}

/// What the files held when they were opened.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) records: Vec<Record>,
    /// Lines in the ledger file; fewer than the records' facts after a kill between two writes.
    pub(crate) ledger_lines: usize,
}

impl Journal {
    /// Opens or creates both files and reads them.
    ///
    /// # Errors
    ///
    /// When a file cannot be opened or read, when another process has it open, or when a journal
    /// line is not ours.
    pub(crate) fn open(ledger: &Path) -> anyhow::Result<(Self, Restored)> {
        let path = journal_path(ledger);
        let mut records = Vec::new();
        let journal = Lines::open(&path, |line| {
            records.push(serde_json::from_slice(line)?);
            Ok(())
        })
        .with_context(|| format!("cannot open {}", path.display()))?;
        let mut ledger_lines = 0;
        let ledger = Lines::open(ledger, |_| {
            ledger_lines += 1;
            Ok(())
        })
        .with_context(|| format!("cannot open {}", ledger.display()))?;
        Ok((Self { journal, ledger }, Restored { records, ledger_lines }))
    }

    /// Writes the record and the ledger lines of its facts; on an error, neither.
    pub(crate) fn append(&mut self, record: &Record, entries: &[Entry]) -> anyhow::Result<()> {
        let before = self.journal.length;
        self.journal.append(&json_lines([record])?)?;
        let written = json_lines(entries).and_then(|lines| self.append_ledger_lines(&lines));
        if written.is_err() {
            self.journal.cut(before);
        }
        written
    }

    /// Writes lines that the journal has and the ledger file lacks.
    pub(crate) fn complete_ledger(&mut self, missing: &[Entry]) -> anyhow::Result<()> {
        let lines = json_lines(missing)?;
        self.append_ledger_lines(&lines)
    }

    fn append_ledger_lines(&mut self, lines: &[u8]) -> anyhow::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.ledger.append(lines)
    }
}

fn journal_path(ledger: &Path) -> PathBuf {
    let mut path = ledger.to_owned().into_os_string();
    path.push(".journal");
    path.into()
}

fn json_lines<'a, T: Serialize + 'a>(
    values: impl IntoIterator<Item = &'a T>,
) -> anyhow::Result<Vec<u8>> {
    let mut lines = Vec::with_capacity(2048);
    for value in values {
        serde_json::to_writer(&mut lines, value)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// An append-only file of whole lines, locked against other processes.
#[derive(Debug)]
struct Lines {
    file: File,
    length: u64,
}

impl Lines {
    /// Calls `each` for every whole line; a torn last line is cut off.
    fn open(
        path: &Path,
        mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        file.try_lock().context("another process uses it")?;
        let mut reader = BufReader::new(&file);
        let (mut length, mut number, mut line) = (0, 0, Vec::new());
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            number += 1;
            each(&line).with_context(|| format!("line {number} is not ours"))?;
            length += line.len() as u64;
            line.clear();
        }
        file.set_len(length)?;
        Ok(Self { file, length })
    }

    fn append(&mut self, lines: &[u8]) -> anyhow::Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            self.cut(self.length);
            return Err(error.into());
        }
        self.length += lines.len() as u64;
        Ok(())
    }

    /// Takes back what was written past `length`, as far as a failing disk lets us.
    fn cut(&mut self, length: u64) {
        if let Err(error) = self.file.set_len(length) {
            eprintln!("cannot take back a half-written line: {error}");
        }
        self.length = length;
    }
}

/// Refuses a ledger that has more than its journal, because the journal was removed or swapped.
pub(crate) fn ensure_paired(facts: usize, ledger_lines: usize) -> anyhow::Result<()> {
    ensure!(
        ledger_lines <= facts,
        "the ledger has {ledger_lines} lines but its journal only {facts}: \
         move both files away, or bring the journal back"
    );
    Ok(())
}
