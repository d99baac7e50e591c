//! The flags that name a broker.

use std::path::PathBuf;

use clap::Args;

/// Which broker.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Broker")]
pub struct Target {
    /// The broker: nats://host:port, several separated by commas. Without it:
    /// nats://127.0.0.1:4222
    #[arg(long, global = true, env = "QUADRILLE_NATS__URL", value_name = "URL")]
    pub nats: Option<String>,
    /// A `.creds` file to log in with
    #[arg(long, global = true, env = "QUADRILLE_NATS__CREDENTIALS", value_name = "FILE")]
    pub creds: Option<PathBuf>,
    /// A saved context of the `nats` command, instead of a URL
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The folder in which contexts are saved, if it is not ~/.config
    #[arg(long, global = true, env = "XDG_CONFIG_HOME", hide = true)]
    pub config_home: Option<PathBuf>,
}

impl Target {
    /// The flags that name the same broker, each after a space; a URL with a login becomes `URL`.
    pub fn given(&self) -> String {
        let url = self.nats.as_deref().map(|url| if url.contains('@') { "URL" } else { url });
        let creds = self.creds.as_ref().map(|file| file.display().to_string());
        let flags = [
            ("--nats", url),
            ("--creds", creds.as_deref()),
            ("--context", self.context.as_deref()),
        ];
        let given = flags.into_iter().filter_map(|(flag, text)| Some(format!(" {flag} {}", text?)));
        given.collect()
    }
}
