//! The command line, how the process says that it is up, and the signals that stop it.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  sandbox --listen 127.0.0.1:8400 --ledger /tmp/sandbox.jsonl
  sandbox --listen 127.0.0.1:0 --ledger ledger.jsonl --ports-file sandbox.ports
  sandbox --ledger ledger.jsonl --seed 42
  curl -X PUT http://127.0.0.1:8400/faults/payment -d '{\"drop_reply_rate\":0.1}'
  curl http://127.0.0.1:8400/ledger?order=A123";

/// Payment, carrier and quote services to test against, with a ledger of every effect.
#[derive(Debug, Parser)]
#[command(name = "sandbox", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, env = "SANDBOX_LISTEN", default_value = "127.0.0.1:0")]
    pub(crate) listen: String,
    /// Append-only file of effects; FILE.journal beside it keeps what a restart needs
    #[arg(
        long,
        env = "SANDBOX_LEDGER",
        value_name = "FILE",
        required_unless_present = "healthcheck"
    )]
    ledger: Option<PathBuf>,
    /// Write {"http":"http://127.0.0.1:PORT"} to this file once bound
    #[arg(long, env = "SANDBOX_PORTS_FILE", value_name = "FILE")]
    ports_file: Option<PathBuf>,
    /// Seed of the fault rates; without it each start draws its own and prints it to stderr
    #[arg(long, env = "SANDBOX_SEED")]
    seed: Option<u64>,
    /// Ask the sandbox that listens at --listen whether it answers, and exit
    #[arg(long)]
    pub(crate) healthcheck: bool,
}

impl Args {
    pub(crate) fn options(self) -> sandbox::Options {
        let seed = self.seed.unwrap_or_else(|| {
            let seed = fastrand::u64(..);
            eprintln!("seed {seed}");
            seed
        });
        sandbox::Options { ledger: self.ledger.unwrap_or_default(), seed }
    }

    /// Says where the sandbox listens: a line on stdout, and the ports file if one is wanted.
    pub(crate) fn announce(&self, address: SocketAddr) -> anyhow::Result<()> {
        if let Some(path) = &self.ports_file {
            // Renamed into place, so that a process that waits for the file never reads half.
            let mut draft = path.clone().into_os_string();
            draft.push(".tmp");
            fs::write(&draft, format!("{{\"http\":\"http://{address}\"}}\n"))
                .and_then(|()| fs::rename(&draft, path))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        println!("listening on http://{address}");
        Ok(())
    }
}

/// Asks the sandbox of this machine, because its container has no HTTP client.
pub(crate) async fn healthcheck(listen: &str) -> anyhow::Result<()> {
    let address: SocketAddr = listen.parse().context("--listen must be an address and a port")?;
    let ip = if address.ip().is_unspecified() { [127, 0, 0, 1].into() } else { address.ip() };
    let mut stream = TcpStream::connect((ip, address.port())).await?;
    stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.take(1024).read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    anyhow::ensure!(status == "200", "the sandbox answers {status}");
    Ok(())
}

/// Ready at the first SIGTERM or SIGINT. The signals are caught from this call on.
pub(crate) fn termination() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
