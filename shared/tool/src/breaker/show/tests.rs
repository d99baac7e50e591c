//! What is shown, from what was found.

use quadrille::breaker::FleetMode;
use quadrille::breaker::fleet::{Mode, Phase, Reason};

use super::*;
use crate::output::Paint;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn found<T>(value: Option<T>, junk: Option<&str>) -> Option<Found<T>> {
    let (key, junk) = ("bank".to_owned(), junk.map(str::to_owned));
    Some(Found { key, revision: 7, written_at: at(0), value, junk })
}

fn paused() -> Entry {
    Entry {
        phase: Phase::Paused,
        by: "charge-card-1".into(),
        reason: Reason::NoAnswer,
        since_ms: 60_000,
        wait_ms: 4_100,
        k: 1,
        pauses: [("charge-card".to_owned(), 64_000)].into(),
    }
}

fn durable(paused_until: Option<Timestamp>, foreign_pause: bool) -> Durable {
    let durable = "charge-card".to_owned();
    Durable { durable, paused_until, explained_until: None, foreign_pause, error: None }
}

fn replica() -> Replica {
    let breaker = held::Breaker {
        dependency: "bank".into(),
        phase: Phase::Paused,
        gate_open: false,
        doubting_since: Some(at(59)),
        cut_off: false,
        limit: 1,
        out: 0,
        held: 8,
        on_its_own: false,
        fleet: FleetMode::On,
        forced: None,
    };
    Replica { instance: "charge-card-1".into(), breaker }
}

#[test]
fn a_pause_is_shown_with_each_number_beside_its_source() {
    let shown = Shown {
        dependency: "bank".into(),
        key: found(Some(paused()), None),
        forced: None,
        durables: vec![durable(Some(at(64)), false)],
        replicas: vec![replica()],
        silent: vec!["refund-card".into()],
    };
    assert_eq!(
        text(&shown, Paint(false)),
        "bank\n  \
           key       paused since 1970-01-01T00:01:00Z, by charge-card-1, no-answer, wait 4.1 s\n  \
           override  none\n  \
           server    charge-card: paused until 1970-01-01T00:01:04Z\n  \
           replica   charge-card-1: paused, no answers since 1970-01-01T00:00:59Z; limit 1, \
         in flight 0, held 8\n  \
           replica   refund-card: none answers\n"
    );
}

/// Between the end of a pause and the first answer, which may be a while with nothing to deliver.
#[test]
fn a_key_that_says_paused_while_the_server_delivers_is_explained() {
    let shown = |until| Shown {
        dependency: "bank".into(),
        key: found(Some(paused()), None),
        forced: None,
        durables: vec![durable(until, false)],
        replicas: vec![],
        silent: vec![],
    };
    let over = text(&shown(None), Paint(false));
    assert!(over.contains("wait 4.1 s; the server delivers again: one message"), "{over}");
    let paused = text(&shown(Some(at(64))), Paint(false));
    assert!(paused.contains("wait 4.1 s\n"), "{paused}");
}

#[test]
fn junk_a_foreign_pause_and_an_override_are_named() {
    let forced = Override {
        mode: Mode::Observe,
        by: "ann@host".into(),
        reason: "new\nsettings".into(),
        until_ms: 60_000,
    };
    let shown = Shown {
        dependency: "bank".into(),
        key: found(None, Some("expected value: {")),
        forced: found(Some(forced), None),
        durables: vec![durable(Some(at(64)), true)],
        replicas: vec![],
        silent: vec![],
    };
    let text = text(&shown, Paint(false));
    for part in [
        "key       not a breaker's entry: expected value: {\n",
        "override  observe by ann@host until 1970-01-01T00:01:00Z: new settings\n",
        "paused until 1970-01-01T00:01:04Z, foreign_pause: no key",
    ] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
}

#[test]
fn the_latest_pause_of_any_key_explains_a_durable() {
    let later = Entry { pauses: [("charge-card".to_owned(), 65_000)].into(), ..paused() };
    let keys = [found(Some(paused()), None), found(Some(later), None), found(None, Some("{"))];
    let explained = explained(keys.iter().flatten());
    assert_eq!(explained, [("charge-card".to_owned(), at(65))].into());
}
