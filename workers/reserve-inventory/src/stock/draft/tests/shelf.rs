//! What leaves the shelf with completed orders, and what deliveries, counts and delistings change.

use super::*;

fn level(books: &Books, name: &str) -> (u64, u64, u64) {
    let level = books.levels[&sku(name)].value.as_ref().unwrap();
    (level.stocked, level.free, level.held())
}

#[test]
fn a_shipped_order_takes_its_pieces_off_the_shelf_once() {
    let books = given(&[set(&[("A", 10)]), hold("o1", &[("A", 4)]), ship("o1"), ship("o1")]);
    assert_eq!(level(&books, "A"), (6, 6, 0));
    // A late attempt at the hold finds it, and holds nothing more.
    let books = given(&[
        set(&[("A", 10)]),
        hold("o1", &[("A", 4)]),
        ship("o1"),
        hold("o1", &[("A", 4)]),
        set(&[("A", 6)]),
        hold("o2", &[("A", 3)]),
    ]);
    assert_eq!(level(&books, "A"), (6, 3, 3));
}

#[test]
fn what_was_never_held_or_is_released_is_not_shipped() {
    let books = given(&[set(&[("A", 10)]), ship("o1"), hold("o1", &[("A", 4)]), release("o1")]);
    assert_eq!(level(&books, "A"), (10, 10, 0));
    let books = given(&[set(&[("A", 10)]), hold("o1", &[("A", 4)]), release("o1"), ship("o1")]);
    assert_eq!(level(&books, "A"), (10, 10, 0));
}

/// Its log had lost its end.
#[test]
fn what_was_shipped_for_an_order_that_is_then_cancelled_lies_there_again() {
    let shipped = [set(&[("A", 10)]), hold("o1", &[("A", 4)]), ship("o1")];
    let books = given(&[&shipped[..], &[release("o1"), release("o1")]].concat());
    assert_eq!(level(&books, "A"), (10, 10, 0));
    let books = given(&[&shipped[..], &[delist("A"), release("o1")]].concat());
    assert_eq!(level(&books, "A"), (0, 0, 0));
}

/// Books in which `o1` holds four of ten A for a log that is no more.
fn left_behind(more: &[Want]) -> Books {
    let begin = [set(&[("A", 10), ("B", 10)]), hold("o1", &[("A", 4)])];
    let mut books = given(&[&begin[..], more].concat());
    books.holds.get_mut(&order("o1")).unwrap().value.as_mut().unwrap().left_behind = true;
    books
}

#[test]
fn an_order_of_another_log_takes_what_its_namesake_left_behind_and_no_more() {
    let too_little = |want: &Want| {
        assert_eq!(Draft::of(&left_behind(&[]), &[want]).answers, [Err(No::TooLittle(sku("A")))]);
    };
    too_little(&hold("o1", &[("A", 11)]));
    too_little(&hold("o2", &[("A", 7)]));
    let mut books = left_behind(&[]);
    then(&mut books, 10_000, &[hold("o1", &[("A", 10), ("B", 1)])]);
    assert_eq!((level(&books, "A"), level(&books, "B")), ((10, 0, 10), (10, 9, 1)));
    // It is its own now.
    then(&mut books, 20_000, &[hold("o1", &[("A", 10)]), release("o1")]);
    assert_eq!((level(&books, "A"), level(&books, "B")), ((10, 10, 0), (10, 10, 0)));
    // Of what is delisted nothing comes free.
    let delisted = left_behind(&[delist("A")]);
    let refused = Draft::of(&delisted, &[&hold("o1", &[("A", 1)])]).answers;
    assert_eq!(refused, [Err(No::TooLittle(sku("A")))]);
    let mut books = left_behind(&[delist("A")]);
    then(&mut books, 10_000, &[hold("o1", &[("B", 1)])]);
    assert_eq!(level(&books, "A"), (0, 0, 0));
}

#[test]
fn junk_is_neither_shipped_nor_taken_for_a_delivery_that_was_not_added() {
    let mut books = given(&[set(&[("A", 10)])]);
    books.holds.insert(order("o1"), Known { revision: 7, value: None });
    let draft = Draft::of(&books, &[&ship("o1")]);
    assert!(draft.answers == [Ok(())] && draft.changes.holds.is_empty());
    books.receipts.insert("d1".into(), Known { revision: 8, value: None });
    let received = Draft::of(&books, &[&receive("d1", &[("A", 1)])]).answers;
    assert_eq!(received, [Err(No::OtherReceipt("d1".into()))]);
}

#[test]
fn a_delivery_is_added_once_however_often_it_is_repeated() {
    let first = receive("d1", &[("A", 5), ("NEW", 2)]);
    let books = given(&[
        set(&[("A", 10)]),
        hold("o1", &[("A", 4)]),
        first.clone(),
        first,
        receive("d2", &[("A", 1)]),
    ]);
    assert_eq!((level(&books, "A"), level(&books, "NEW")), ((16, 12, 4), (2, 2, 0)));
    let too_many = receive("d3", &[("A", u64::MAX)]);
    assert_eq!(Draft::of(&books, &[&too_many]).answers, [Err(No::TooMany(sku("A")))]);
    let other = Draft::of(&books, &[&receive("d1", &[("A", 6)])]).answers;
    assert_eq!(other, [Err(No::OtherReceipt("d1".into()))]);
}

