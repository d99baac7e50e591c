//! The programs that `dev` runs: where they are, and with which arguments they start.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use quadrille::nats::Names;
use quadrille_tool::output::Advise;
use schemas::order_fulfilment::FLOW;

use super::folder::Folder;

/// Takes orders, and has no row in the flow table.
pub(super) const COMMAND: &str = "command";

/// Answers questions about orders, and has no row in the flow table either.
pub(super) const QUERY: &str = "query";

/// Enough for thousands of orders; a stock that is there already is not touched.
const DEMO_STOCK: &str = "ROSE-RED=100000,VASE-GLASS=10000";

pub(super) fn workers_and_services() -> impl Iterator<Item = &'static str> {
    FLOW.steps.iter().map(|step| step.worker).chain([COMMAND, QUERY])
}

pub(super) fn is_worker(name: &str) -> bool {
    workers_and_services().any(|worker| worker == name)
}

/// The setting by which a section of a program's settings listens.
pub(super) fn listen(section: &str, address: &str) -> String {
    format!("{section}.listen={address}")
}

/// The folder of the workers' and the sandbox's binaries: they are built together with this one.
pub(super) fn binaries() -> anyhow::Result<PathBuf> {
    let ourselves = std::env::current_exe().context("the folder of this program is unknown")?;
    let folder = ourselves.parent().context("this program is in no folder")?;
    let missing: Vec<_> = workers_and_services()
        .chain(["sandbox"])
        .filter(|name| !folder.join(name).is_file())
        .collect();
    if missing.is_empty() {
        return Ok(folder.to_owned());
    }
    Err(anyhow!("{} not found beside {}", missing.join(", "), ourselves.display())
        .advise("build all of them together, as `ops/dev` does: cargo build --release --workspace"))
}

pub(super) fn server_arguments(folder: &Folder, port: Option<u16>) -> Vec<String> {
    let port = port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
    let store = folder.path.join("nats").display().to_string();
    let run = folder.path.join("run").display().to_string();
    ["-a", "127.0.0.1", "-p", &port, "-m", "-1", "--ports_file_dir", &run, "-js", "-sd", &store]
        .map(str::to_owned)
        .to_vec()
}

pub(super) fn sandbox_arguments(folder: &Folder, port: Option<u16>) -> Vec<String> {
    let listen = format!("127.0.0.1:{}", port.unwrap_or(0));
    let ledger = folder.path.join("ledger.jsonl").display().to_string();
    let ports = folder.run_file("sandbox.ports").display().to_string();
    ["--listen", &listen, "--ledger", &ledger, "--ports-file", &ports].map(str::to_owned).to_vec()
}

/// As flags, because they override all other settings, such as those in the environment.
pub(super) fn worker_arguments(
    folder: &Folder,
    worker: &str,
    (nats, names): (&str, &Names),
    sandbox: &str,
) -> Vec<String> {
    let address = folder.run_file(&format!("{worker}.address"));
    let mut settings = names.settings(&FLOW);
    settings.extend([
        format!("nats.url={nats}"),
        listen("health", "127.0.0.1:0"),
        format!("health.address_file={}", address.display()),
    ]);
    settings.extend(match worker {
        "reserve-inventory" => vec![format!("{worker}.opening_stock={DEMO_STOCK}")],
        "charge-customer" => vec![format!("{worker}.url={sandbox}/payment")],
        "ship-order" => vec![
            format!("{worker}.url={sandbox}/carrier"),
            format!("{worker}.quote_url={sandbox}/quote"),
        ],
        _ => Vec::new(),
    });
    settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect()
}

/// Of a service over HTTP.
pub(super) fn http_arguments(folder: &Folder, service: &str, port: Option<u16>) -> Vec<String> {
    let file = folder.run_file(&format!("{service}.http"));
    let mut settings = vec![
        listen(service, &format!("127.0.0.1:{}", port.unwrap_or(0))),
        format!("{service}.address_file={}", file.display()),
    ];
    if service == QUERY {
        settings.push(format!("{service}.folder={}", folder.path.join("query").display()));
    }
    settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect()
}
