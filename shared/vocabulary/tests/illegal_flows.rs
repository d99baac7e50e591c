//! A table that cannot work is refused, with a sentence that names the row.

use quadrille_vocabulary::flow::{Flow, Row, opens, step};
use rstest::rstest;

const HOLD: Row = step("hold")
    .on("asked")
    .writes("held", "room.held.v1", "room.refused.v1")
    .undone_by("held-undo", &["room.freed.v1"]);
const BILL: Row = step("bill")
    .on("held")
    .writes("billed", "bill.sent.v1", "bill.refused.v1")
    .undone_by("billed-undo", &["bill.cancelled.v1"]);
const LEND: Row = step("lend")
    .on("billed")
    .after_pivot("pivot", "stay.go.v1", "stay.stop.v1")
    .writes("lent", "key.lent.v1", "key.refused.v1");
const GREET: Row = step("greet").on("lent").always_writes("greeted", "guest.greeted.v1");
const END: Row = step("end").on("lent").closes("closed", "stay.over.v1", "stay.cancelled.v1");

/// The sentences about a flow of these rows.
fn sentences(steps: &[Row]) -> Vec<String> {
    let flow = Flow {
        saga: "stay",
        stream: "STAYS",
        subjects: "stays",
        opens: opens("asked", "stay.asked.v1"),
        turns: opens("refused", "stay.refused.v1"),
        steps: Vec::leak(steps.to_vec()),
    };
    flow.check().iter().map(ToString::to_string).collect()
}

#[test]
fn the_flows_that_the_illegal_ones_are_made_of_are_legal() {
    assert!(sentences(&[HOLD, BILL, LEND, END]).is_empty());
    assert!(sentences(&[HOLD, BILL, LEND, GREET, END.on("greeted")]).is_empty());
}

#[rstest]
#[case::a_missing_undo_before_the_pivot(
    &[HOLD, Row { undo: None, ..BILL }, LEND, END],
    "bill: a step before the pivot needs an undo (undone_by)"
)]
#[case::an_undo_after_the_pivot(
    &[HOLD, BILL, LEND.undone_by("lent-undo", &["key.back.v1"]), END],
    "lend: a step after the pivot cannot have an undo: the saga no longer turns"
)]
#[case::a_refusal_of_what_is_final(
    &[HOLD, BILL, LEND, GREET.writes("greeted", "guest.greeted.v1", "guest.gone.v1"), END],
    "greet: it may refuse, but what the step before it did is final"
)]
#[case::an_undo_without_an_event(
    &[HOLD, BILL.undone_by("billed-undo", &[]), LEND, END],
    "bill: its undo has no event to record it"
)]
#[case::a_stream_of_its_own_that_is_the_log(
    &[HOLD, BILL.keeps("STAYS", &["bills.*"]), LEND, END],
    "bill: the stream STAYS is the log's"
)]
#[case::a_stream_of_its_own_that_is_another_workers(
    &[HOLD.keeps("ROOMS", &["rooms.*"]), BILL.keeps("ROOMS", &["bills.*"]), LEND, END],
    "bill: the stream ROOMS belongs to hold already"
)]
#[case::a_stream_of_its_own_without_subjects(
    &[HOLD.keeps("ROOMS", &[]), BILL, LEND, END],
    "hold: its stream ROOMS has no subjects"
)]
#[case::a_service_that_is_required_and_preferred(
    &[HOLD, BILL.requires(&["bank", "post"]).prefers(&["post"]), LEND, END],
    "bill: it requires post, so it cannot just prefer it"
)]
#[case::two_owners_of_a_slot(
    &[HOLD, BILL.undone_by("held", &["bill.cancelled.v1"]), LEND, END],
    "bill: slot held already belongs to hold"
)]
#[case::an_owner_of_the_opening_slot(
    &[HOLD.undone_by("asked", &["room.freed.v1"]), BILL, LEND, END],
    "hold: slot asked already belongs to the client that opens the saga"
)]
#[case::an_owner_of_the_signal(
    &[HOLD, BILL.undone_by("refused", &["bill.cancelled.v1"]), LEND, END],
    "bill: slot refused already belongs to the signal"
)]
#[case::a_row_that_waits_for_itself(
    &[HOLD, BILL.on("billed"), LEND, END],
    "bill: it reacts to its own slot billed, a cycle"
)]
#[case::rows_that_wait_for_each_other(
    &[HOLD.on("billed"), BILL, LEND, END],
    "hold: it reacts to slot billed, which only a later row decides: a cycle"
)]
#[case::a_slot_nobody_decides(
    &[HOLD, BILL.on("moon"), LEND, END],
    "bill: it reacts to slot moon, which no row decides"
)]
#[case::an_event_nobody_reads(
    &[HOLD, BILL, LEND, END.on("billed")],
    "lend: no step reads key.lent.v1"
)]
#[case::an_opening_nobody_reads(
    &[HOLD.on("lent"), BILL, LEND, END],
    "stay: no step reads stay.asked.v1"
)]
#[case::two_readers_of_an_event(
    &[HOLD, BILL, LEND.on("held"), END],
    "lend: slot held is already read by bill"
)]
#[case::two_rows_of_one_name(
    &[HOLD, Row { worker: "hold", ..BILL }, LEND, END],
    "hold: the table has two rows of this name"
)]
#[case::no_closing_row(&[HOLD, BILL, LEND], "stay: no row closes the saga (closes)")]
#[case::no_rows(&[], "stay: no row closes the saga (closes)")]
#[case::two_closing_rows(
    &[HOLD, BILL, LEND.closes("lent", "key.lent.v1", "key.kept.v1"), END],
    "end: one row closes the saga, and lend does"
)]
#[case::a_row_after_the_end(
    &[HOLD, BILL, END.on("billed"), Row { on: "closed", pivot: None, ..LEND }],
    "lend: it comes after end, which closes the saga"
)]
#[case::two_pivots(
    &[HOLD, BILL.after_pivot("early", "bill.go.v1", "bill.stop.v1"), LEND, END],
    "lend: a flow has at most one pivot, and bill has it"
)]
#[case::nothing_to_undo(
    &[LEND.on("asked"), END],
    "lend: no step can be undone, so no refusal would end"
)]
#[case::one_type_in_two_slots(
    &[HOLD, BILL.undone_by("billed-undo", &["room.freed.v1"]), LEND, END],
    "hold: room.freed.v1 of slot held-undo is also that of slot billed-undo"
)]
#[case::a_type_without_a_version(
    &[HOLD, BILL.undone_by("billed-undo", &["bill.cancelled"]), LEND, END],
    r#"bill: "bill.cancelled" does not end in a version such as .v1"#
)]
#[case::a_name_that_is_no_token(
    &[HOLD, BILL.undone_by("billed.*", &["bill.cancelled.v1"]), LEND, END],
    r#"bill: "billed.*" is not of lower-case letters, digits, dashes"#
)]
#[case::a_row_without_a_trigger(
    &[HOLD, BILL, Row { on: "", ..LEND }, END],
    "lend: the row reacts to nothing (on)"
)]
#[case::a_row_without_a_decision(
    &[HOLD, BILL, step("lend").on("billed"), END],
    "lend: the row has no slot (writes, or closes)"
)]
fn an_illegal_flow_is_refused_with_a_sentence(#[case] steps: &[Row], #[case] sentence: &str) {
    let sentences = sentences(steps);
    assert!(sentences.iter().any(|said| said == sentence), "it says only {sentences:#?}");
}