#[test]
fn what_is_delisted_is_sold_no_more_and_kept_for_those_who_hold_it() {
    let books = given(&[set(&[("A", 10)]), hold("o1", &[("A", 4)]), delist("A")]);
    assert_eq!(level(&books, "A"), (4, 0, 4));
    let refused = Draft::of(&books, &[&hold("o2", &[("A", 1)])]).answers;
    assert_eq!(refused, [Err(No::TooLittle(sku("A")))]);
    // What a cancelled order held is not sold again, until some is received.
    let books = given(&[
        set(&[("A", 10)]),
        hold("o1", &[("A", 4)]),
        hold("o2", &[("A", 1)]),
        delist("A"),
        release("o1"),
    ]);
    assert_eq!(level(&books, "A"), (1, 0, 1));
    let unknown = Draft::of(&Books::default(), &[&delist("A")]).answers;
    assert_eq!(unknown, [Err(No::UnknownSku(sku("A")))]);
}

#[test]
fn a_count_is_what_lay_there_less_what_orders_completed_since() {
    let begin = [set(&[("A", 10)]), hold("o1", &[("A", 4)]), hold("o2", &[("A", 1)])];
    let mut books = given(&begin);
    let at = state(&books, "A");
    // Nine of ten lie there; then four of them leave, and one more is sold.
    then(&mut books, 10_000, &[ship("o1"), hold("o3", &[("A", 2)]), count("A", 9, at)]);
    assert_eq!(level(&books, "A"), (5, 2, 3));
    // Orders held one and four then, and two more now.
    let mut books = given(&begin);
    then(&mut books, 10_000, &[ship("o1"), hold("o3", &[("A", 2)])]);
    let below = No::BelowHeld { sku: sku("A"), held: 7 };
    for pieces in [0, 3, 6] {
        let counted = Draft::of(&books, &[&count("A", pieces, at)]).answers;
        assert_eq!(counted, [Err(below.clone())]);
    }
    then(&mut books, 20_000, &[count("A", 7, at)]);
    assert_eq!(level(&books, "A"), (3, 0, 3));
}

#[rstest]
#[case::set(set(&[("A", 10)]))]
#[case::received(receive("d1", &[("A", 1)]))]
#[case::received_nothing(receive("d1", &[("A", 0)]))]
#[case::delisted(delist("A"))]
#[case::counted(count("A", 10, State { stocked: 10, edited: 0 }))]
#[case::of_a_cancelled_order_and_delisted(release("o1"))]
#[case::of_a_completed_order_that_is_cancelled(release("o2"))]
fn a_count_against_what_was_there_before_another_change_is_refused(#[case] change: Want) {
    let begin = [set(&[("A", 10)]), hold("o1", &[("A", 4)])];
    let mut books = given(&begin);
    match &change {
        Want::Release { order } if order.as_str() == "o1" => {
            then(&mut books, 10_000, &[delist("A")]);
        }
        Want::Release { .. } => {
            then(&mut books, 10_000, &[hold("o2", &[("A", 1)]), ship("o2")]);
        }
        _ => {}
    }
    let at = state(&books, "A");
    then(&mut books, 20_000, &[change]);
    let counted = Draft::of(&books, &[&count("A", 10, at)]).answers;
    assert_eq!(counted, [Err(No::Edited(sku("A")))]);
    let again = count("A", 10, state(&books, "A"));
    assert_eq!(Draft::of(&books, &[&again]).answers, [Ok(())]);
}

#[test]
fn pieces_whose_level_is_lost_are_named_and_keep_no_others_on_the_shelf() {
    let held = [hold("o1", &[("A", 4), ("B", 1)]), hold("o2", &[("B", 2), ("A", 1)])];
    // A level that was set anew knows the pieces of others.
    let mut fewer = given(&[&[set(&[("A", 10), ("B", 10)])], &held[..1]].concat());
    fewer.levels.insert(sku("A"), Known { revision: 9, value: Some(Level::new(sku("A"), 8, 5)) });
    let unheld = Draft::of(&fewer, &[&ship("o1")]).unheld;
    assert_eq!(unheld.iter().map(|(_, piece)| piece.quantity).collect::<Vec<_>>(), [1]);
    let mut books = given(&[&[set(&[("A", 10), ("B", 10)])], &held[..]].concat());
    books.levels.insert(sku("A"), Known::NONE);
    let wants = [ship("o1"), ship("o2")];
    let Draft { answers, changes, unheld, .. } = Draft::of(&books, &wants.each_ref());
    assert_eq!(answers, [Ok(()), Ok(())]);
    let named: Vec<_> =
        unheld.iter().map(|(order, piece)| (order.as_str(), piece.quantity)).collect();
    assert_eq!(named, [("o1", 4), ("o2", 1)]);
    // Its guard finds out whether there is none in truth.
    assert!(subjects(&changes.messages(&books)).contains(&("stock.sku.A", 0)));
    store(&mut books, changes, 9_000);
    assert_eq!((level(&books, "A"), level(&books, "B")), ((0, 0, 0), (7, 7, 0)));
    then(&mut books, 10_000, &[set(&[("A", 5)])]);
    assert_eq!(level(&books, "A"), (5, 5, 0));
}
