//! A broker and nothing else, or one with sandbox and workers, in a temporary folder: for data that
//! must not meet those of the user's own broker.

use anyhow::Context;
use quadrille::nats::{Names, NatsBroker};
use quadrille_tool::output::Ui;
use schemas::order_fulfilment::FLOW;

use super::folder::{Folder, Place};
use super::server::ServerArgs;
use super::stack::{Stack, StackArgs};

/// A broker that runs until [`OwnBroker::end`]; it dies with this process, whatever happens.
pub(crate) struct OwnBroker {
    stack: Stack,
    broker: NatsBroker,
}

impl OwnBroker {
    /// One that calls the streams and subjects of the flow by these names.
    ///
    /// # Errors
    /// When there is no such program, or it does not start.
    pub(crate) async fn start(server: &ServerArgs, names: Names, ui: Ui) -> anyhow::Result<Self> {
        let folder = Folder::open(Place::Temporary, false, ui).await?;
        let mut stack = Stack::new(folder, names, ui);
        match stack.start_broker(&StackArgs::at_free_ports(server)).await {
            Ok(broker) => Ok(Self { stack, broker }),
            Err(error) => {
                stack.kill().await;
                Err(error)
            }
        }
    }

    pub(crate) fn broker(&self) -> &NatsBroker {
        &self.broker
    }

    /// Ends it, and deletes its folder.
    pub(crate) async fn end(mut self) {
        self.stack.kill().await;
    }
}

/// A broker, the sandbox and a worker for each step, in a temporary folder, at addresses that
/// nobody else knows. The services of `dev` are left out, because nobody asks them, and an idle
/// projection still reads every event.
pub(crate) struct Isolated {
    stack: Stack,
    broker: Option<NatsBroker>,
}

impl Isolated {
    pub(crate) async fn open(ui: Ui) -> anyhow::Result<Self> {
        let folder = Folder::open(Place::Temporary, false, ui).await?;
        Ok(Self { stack: Stack::new(folder, Names::default(), ui), broker: None })
    }

    /// # Errors
    /// When a program is missing or ends; [`Isolated::end`] then ends what is running.
    pub(crate) async fn start(&mut self, server: &ServerArgs) -> anyhow::Result<()> {
        let workers = FLOW.steps.iter().map(|step| step.worker);
        let started = self.stack.start_only(workers, &StackArgs::at_free_ports(server)).await?;
        self.broker = Some(started.broker);
        Ok(())
    }

    pub(crate) fn broker(&self) -> anyhow::Result<&NatsBroker> {
        self.broker.as_ref().context("not everything is up")
    }

    /// Ends everything, and deletes its folder.
    pub(crate) async fn end(mut self) {
        self.stack.kill().await;
    }
}
