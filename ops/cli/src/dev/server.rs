//! The nats-server program: the one that the user names, the one on PATH, or one that `ops/dev` or
//! `ops/test` has fetched.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;
use quadrille_tool::output::Advise;

use crate::running::Addresses;

/// The default of the flag that names the server.
const SERVER: &str = "nats-server";

/// The nats-server program that a command starts.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// The nats-server program to start; a name without a folder is looked for on PATH, and the
    /// default also where `ops/dev` keeps the one that it has fetched
    #[arg(long, env = "QUADRILLE_NATS_SERVER", value_name = "FILE", default_value = SERVER)]
    nats_server: PathBuf,
    /// Where `ops/dev` keeps it, if not in `.cache`
    #[arg(long, env = "QUADRILLE_CACHE", hide = true)]
    cache: Option<PathBuf>,
}

impl ServerArgs {
    /// The program that is named; if that is the default and cannot be run, one that was fetched,
    /// or the one that the `dev` of this folder runs.
    ///
    /// # Errors
    /// When there is none that can be run.
    pub(super) fn require(&self) -> anyhow::Result<PathBuf> {
        let path = &self.nats_server;
        let Err(reason) = runs(path) else { return Ok(path.clone()) };
        if path == Path::new(SERVER) {
            let of_dev = Addresses::here().and_then(|(_, running)| running.nats_server);
            let mut others = self.fetched().into_iter().chain(of_dev);
            if let Some(other) = others.find(|server| runs(server).is_ok()) {
                return Ok(other);
            }
        }
        Err(anyhow!("{} cannot be run: {reason}", path.display()).advise(
            "`ops/dev` fetches a nats-server (where QUADRILLE_CACHE names the folder for it, set \
             that here, too); or put one on PATH, or name it: \
             QUADRILLE_NATS_SERVER=/path/to/nats-server",
        ))
    }

    /// Every `nats-server/2.15.1/bin/nats-server` in a cache, the nearest and newest first.
    fn fetched(&self) -> Vec<PathBuf> {
        let from = [std::env::current_dir(), std::env::current_exe()];
        let folders = from.iter().flatten().flat_map(|place| place.ancestors());
        let caches = self.cache.iter().cloned().chain(folders.map(|one| one.join(".cache")));
        caches.flat_map(|cache| in_cache(&cache)).collect()
    }
}

fn in_cache(cache: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let versions = std::fs::read_dir(cache.join(SERVER)).into_iter().flatten().flatten();
    let mut servers: Vec<_> =
        versions.map(|version| version.path().join("bin").join(SERVER)).collect();
    servers.sort();
    servers.into_iter().rev()
}

fn runs(server: &Path) -> Result<(), String> {
    match std::process::Command::new(server).arg("--version").output() {
        Ok(answer) if answer.status.success() => Ok(()),
        Ok(answer) => Err(answer.status.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
