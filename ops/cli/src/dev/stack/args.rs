//! Where everything that `dev` runs is to listen. A port that is asked for and taken is named
//! before anything starts, because a program would say so in its log only.

use anyhow::anyhow;
use clap::Args;
use quadrille_tool::output::Advise;
use quadrille_tool::values::whole;

use super::super::folder::is_free;
use super::super::server::ServerArgs;

/// Where to listen, and which broker to run.
#[derive(Debug, Args)]
pub(in crate::dev) struct StackArgs {
    /// Port of the broker; without it, the last run's or a free one
    #[arg(long, value_parser = port)]
    pub(super) port: Option<u16>,
    /// Port of the sandbox; without it, the last run's or a free one
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub(super) sandbox_port: Option<u16>,
    /// Port of the service that takes orders over HTTP; without it, the last run's or a free one
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub(super) command_port: Option<u16>,
    /// Port of the service that answers questions; without it, the last run's or a free one
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub(super) query_port: Option<u16>,
    #[command(flatten)]
    pub(super) server: ServerArgs,
}

impl StackArgs {
    /// This program, and ports that are free.
    pub(in crate::dev) fn at_free_ports(server: &ServerArgs) -> Self {
        let (port, sandbox_port, command_port, query_port) = (None, None, None, None);
        Self { port, sandbox_port, command_port, query_port, server: server.clone() }
    }

    /// # Errors
    /// When a port that is asked for is taken.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        for (flag, port) in [
            ("--port", self.port),
            ("--sandbox-port", self.sandbox_port),
            ("--command-port", self.command_port),
            ("--query-port", self.query_port),
        ] {
            let Some(port) = port.filter(|port| !is_free(*port)) else { continue };
            return Err(anyhow!("port {port} is taken by another program").advise(format!(
                "give another one, or leave {flag} out: then a free one is taken"
            )));
        }
        Ok(())
    }
}

fn port(text: &str) -> Result<u16, String> {
    whole(0..=u16::MAX, "a port such as 4222")(text)
}
