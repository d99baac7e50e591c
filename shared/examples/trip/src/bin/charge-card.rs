//! The worker of the step `charge-card`.

use trip::{bank::FakeBank, charge_card::ChargeCard, flow::FLOW, world::Book};

fn main() -> std::process::ExitCode {
    quadrille::worker::main(&FLOW, "charge-card", async |start| {
        let book = Book::of("bank", &start.settings()?);
        start.run_undoable(ChargeCard(FakeBank(book))).await
    })
}
