//! A flaky quote service behind the call breaker: fresh, then the flat rate, then fresh again.
//!
//! `cargo run --release --example call_breaker` takes under a second and always prints the same.

use std::cell::Cell;
use std::time::Duration;

use quadrille::breaker::Settings;
use quadrille::breaker::call::{Answer, Breaker, Read};
use quadrille::breaker::class::{Class, Classified};

#[derive(Debug, thiserror::Error)]
#[error("the quote service answers 500")]
struct NoQuote;

impl Classified for NoQuote {
    fn class(&self) -> Class {
        Class::Failed
    }
}

/// The rate when nobody can be asked, in cents.
const FLAT_RATE: u32 = 990;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let breaker = Breaker::new(Settings { run: 3, ..Settings::default() });
    let is_down = Cell::new(false);
    let asked = Cell::new(0);
    let quote = |order: u32| {
        asked.set(asked.get() + 1);
        let answer = if is_down.get() { Err(NoQuote) } else { Ok(500 + order) };
        Read(async move { answer })
    };
    let ask = async |order: u32| {
        let flat = || async { Ok::<_, NoQuote>(FLAT_RATE) };
        match breaker.call(|| quote(order)).or_else(flat).await {
            Ok(Answer::Fresh(cents)) => format!("fresh {cents}"),
            Ok(Answer::Fallback(cents, why)) => format!("flat rate {cents}, because: {why:?}"),
            Err(error) => format!("no rate at all: {error}"),
        }
    };

    println!("The quote service works.");
    for order in 1..=2 {
        println!("  order {order}: {}", ask(order).await);
    }
    println!("It fails: three calls notice, then it is left alone.");
    is_down.set(true);
    for order in 3..=8 {
        println!("  order {order}: {}", ask(order).await);
    }
    println!("  calls made: {}", asked.get());
    println!("It works again: one single try finds out, and all is fresh.");
    is_down.set(false);
    tokio::time::sleep(Duration::from_millis(200)).await;
    for order in 9..=11 {
        println!("  order {order}: {}", ask(order).await);
    }
    println!("  calls made: {}", asked.get());
}
