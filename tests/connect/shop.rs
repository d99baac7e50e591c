//! A broker, the sandbox and every worker, with settings in their environment, and `quadrille` with
//! the same.

use std::path::Path;
use std::time::Duration;

use harness::binaries::{Build, program};
use harness::folder::Folder;
use harness::process::Process;
use harness::sandbox::Sandbox;
use quadrille::http::{Body, Client};
use schemas::order_fulfilment::FLOW;
use serde_json::Value;
use tests::eventually::eventually;
use tests::server::{Server, Settings};
use tokio::process::Command;
use tokio::time::Instant;

/// Variables, as a `.env` would set them.
pub(crate) type Variables = Vec<(&'static str, String)>;

pub(crate) struct Shop {
    pub(crate) folder: Folder,
    pub(crate) variables: Variables,
    workers: Vec<Process>,
    pub(crate) sandbox: Sandbox,
    _server: Server,
}

/// What a command printed.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        let Self { stdout, stderr, .. } = self;
        serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"))
    }
}

/// A server with these lines in its configuration.
pub(crate) async fn server(lines: &str) -> Server {
    let settings = Settings { lines: lines.to_owned(), ..Settings::default() };
    Server::start_with(&settings).await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// `quadrille`, in a folder in which no `quadrille dev` runs.
pub(crate) async fn quadrille(variables: &Variables, line: &str) -> Said {
    let output = Command::new(program(Build::Shipped, "quadrille"))
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .args(line.split_whitespace())
        .output()
        .await
        .expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// What the payment service does wrong from now on.
pub(crate) async fn set_faults(sandbox: &Sandbox, faults: &Value) {
    let client = Client::new(&sandbox.url, None, Duration::from_secs(5)).unwrap();
    let (deadline, body) = (Instant::now() + Duration::from_secs(5), Body::Json(faults.clone()));
    let answer = client.put("/faults/payment", &body, deadline).await.unwrap();
    assert_eq!(answer.status.as_u16(), 200);
}

/// A worker that may not get ready.
pub(crate) fn launch(worker: &'static str, variables: &Variables, folder: &Path) -> Process {
    let mut command = Command::new(program(Build::Shipped, worker));
    command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
    Process::start(worker, command, folder).unwrap_or_else(|error| panic!("{error:#}"))
}

impl Shop {
    /// Provisions the broker with the tool, and starts everything; all of it is ready.
    pub(crate) async fn open(server: Server, variables: Variables) -> Self {
        let folder = Folder::new("quadrille-");
        let sandbox = Sandbox::start(&program(Build::Shipped, "sandbox"), &folder).await;
        let sandbox = sandbox.unwrap_or_else(|error| panic!("{error:#}"));
        let applied = quadrille(&variables, "topology apply --write").await;
        assert_eq!(applied.code, Some(0), "{}", applied.stderr);
        let mut shop = Self { folder, variables, workers: Vec::new(), sandbox, _server: server };
        let url = shop.sandbox.url.clone();
        let mut settings = shop.variables.clone();
        settings.extend([
            (
                "QUADRILLE_RESERVE_INVENTORY__OPENING_STOCK",
                "ROSE-RED=1000,VASE-GLASS=1000".to_owned(),
            ),
            ("QUADRILLE_CHARGE_CUSTOMER__URL", format!("{url}/payment")),
            ("QUADRILLE_SHIP_ORDER__URL", format!("{url}/carrier")),
            ("QUADRILLE_SHIP_ORDER__QUOTE_URL", format!("{url}/quote")),
        ]);
        for row in FLOW.steps {
            shop.workers.push(launch(row.worker, &settings, shop.folder.path()));
        }
        for worker in &mut shop.workers {
            worker.ready().await.unwrap_or_else(|error| panic!("{error:#}"));
        }
        shop
    }

    pub(crate) async fn quadrille(&self, line: &str) -> Said {
        quadrille(&self.variables, line).await
    }

    /// An order goes through all workers to its end.
    pub(crate) async fn completes(&self, id: &str) {
        let placed = self.quadrille(&format!("place --id {id} --json")).await;
        assert_eq!(placed.json()["placed"], "now", "{}", placed.stderr);
        self.ends(id).await;
    }

    /// An order that was placed goes through all workers to its end.
    pub(crate) async fn ends(&self, id: &str) {
        self.ends_as(id, "completed").await;
    }

    /// An order that was placed goes through all workers to this end.
    pub(crate) async fn ends_as(&self, id: &str, state: &str) {
        eventually(&format!("{id} is {state}"), async || {
            let story = self.quadrille(&format!("trace {id} --json")).await.json();
            (story["state"] == state).then_some(())
        })
        .await;
    }
}
