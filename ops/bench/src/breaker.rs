//! What an outage of the payment gateway costs, with three designs: `ops/bench/run breaker`.
//!
//! Each row has a server, a sandbox and workers of its own, so several can run at once. What is
//! counted comes from the gateway, the doors to it, the server and the fleet's key; a worker is
//! asked only where a call leaves no trace anywhere else.

mod args;
mod door;
mod history;
mod load;
mod play;
mod row;
mod rows;
mod scene;
mod table;
mod turns;
mod verdict;

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures::future::try_join_all;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub(crate) use args::Arguments;
use args::Design;
use row::Row;
use rows::ROWS;
use verdict::Scenario;

/// A worker's line about a call that failed contains this.
pub(crate) const TRYING_AGAIN: &str = "trying again";

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) server: String,
    /// `one minute for ten`, or `whole`, or `quick`.
    pub(crate) form: &'static str,
    pub(crate) seconds: u64,
    pub(crate) scenarios: Vec<Scenario>,
}

/// One row with one design.
struct Job {
    row: &'static Row,
    design: Design,
    expected: Duration,
    weight: u32,
}

pub(crate) async fn run(args: &Arguments, server: String) -> anyhow::Result<ExitCode> {
    if args.list {
        ROWS.iter().for_each(|row| println!("{}", row.name));
        return Ok(ExitCode::SUCCESS);
    }
    let began = Instant::now();
    let (jobs, done) = (jobs(args)?, Mutex::default());
    let was_stopped = tokio::select! {
        played = all(args, &jobs, &done) => played.map(|()| false)?,
        // What was measured in an hour is not thrown away.
        _ = tokio::signal::ctrl_c() => true,
    };
    let scenarios = in_order(done.into_inner().unwrap_or_else(PoisonError::into_inner));
    if was_stopped {
        eprintln!("breaker: stopped after {} of {} rows", scenarios.len(), jobs.len());
    }
    let (form, seconds) = (args.form().name(), began.elapsed().as_secs());
    let report = Report { server, form, seconds, scenarios };
    table::print(&report);
    if let Some(file) = &args.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(file, json)
            .with_context(|| format!("--json: cannot write {}", file.display()))?;
    }
    let is_full = |scenario: &&Scenario| scenario.design == Design::Full.name();
    let met = report.scenarios.iter().filter(is_full).all(|scenario| scenario.met);
    Ok(if was_stopped || args.check && !met { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The longest first, so that none of them begins when the others are done.
fn jobs(args: &Arguments) -> anyhow::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for row in args.rows()? {
        for design in args.designs.iter().copied() {
            if design == Design::Full || !row.needs_a_fleet() {
                let (expected, weight) = (row.expected(args.form()), row.weight(args.form()));
                jobs.push(Job { row, design, expected, weight });
            }
        }
    }
    jobs.sort_by_key(|job| std::cmp::Reverse(job.expected));
    Ok(jobs)
}

/// As in the list of rows.
fn in_order(mut done: Vec<(Design, Scenario)>) -> Vec<Scenario> {
    let place = |name: &str| ROWS.iter().position(|row| row.name == name);
    done.sort_by_key(|(design, scenario)| (place(scenario.name), *design));
    done.into_iter().map(|(_, scenario)| scenario).collect()
}

/// Plays every job, and puts what it came to into `done`.
async fn all(
    args: &Arguments,
    jobs: &[Job],
    done: &Mutex<Vec<(Design, Scenario)>>,
) -> anyhow::Result<()> {
    let (count, parallel) = (jobs.len(), args.parallel());
    let places = Semaphore::new(parallel as usize);
    let began = Instant::now();
    let total: Duration = jobs.iter().map(|job| job.expected * job.weight).sum();
    let longest = jobs.first().map_or(Duration::ZERO, |job| job.expected);
    let about = (total / parallel).max(longest);
    eprintln!("breaker: {count} rows, {parallel} at once, about {} s", about.as_secs());
    let places = &places;
    let running = jobs.iter().enumerate().map(async |(at, job)| {
        let places = places.acquire_many(job.weight.min(parallel)).await?;
        let name = format!("{}, {}", job.row.name, job.design.name());
        let left = move || about.saturating_sub(began.elapsed()).as_secs();
        let say = |what: &str| {
            eprintln!("breaker: {} of {count} ({name}): {what}; about {} s left", at + 1, left());
        };
        say("sets up");
        let scenario = match play::play(args, job.row, job.design, &say).await {
            Ok(seen) => Scenario::of(args, job.row, job.design, seen),
            Err(error) => Scenario::failed(job.row, job.design, &error),
        };
        drop(places);
        let verdict = if scenario.met { "met".into() } else { scenario.why.join("; ") };
        let over = {
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((job.design, scenario));
            done.len()
        };
        eprintln!("breaker: {over} of {count} done ({name}): {verdict}; about {} s left", left());
        anyhow::Ok(())
    });
    try_join_all(running).await?;
    Ok(())
}
