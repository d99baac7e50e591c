//! `quadrille audit` of a stack: a second opinion beside [`Stack::check`], with which it shares
//! nothing but the contract.

use harness::binaries::{Build, program};
use tokio::process::Command;

use super::Stack;

impl Stack {
    /// Has log, stock and ledger audited, of an order system at rest; its verdict, one line.
    ///
    /// # Panics
    /// When it calls them anything but sound; shows what it says.
    pub async fn audit(&self) -> String {
        self.shelf_is_clear().await;
        let mut audit = Command::new(program(Build::Shipped, "quadrille"));
        audit.env_clear().args(["--nats", &self.server.url(), "audit", "--at-rest", "--ledger"]);
        let output = audit.arg(self.folder.file("ledger.jsonl")).output().await.expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let verdict = said.lines().next_back().unwrap_or_default();
        let is_sound = output.status.success() && verdict.starts_with("sound: ");
        assert!(is_sound, "{said}{}", String::from_utf8_lossy(&output.stderr));
        verdict.to_owned()
    }
}
