//! A backup of a stream, as stock tools write it: restored into a broker of its own, in a temporary
//! folder. Nothing of the broker that it is from is asked, and nothing is written there.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use quadrille::nats::NatsBroker;
use quadrille_tool::Tool;
use quadrille_tool::output::Advise;
use schemas::order_fulfilment::FLOW;
use serde_json::Value;

use super::OTHER_NAMES;
use crate::dev::{OwnBroker, ServerArgs};

/// The messages, in the server's own form: since 2.15, and before.
const DATA: [&str; 2] = ["stream.arc.s2", "stream.tar.s2"];

/// The messages of the backup in a folder, if it has one.
pub(super) fn data_of(folder: &Path) -> Option<PathBuf> {
    DATA.iter().map(|name| folder.join(name)).find(|file| file.is_file())
}

/// The stream's settings and state.
const MANIFEST: &str = "backup.json";

/// The broker that holds a restored stream; ends with this value.
pub(crate) struct Restored(OwnBroker);

impl Restored {
    /// Restores the backup in a folder, which must be one of `stream`, and says whether it is of
    /// the whole stream: `nats sub --backup` keeps what it receives, and notes that.
    ///
    /// # Errors
    /// When it is a backup of another stream or flow, or is damaged.
    pub(super) async fn open(
        folder: &Path,
        data: &Path,
        stream: &str,
        server: &ServerArgs,
        tool: &Tool,
    ) -> anyhow::Result<(Self, bool)> {
        let name = folder.display();
        let manifest = std::fs::read(folder.join(MANIFEST))
            .with_context(|| format!("{name} is no backup: {MANIFEST} cannot be read"))?;
        let manifest: Value = serde_json::from_slice(&manifest)
            .with_context(|| format!("{name} is a damaged backup: {MANIFEST} is no JSON"))?;
        let of = manifest["config"]["name"].as_str().unwrap_or("no stream");
        let names = tool.target.names(&FLOW)?;
        let (ours, filter) = (names.stream(stream), FLOW.filter("*"));
        let filter = names.subject(&filter);
        let subjects = &manifest["config"]["subjects"];
        let is_ours = subjects.as_array().is_some_and(|all| all.iter().any(|one| *one == *filter));
        if of != ours || !is_ours {
            return Err(anyhow!("{name} is a backup of {of} with the subjects {subjects}").advise(
                format!("a log of {} sagas is {ours}, with {filter}; {OTHER_NAMES}", FLOW.saga),
            ));
        }
        let whole = manifest.get("source").is_none();
        let data = File::open(data)?;
        let own = OwnBroker::start(server, names, tool.ui).await?;
        let restored = own.broker().restore(stream, manifest, data).await;
        if let Err(error) = restored {
            own.end().await;
            return Err(anyhow::Error::new(error)
                .context(format!("{name} is a damaged backup, or not whole"))
                .advise("`nats backup validate` says more; make the backup again"));
        }
        Ok((Self(own), whole))
    }

    pub(super) fn broker(&self) -> &NatsBroker {
        self.0.broker()
    }

    pub(super) async fn end(self) {
        self.0.end().await;
    }
}
