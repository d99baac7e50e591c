//! The binary: how it says where it listens, how it ends, and what its README promises.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{AMOUNT, TestClient};

/// A sandbox in a process of its own, killed if the test ends early.
struct Process {
    child: Child,
    base: String,
}

impl Process {
    fn start(directory: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sandbox"))
            .args(["--listen", "127.0.0.1:0", "--seed", "1", "--ledger"])
            .arg(directory.join("ledger.jsonl"))
            .arg("--ports-file")
            .arg(directory.join("ports.json"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let base = line.trim_end().strip_prefix("listening on ").expect("the address").to_owned();
        Self { child, base }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("our own child");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_process_tells_its_port_and_ends_well_on_a_signal() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for signal in [Signal::TERM, Signal::INT] {
        let mut process = Process::start(directory.path());
        let ports = fs::read_to_string(directory.path().join("ports.json")).expect("ports");
        assert_eq!(ports, format!("{{\"http\":\"{}\"}}\n", process.base));
        let client = TestClient::new(&process.base);
        assert_eq!(client.get("/healthz").await.status, 200);
        process.signal(signal);
        let status = process.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

#[tokio::test]
async fn a_killed_process_answers_its_keys_as_before() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let process = Process::start(directory.path());
    let client = TestClient::new(&process.base);
    let intent = client.create("A1", "pm_card_visa").await;
    let confirmed = client.confirm(&intent, "confirm").await;
    drop(process);

    let process = Process::start(directory.path());
    let client = TestClient::new(&process.base);
    let again = client.confirm(&intent, "confirm").await;
    assert_eq!((again.was_replayed(), again.body), (true, confirmed.body));
    assert_eq!(client.balance("A1").await, AMOUNT);
}

#[test]
fn the_help_has_examples() {
    let output = Command::new(env!("CARGO_BIN_EXE_sandbox")).arg("--help").output();
    let help = String::from_utf8(output.expect("it runs").stdout).expect("text");
    for part in ["SANDBOX_LISTEN", "SANDBOX_LEDGER", "Examples:"] {
        assert!(help.contains(part), "{help}");
    }
}

#[test]
fn the_commands_of_the_readme_work() {
    if Command::new("curl").arg("--version").output().is_err() {
        return eprintln!("there is no curl here, which these commands need: not tested");
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let process = Process::start(directory.path());
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let script: String = blocks.filter(|block| block.contains("$SANDBOX")).collect();
    assert!(script.contains("curl"));
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .env("SANDBOX", &process.base)
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("invalid_request_error") && !said.contains("malformed"), "{said}");
    assert!(said.contains("insufficient_funds") && said.contains("lbl_"), "{said}");
}
