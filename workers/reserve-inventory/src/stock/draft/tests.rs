//! What a draft grants, and that it neither makes nor loses a piece, no matter what is requested.

mod shelf;

use proptest::prelude::*;
use quadrille::broker::BatchMessage;
use rstest::rstest;

use super::super::books::Known;
use super::*;
use schemas::stock::State;

fn order(name: &str) -> SagaId {
    SagaId::parse(name).unwrap()
}

fn sku(name: &str) -> Sku {
    Sku::parse(name).unwrap()
}

fn pieces(of: &[(&str, u64)]) -> Pieces {
    of.iter().map(|(name, quantity)| (sku(name), *quantity)).collect()
}

fn hold(name: &str, of: &[(&str, u64)]) -> Want {
    Want::Hold { order: order(name), pieces: pieces(of) }
}

fn release(name: &str) -> Want {
    Want::Release { order: order(name) }
}

fn ship(name: &str) -> Want {
    Want::Ship { order: order(name) }
}

fn receive(receipt: &str, of: &[(&str, u64)]) -> Want {
    Want::Receive { pieces: pieces(of), receipt: receipt.to_owned() }
}

fn delist(name: &str) -> Want {
    Want::Delist { skus: vec![sku(name)] }
}

fn count(name: &str, pieces: u64, state: State) -> Want {
    Want::Count { counted: Counts::from([(sku(name), (pieces, state))]) }
}

fn state(books: &Books, name: &str) -> State {
    books.levels[&sku(name)].value.as_ref().unwrap().state()
}

fn set(of: &[(&str, u64)]) -> Want {
    Want::Set { stocked: pieces(of), opening: false }
}

/// Books after these groups of one request each, all granted.
fn given(wants: &[Want]) -> Books {
    let mut books = Books::default();
    then(&mut books, 1_000, wants);
    books
}

/// The same for books of which there are some.
fn then(books: &mut Books, mut last: u64, wants: &[Want]) {
    for want in wants {
        let draft = Draft::of(books, &[want]);
        assert_eq!(draft.answers, [Ok(())], "{want:?}");
        let Draft { changes, .. } = draft;
        store(books, changes, last);
        last += 1_000;
    }
}

/// Does what a broker does with the batch, down to the sequences.
fn store(books: &mut Books, changes: Changes, last: u64) {
    let messages = changes.holds.len() + changes.receipts.len() + changes.levels.len();
    let mut revisions = last + 1 - messages as u64..;
    for (order, hold) in changes.holds.clone() {
        let revision = revisions.next().unwrap();
        books.holds.insert(order, Known { revision, value: Some(hold) });
    }
    for (receipt, pieces) in changes.receipts.clone() {
        let revision = revisions.next().unwrap();
        books.receipts.insert(receipt, Known { revision, value: Some(pieces) });
    }
    books.stored(changes, last);
}

fn free(books: &Books, name: &str) -> u64 {
    books.levels[&sku(name)].value.as_ref().unwrap().free
}

fn subjects(messages: &[BatchMessage]) -> Vec<(&str, u64)> {
    messages.iter().map(|message| (message.subject.as_str(), message.expected_last)).collect()
}

#[test]
fn a_group_is_one_message_a_hold_and_one_a_sku_with_the_holds_first() {
    let books = given(&[set(&[("A", 10), ("B", 10)])]);
    let wants = [hold("o1", &[("A", 2)]), hold("o2", &[("A", 3), ("B", 1)])];
    let draft = Draft::of(&books, &wants.each_ref());
    assert_eq!(draft.answers, [Ok(()), Ok(())]);
    assert_eq!(
        subjects(&draft.changes.messages(&books)),
        [("stock.hold.o1", 0), ("stock.hold.o2", 0), ("stock.sku.A", 999), ("stock.sku.B", 1_000)]
    );
}

#[test]
fn what_is_refused_leaves_the_rest_of_the_group_alone() {
    let books = given(&[set(&[("A", 10), ("B", 1)])]);
    let wants = [
        hold("o1", &[("A", 2), ("B", 2)]),
        hold("o2", &[("A", 1), ("NONE", 1)]),
        hold("o3", &[("A", 10)]),
    ];
    let draft = Draft::of(&books, &wants.each_ref());
    let none = No::UnknownSku(sku("NONE"));
    assert_eq!(draft.answers, [Err(No::TooLittle(sku("B"))), Err(none), Ok(())]);
    assert_eq!(subjects(&draft.changes.messages(&books)).len(), 2);
}

