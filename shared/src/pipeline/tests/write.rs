//! Whether an event is stored, and in which log.

use super::*;

fn go(desk: &Desk) -> Outgoing {
    let occasion = desk.worker.occasion(desk.cause("hotel").unwrap(), None);
    let slot = desk.worker.slot("pivot", &desk.saga);
    Outgoing::new(&FLOW, slot, "buy-ticket", ("trip.go.v1", &event::data(&Go {})), &occasion)
}

/// Another stream of the same name would accept every write as if nothing had ever happened.
#[tokio::test(start_paused = true)]
async fn an_event_that_is_stored_before_its_cause_stops_the_worker() {
    for (after, halts) in [(1, false), (2, true), (3, true)] {
        let (desk, _) = charged();
        desk.log.kept().answers.push_back(Published::Stored { sequence: 2 });
        let event = go(&desk);
        let written = tokio::time::timeout(60 * SECOND, write_once(&desk.worker, &event, after));
        assert_eq!(written.await.is_err(), halts, "{after}");
        let stops = tokio::time::timeout(SECOND, desk.worker.shutdown.clone().asked()).await;
        assert_eq!(matches!(stops, Ok(Stop::Halt(_))), halts, "{after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_of_the_same_log_alone_and_not_too_often() {
    let lost = || Published::Unknown(Unknown::NoAnswer("lost".to_owned()));
    let state = |desk: &Desk, created| StreamState {
        incarnation: crate::broker::Incarnation { created, ..desk.worker.incarnations[0].clone() },
        server_time: created,
        last_sequence: 1,
        bytes: 0,
        max_bytes: None,
    };
    let (desk, _) = charged();
    let same = state(&desk, desk.log.now());
    desk.log.kept().state = Some(same);
    desk.log.kept().answers.extend((0..20).map(|_| lost()));
    let written = write_once(&desk.worker, &go(&desk), 2).await;
    assert!(matches!(written, Ok(Resolved::Written)));
    let published = desk.log.kept().published.clone();
    assert_eq!(published.len(), 21);
    assert!(published.windows(2).all(|two| two[0] < two[1]), "{published:?}");
    let took = published[20].duration_since(published[0]);
    assert!(took > jiff::SignedDuration::from_secs(10), "it waits longer each time: {took:?}");
    let (desk, _) = charged();
    let other = state(&desk, desk.log.now() + jiff::SignedDuration::from_secs(1));
    desk.log.kept().state = Some(other);
    desk.log.kept().answers.push_back(lost());
    let event = go(&desk);
    let written = tokio::time::timeout(60 * SECOND, write_once(&desk.worker, &event, 2)).await;
    assert!(written.is_err(), "it stops");
    assert_eq!(desk.holds("pivot"), None, "and nothing is written into the other log");
}
