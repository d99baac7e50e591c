//! A benchmark that is ended by a signal leaves nothing behind: neither a server and workers, which
//! would disturb whatever is measured next, nor their files.

use std::fs;
use std::path::Path;

use harness::eventually::eventually;
use harness::folder::Folder;
use harness::process::Process;
use tokio::process::Command;

/// The two shells that keep the others, a server, and four workers.
const CHILDREN: usize = 7;

/// In a row of the breaker's bench there are a sandbox, three workers and eight replicas.
const CHILDREN_OF_A_ROW: usize = 2 + 1 + 1 + 3 + 8;

#[tokio::test]
async fn a_benchmark_that_is_told_to_end_takes_its_server_and_workers_with_it() {
    ends_with_its_children(&["--sides", "raw", "--orders", "1000000"], CHILDREN).await;
}

#[tokio::test]
async fn a_row_of_an_outage_that_is_told_to_end_leaves_nothing_behind() {
    ends_with_its_children(&["breaker", "--rows", "500s", "--designs", "full"], CHILDREN_OF_A_ROW)
        .await;
}

async fn ends_with_its_children(arguments: &[&str], count: usize) {
    if !Path::new("/proc/self/stat").exists() {
        return;
    }
    let (folder, temporary) = (Folder::new("quadrille-bench-"), Folder::new("quadrille-bench-"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(arguments).env("TMPDIR", temporary.path());
    let mut bench = Process::start("bench", command, folder.path()).expect("it was built for this");
    let id = bench.pid().to_string();
    let started = bench.until("starts its processes", async || {
        let children = children_of(&id);
        (children.len() == count).then_some(children)
    });
    let children = started.await.expect("there is a nats-server, as for the quick run");
    bench.shut_down().await;
    eventually("its processes and their files are gone", async || {
        let gone = children.iter().all(|id| !runs(id));
        (gone && fs::read_dir(temporary.path()).ok()?.next().is_none()).then_some(())
    })
    .await;
}

/// What `/proc` says of a process after its name: its state, the id of its parent, …
fn status(id: &str) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn children_of(parent: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("it was there").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|id| status(id).is_some_and(|status| status[1] == parent)).collect()
}

/// A process that has ended stays listed until its new parent looks at it.
fn runs(id: &str) -> bool {
    status(id).is_some_and(|status| status[0] != "Z")
}