#[test]
fn an_order_gets_all_of_its_pieces_or_none() {
    let books = given(&[set(&[("A", 5)]), hold("o1", &[("A", 3)])]);
    let wants = [hold("o2", &[("A", 3)]), hold("o3", &[("A", 2)])];
    let draft = Draft::of(&books, &wants.each_ref());
    assert_eq!(draft.answers, [Err(No::TooLittle(sku("A"))), Ok(())]);
}

#[rstest]
#[case::again(hold("o1", &[("A", 3)]), Ok(()))]
#[case::released(release("o1"), Ok(()))]
fn a_hold_that_exists_is_reused_and_costs_nothing(
    #[case] then: Want,
    #[case] answer: Result<(), No>,
) {
    let books = given(&[set(&[("A", 5)]), hold("o1", &[("A", 3)])]);
    let wants = [hold("o1", &[("A", 3)]), then];
    let draft = Draft::of(&books, &wants.each_ref());
    assert_eq!(draft.answers, [Ok(()), answer]);
}

#[test]
fn no_hold_passes_a_release_that_came_first() {
    let mut books = given(&[set(&[("A", 5)]), release("o1")]);
    let draft = Draft::of(&books, &[&hold("o1", &[("A", 3)])]);
    assert_eq!(draft.answers, [Err(No::Released)]);
    assert!(draft.changes.messages(&books).is_empty());

    // Nor does one pass if the released hold was not read: the guard then expects no hold.
    books.holds.clear();
    let unread = Draft::of(&books, &[&hold("o1", &[("A", 3)])]);
    assert_eq!(subjects(&unread.changes.messages(&books))[0], ("stock.hold.o1", 0));
}

#[test]
fn releasing_gives_back_what_was_held_and_once() {
    let books = given(&[set(&[("A", 5)]), hold("o1", &[("A", 3)])]);
    assert_eq!(free(&books, "A"), 2);
    let books = given(&[set(&[("A", 5)]), hold("o1", &[("A", 3)]), release("o1"), release("o1")]);
    assert_eq!(free(&books, "A"), 5);
}

#[test]
fn nothing_is_freed_into_a_sku_that_was_not_found() {
    let mut books = given(&[set(&[("A", 5)]), hold("o1", &[("A", 3)])]);
    books.levels.insert(sku("A"), Known::NONE);
    let draft = Draft::of(&books, &[&release("o1")]);
    assert_eq!(draft.answers, [Err(No::NoLevel(sku("A")))]);
    assert!(draft.changes.messages(&books).is_empty());
}

#[test]
fn the_stock_is_never_set_below_what_is_held() {
    let books = given(&[set(&[("A", 5)]), hold("o1", &[("A", 3)])]);
    let wants = [set(&[("A", 2), ("B", 9)]), set(&[("A", 3)])];
    let draft = Draft::of(&books, &wants.each_ref());
    assert_eq!(draft.answers, [Err(No::BelowHeld { sku: sku("A"), held: 3 }), Ok(())]);
    let level = &draft.changes.levels[&sku("A")];
    assert_eq!((level.stocked, level.free), (3, 0));
    assert!(!draft.changes.levels.contains_key(&sku("B")), "all of a set, or none of it");
}

#[test]
fn an_opening_leaves_alone_what_is_known() {
    let books = given(&[set(&[("A", 5)]), hold("o1", &[("A", 5)])]);
    let opening = Want::Set { stocked: pieces(&[("A", 1), ("B", 9)]), opening: true };
    let draft = Draft::of(&books, &[&opening]);
    assert_eq!(draft.answers, [Ok(())]);
    assert_eq!(subjects(&draft.changes.messages(&books)), [("stock.sku.B", 0)]);
}

#[test]
fn a_group_ends_where_its_batch_is_full() {
    let names: Vec<String> = (0..100).map(|at| format!("S{at}")).collect();
    let all: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1_000)).collect();
    let books = given(&[set(&all)]);
    let one = |at: usize| {
        let lines: Vec<_> = all.iter().map(|(name, _)| (*name, 1)).collect();
        hold(&format!("o{at}"), &lines)
    };
    // One hundred SKUs once, and one message for each order.
    let wants: Vec<Want> = (0..1_000).map(one).collect();
    let draft = Draft::of(&books, &wants.iter().collect::<Vec<_>>());
    assert_eq!(draft.answers.len(), 900);
    assert_eq!(draft.changes.messages(&books).len(), MOST_MESSAGES);
}

