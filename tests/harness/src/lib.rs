//! A nats-server, the sandbox and workers as child processes, for tests and measurements.
//!
//! It knows no saga: the caller says which workers there are, what they need, and what must be true
//! of them. Of this repository it knows one program besides the workers, the sandbox, which stands
//! in for the outside services. Nothing outlives the process that started it.
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! use harness::binaries::{Build, program};
//! use harness::folder::Folder;
//! use harness::process::Process;
//! use harness::server::Server;
//! use tokio::process::Command;
//!
//! let server = Server::start().await;
//! let folder = Folder::new("trip-");
//! let mut workers = Vec::new();
//! for name in ["book-flight", "book-hotel"] {
//!     let mut command = Command::new(program(Build::Shipped, name));
//!     command.env_clear().env("QUADRILLE_NATS__URL", server.url());
//!     workers.push(Process::start(name, command, folder.path())?);
//! }
//! for worker in &mut workers {
//!     worker.ready().await?;
//! }
//! # Ok(())
//! # }
//! ```

pub mod eventually;

pub mod binaries;
pub mod folder;
pub mod process;
pub mod sandbox;
pub mod server;

mod keeper;
