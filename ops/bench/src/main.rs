//! What Quadrille costs: measured against the same protocol written by hand in plain async-nats.
//!
//! One binary plays every process of the measurement; the name under which it starts (`argv[0]`)
//! says which one, as in busybox. So a worker's command line is the worker's alone, and only this
//! binary and the real workers have to be built.

mod args;
mod breaker;
mod figures;
mod kernel;
mod raw;
mod report;
mod run;
mod samples;
mod stage;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;

use args::{Args, Command};
use report::Report;

/// Names of the processes of the two sides that this binary plays: `raw:charge-customer`.
const RAW: &str = "raw:";
const PRODUCT: &str = "product:";
/// A replica of the breaker's bench in design `none`.
const PLAIN: &str = "plain:";

fn main() -> ExitCode {
    let name = std::env::args().next().unwrap_or_default();
    if let Some(worker) = name.strip_prefix(RAW) {
        return raw::main(worker);
    }
    if let Some(worker) = name.strip_prefix(PRODUCT) {
        return kernel::main(worker);
    }
    if let Some(worker) = name.strip_prefix(PLAIN) {
        return raw::plain::main(worker);
    }
    match bench(&Args::parse().complete()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn bench(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(Command::Breaker(breaker)) = &args.command {
        let server = version(&breaker.nats_server)?;
        return breaker::run(breaker, server).await;
    }
    let server = version(&args.nats_server)?;
    let results = tokio::select! {
        results = run::run(args) => results?,
        _ = tokio::signal::ctrl_c() => bail!("stopped"),
    };
    let report = Report::of(args, &results, server);
    report::print(&report);
    if let Some(file) = &args.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(file, json)
            .with_context(|| format!("--json: cannot write {}", file.display()))?;
    }
    let met = report.criteria.iter().all(|criterion| criterion.met);
    Ok(if args.check && !met { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn version(program: &Path) -> anyhow::Result<String> {
    let output = std::process::Command::new(program).arg("--version").output();
    let output = output.with_context(|| {
        let program = program.display();
        format!("{program} does not start; ops/bench/run finds or fetches a nats-server")
    })?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
