//! The worker of the step `book-hotel`.

use trip::{book_hotel::BookHotel, flow::FLOW, hotel::FakeHotel, world::Book};

fn main() -> std::process::ExitCode {
    quadrille::worker::main(&FLOW, "book-hotel", async |start| {
        let book = Book::of("hotel", &start.settings()?);
        start.run_undoable(BookHotel(FakeHotel(book))).await
    })
}
