//! A child that dies with its parent, even if the parent is killed: it asks the operating system to
//! kill it then, and becomes the program it is meant to be. Asking between fork and exec would need
//! unsafe code.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, anyhow};
use clap::Args;
use rustix::process::getppid;

/// The hidden command's arguments.
#[derive(Debug, Args)]
pub(crate) struct TiedArgs {
    /// The process to die with: the one that starts this command
    #[arg(long, value_name = "PID")]
    #[arg(value_parser = quadrille_tool::values::whole(1..=i32::MAX, "a process id such as 4711"))]
    to: i32,
    /// What to become, and its arguments
    #[arg(required = true, last = true)]
    program: Vec<OsString>,
}

/// Becomes the program; returns only if that failed.
pub(crate) fn tied(args: &TiedArgs) -> anyhow::Error {
    let Some((program, arguments)) = args.program.split_first() else {
        return anyhow!("there is no program to become");
    };
    if let Err(error) = die_with_parent() {
        return error;
    }
    // The parent may have died before this process asked.
    if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(args.to) {
        return anyhow!("process {} is gone already", args.to);
    }
    let error = Command::new(program).args(arguments).exec();
    Err::<(), _>(error).context(program.display().to_string()).expect_err("it is an error")
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> anyhow::Result<()> {
    use rustix::process::{Signal, set_parent_process_death_signal};
    // SIGKILL, because a crash should look like one; on SIGTERM a worker would drain for seconds.
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// On other systems the next start ends what is left.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "the form of the other one")]
fn die_with_parent() -> anyhow::Result<()> {
    Ok(())
}
