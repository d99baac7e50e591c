//! What each step decides, and that it keeps the laws of every step: at most one effect, and none
//! after its undo, wherever it fails, dies or is overtaken.

use quadrille::Money;
use quadrille::step::{Outcome, Step};
use quadrille::testing::laws::{self, Effects, World};
use quadrille::testing::{Faults, given};
use tempfile::{TempDir, tempdir};
use trip::bank::FakeBank;
use trip::book_hotel::BookHotel;
use trip::charge_card::ChargeCard;
use trip::confirm_trip::ConfirmTrip;
use trip::flow::*;
use trip::hotel::FakeHotel;
use trip::world::{Book, Settings};

fn requested(hotel: &str) -> TripRequested {
    let HotelBooked { card, price } = booked(12_000);
    TripRequested { trip: None, hotel: hotel.into(), card, price }
}

fn booked(amount: i64) -> HotelBooked {
    let currency = quadrille::Currency::parse("EUR").unwrap();
    HotelBooked { card: "card_1".parse().unwrap(), price: Money { amount, currency } }
}

fn book(folder: &TempDir, faults: Faults) -> Book {
    let settings = Settings { world: folder.path().into(), ..Settings::default() };
    Book::of("service", &settings).with(faults)
}

/// For each fault a book of its own, which two replicas of the step share.
fn world<S: Step>(step: impl Fn(Book) -> S) -> impl Fn(Faults) -> World<S> {
    move |faults| {
        let folder = tempdir().unwrap();
        let shared = book(&folder, faults);
        World::new(|| step(shared.clone()), move || book(&folder, Faults::none()).effects())
    }
}

#[tokio::test]
async fn a_room_is_booked_unless_the_house_is_full() {
    let folder = tempdir().unwrap();
    let step = BookHotel(FakeHotel(book(&folder, Faults::none())));
    given(&step).when(&requested("Ritz")).await.then(Outcome::Done(booked(12_000)));
    let refused = HotelRefused { reason: "full".into() };
    given(&step).when(&requested("Full House")).await.then(Outcome::Refused(refused));
}

#[tokio::test]
async fn a_card_is_charged_up_to_its_limit() {
    let folder = tempdir().unwrap();
    let step = ChargeCard(FakeBank(book(&folder, Faults::none())));
    given(&step).when(&booked(100_000)).await.then(Outcome::Done(CardCharged {}));
    let refused = CardRefused { reason: "over-limit".into() };
    given(&step).when(&booked(100_001)).await.then(Outcome::Refused(refused));
}

#[tokio::test]
async fn every_law_holds_for_booking_the_hotel() {
    for hotel in ["Ritz", "Full House"] {
        laws::hold_for_undo(world(|book| BookHotel(FakeHotel(book))), &requested(hotel)).await;
    }
}

#[tokio::test]
async fn every_law_holds_for_charging_the_card() {
    for amount in [12_000, 100_001] {
        laws::hold_for_undo(world(|book| ChargeCard(FakeBank(book))), &booked(amount)).await;
    }
}

#[tokio::test]
async fn every_law_holds_for_confirming_the_trip() {
    // It does nothing outside: what the laws count is the decision alone.
    let world = |_| World::new(|| ConfirmTrip, || Effects { done: 1, undone: 0 });
    laws::hold_for_step(world, &CardCharged {}).await;
}
