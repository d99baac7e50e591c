//! The `sandbox` binary: one process, one port, all services.
//!
//! One thread is enough, because every request takes a few microseconds under one lock.

mod args;

use anyhow::Context;
use clap::Parser;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = args::Args::parse();
    if args.healthcheck {
        return args::healthcheck(&args.listen).await;
    }
    let shutdown = args::termination()?;
    let listener = TcpListener::bind(&args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    args.announce(address)?;
    sandbox::serve(listener, args.options(), shutdown).await
}
