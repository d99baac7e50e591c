//! A broker and nothing else, or a whole stack, in a temporary folder: for data that must not meet
//! those of the user's own broker.

use std::path::Path;

use quadrille::nats::{Names, NatsBroker};
use quadrille_tool::output::Ui;

use super::folder::{Folder, Place};
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
    pub(crate) async fn start(nats_server: &Path, names: Names, ui: Ui) -> anyhow::Result<Self> {
        let folder = Folder::open(Place::Temporary, false, ui).await?;
        let mut stack = Stack::new(folder, names, ui);
        match stack.start_broker(nats_server).await {
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

/// All that `dev` runs, in a temporary folder, at addresses that nobody else knows.
pub(crate) struct Isolated(Stack);

impl Isolated {
    pub(crate) async fn open(ui: Ui) -> anyhow::Result<Self> {
        let folder = Folder::open(Place::Temporary, false, ui).await?;
        Ok(Self(Stack::new(folder, Names::default(), ui)))
    }

    /// # Errors
    /// When a program is missing or ends; [`Isolated::end`] then ends what is running.
    pub(crate) async fn start(&mut self, nats_server: &Path) -> anyhow::Result<()> {
        self.0.start(&StackArgs::at_free_ports(nats_server)).await
    }

    pub(crate) fn broker(&self) -> anyhow::Result<&NatsBroker> {
        Ok(&self.0.running()?.broker)
    }

    /// Ends everything, and deletes its folder.
    pub(crate) async fn end(mut self) {
        self.0.kill().await;
    }
}