#[derive(Debug, Clone)]
enum Step {
    Hold(u8, Vec<(u8, u64)>),
    Release(u8),
    Set(u8, u64),
    Ship(u8),
    Receive(u8, u8, u64),
    Delist(u8),
    /// A count against what is there now, of so many pieces more or, if it can be, fewer.
    Count(u8, i64),
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let lines = prop::collection::vec((0..4_u8, 1..6_u64), 1..4);
    let step = prop_oneof![
        4 => (0..12_u8, lines).prop_map(|(order, lines)| Step::Hold(order, lines)),
        2 => (0..12_u8).prop_map(Step::Release),
        1 => (0..4_u8, 0..12_u64).prop_map(|(sku, stocked)| Step::Set(sku, stocked)),
        2 => (0..12_u8).prop_map(Step::Ship),
        1 => (0..4_u8, 0..9_u8, 0..6_u64)
            .prop_map(|(sku, receipt, pieces)| Step::Receive(sku, receipt, pieces)),
        1 => (0..4_u8).prop_map(Step::Delist),
        1 => (0..4_u8, -3..4_i64).prop_map(|(sku, off)| Step::Count(sku, off)),
    ];
    prop::collection::vec(prop::collection::vec(step, 1..8), 1..20)
}

fn want(books: &Books, step: &Step) -> Want {
    match step {
        Step::Hold(order, lines) => {
            let names: Vec<_> = lines.iter().map(|(at, of)| (format!("S{at}"), *of)).collect();
            let lines: Vec<_> = names.iter().map(|(name, of)| (name.as_str(), *of)).collect();
            hold(&format!("o{order}"), &lines)
        }
        Step::Release(order) => release(&format!("o{order}")),
        Step::Set(at, stocked) => set(&[(&format!("S{at}"), *stocked)]),
        Step::Ship(order) => ship(&format!("o{order}")),
        Step::Receive(at, receipt, quantity) => {
            receive(&format!("d{receipt}"), &[(&format!("S{at}"), *quantity)])
        }
        Step::Delist(at) => delist(&format!("S{at}")),
        Step::Count(at, off) => {
            let name = format!("S{at}");
            let level = books.levels.get(&sku(&name)).and_then(|known| known.value.as_ref());
            let state = level.map_or(State { stocked: 0, edited: 0 }, Level::state);
            count(&name, state.stocked.saturating_add_signed(*off), state)
        }
    }
}

proptest! {
    #[test]
    fn stocked_is_free_and_held_whatever_is_asked(groups in steps()) {
        let mut books = Books::default();
        let mut last = 0;
        for group in groups {
            let wants: Vec<Want> = group.iter().map(|step| want(&books, step)).collect();
            let wants: Vec<&Want> = wants.iter().collect();
            let Draft { answers, changes, .. } = Draft::of(&books, &wants);
            prop_assert_eq!(answers.len(), wants.len());
            let messages = changes.messages(&books);
            let mut exact: Vec<_> = messages.iter().map(|message| &message.subject).collect();
            exact.sort();
            exact.dedup();
            prop_assert_eq!(exact.len(), messages.len(), "one message a subject");
            last += messages.len() as u64;
            store(&mut books, changes, last);

            for (sku, level) in &books.levels {
                let level = level.value.as_ref().expect("only what was stored");
                let holds = books.holds.values().filter_map(|known| known.value.as_ref());
                let held: u64 = holds
                    .filter(|hold| !hold.released && !hold.shipped)
                    .flat_map(|hold| &hold.pieces)
                    .filter(|piece| piece.sku == *sku)
                    .map(|piece| piece.quantity)
                    .sum();
                prop_assert_eq!(level.stocked, level.free + held);
                prop_assert_eq!(level.held(), held);
                prop_assert!(!level.delisted || level.free == 0, "it is still sold");
            }
            for (want, answer) in wants.iter().zip(&answers) {
                if let (Want::Release { order }, Ok(())) = (want, answer) {
                    prop_assert!(books.holds[order].value.as_ref().unwrap().released);
                }
            }
        }
    }
}
