//! The operator's tool. `trip topology apply --write [--nats URL] [--ack-wait 30s]` makes what the
//! flow needs on the broker: its streams and durables.

use std::time::Duration;

use quadrille::nats::{NatsOptions, connect, provision};
use quadrille::topology::{Profile, Topology};
use trip::flow::FLOW;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let flag = |name: &str| std::env::args().skip_while(|arg| arg != name).nth(1);
    let url = flag("--nats").unwrap_or_else(|| "nats://127.0.0.1:4222".into());
    let ack_wait = flag("--ack-wait").unwrap_or_else(|| "30s".into());
    let ack_wait = Duration::from_secs(ack_wait.trim_end_matches('s').parse()?);
    let broker = connect(&NatsOptions { urls: vec![url], ..NatsOptions::default() }).await?;
    let topology = Topology { ack_wait, ..Topology::new(&FLOW, Profile::Dev) };
    let changes = provision::plan(&broker, &topology).await?;
    for change in &changes {
        println!("{change}");
    }
    Ok(provision::apply(&broker, &changes).await?)
}
