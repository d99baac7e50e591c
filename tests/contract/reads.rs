//! Reading slots, and what other clients have put into them.

use quadrille::broker::{Broker as _, Care, Page};
use serde_json::json;
use tests::eventually::eventually;
use tests::raw;

use crate::under_test::UnderTest;

contract!(
    an_empty_slot_reads_as_none,
    a_slot_reads_as_it_was_written,
    the_newest_of_all_that_match_a_filter_is_read,
    headers_that_nobody_can_read_do_not_hurt_a_leader_read,
    a_message_cannot_pass_for_that_of_another_slot,
    a_story_comes_in_stream_order,
    a_story_of_nothing_is_empty,
    a_story_of_too_many_slots_is_refused,
    a_stream_that_is_not_there_is_unavailable,
    a_page_begins_where_it_is_asked_to_and_says_how_much_is_left,
    a_page_behind_the_end_is_empty,
    a_page_of_large_messages_is_shorter,
    a_careful_page_reads_what_no_client_can,
);

async fn an_empty_slot_reads_as_none(test: UnderTest) {
    let test = test.with_stream().await;
    let slot = test.slot("payment", "s1");
    assert!(test.broker.last(test.flow.stream, slot.subject()).await.unwrap().is_none());
}

async fn a_slot_reads_as_it_was_written(test: UnderTest) {
    let test = test.with_stream().await;
    let slot = test.slot("payment", "s1");
    let headers = [("CE-Type", "payment.charged.v1"), ("TraceParent", "00-1-2-01"), ("X", "y")];
    test.raw.publish(slot.subject(), &headers, "{\"ü\":1}").await.unwrap();
    let read = test.broker.last(test.flow.stream, slot.subject()).await.unwrap().unwrap();
    let useful = [("ce-type", "payment.charged.v1"), ("traceparent", "00-1-2-01")];
    assert_eq!(read.headers, useful.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!((read.subject.as_str(), read.sequence), (slot.subject(), 1));
    assert_eq!(read.payload, "{\"ü\":1}");
    let shown = test.broker.last_of_many(test.flow.stream, vec![slot.subject().to_owned()]).await;
    let shown = shown.unwrap().remove(0);
    assert_eq!((shown.stored_at, shown.headers), (read.stored_at, read.headers));
}

async fn the_newest_of_all_that_match_a_filter_is_read(test: UnderTest) {
    let test = test.with_stream().await;
    for (slot, id) in [("payment", "s1"), ("payment", "s2"), ("inventory", "s3")] {
        test.write(slot, id).await;
    }
    let filter = test.flow.filter("payment");
    let read = test.broker.last(test.flow.stream, &filter).await.unwrap().unwrap();
    assert_eq!((read.subject, read.sequence), (test.slot("payment", "s2").subject().into(), 2));
    let filter = test.flow.filter("shipment");
    assert!(test.broker.last(test.flow.stream, &filter).await.unwrap().is_none());
}

async fn headers_that_nobody_can_read_do_not_hurt_a_leader_read(test: UnderTest) {
    let test = test.with_stream().await;
    let slot = test.slot("payment", "s1");
    let header =
        b"NATS/1.0\r\nce-id: 7\r\nce-bad: a\rb\r\nno colon\r\nA B: c\r\n\xff: \xff\r\n\r\n";
    raw::publish_bytes(&test.urls[0], slot.subject(), header, "{}").await;
    let read = eventually("it is stored", async || {
        test.broker.last(test.flow.stream, slot.subject()).await.unwrap()
    })
    .await;
    assert_eq!(read.headers, [("ce-id".to_owned(), "7".to_owned())]);
    assert_eq!(read.payload, "{}");
}

async fn a_message_cannot_pass_for_that_of_another_slot(test: UnderTest) {
    let test = test.with_stream().await;
    let slots = ["s1", "s2"].map(|id| test.slot("payment", id).subject().to_owned());
    let forged = [
        ("Nats-Subject", slots[1].as_str()),
        ("Nats-Sequence", "99"),
        ("Nats-Time-Stamp", "2020-01-01T00:00:00Z"),
        ("Nats-Num-Pending", "7"),
    ];
    test.raw.publish(&slots[0], &forged, "{}").await.unwrap();
    let shown = test.broker.last_of_many(test.flow.stream, slots.to_vec()).await.unwrap();
    let read = test.broker.last(test.flow.stream, &slots[0]).await.unwrap().unwrap();
    assert_eq!(shown, [read]);
}

async fn a_story_comes_in_stream_order(test: UnderTest) {
    let test = test.with_stream().await;
    for (slot, id) in [("placed", "s1"), ("inventory", "s1"), ("placed", "s2"), ("payment", "s1")] {
        test.write(slot, id).await;
    }
    let story = test.flow.story(test.slot("placed", "s1").saga());
    let story = test.broker.last_of_many(test.flow.stream, vec![story]).await.unwrap();
    let sequences: Vec<_> = story.iter().map(|stored| stored.sequence).collect();
    assert_eq!(sequences, [1, 2, 4]);
    assert_eq!(story[2].subject, test.slot("payment", "s1").subject());
}

async fn a_story_of_nothing_is_empty(test: UnderTest) {
    let test = test.with_stream().await;
    let story = test.flow.story(test.slot("placed", "s1").saga());
    for filters in [vec![story], Vec::new()] {
        assert!(test.broker.last_of_many(test.flow.stream, filters).await.unwrap().is_empty());
    }
}

async fn a_story_of_too_many_slots_is_refused(test: UnderTest) {
    let test = test.with_stream().await;
    test.triggers(1_025).await;
    let all = test.broker.last_of_many(test.flow.stream, vec![test.flow.filter("*")]).await;
    assert!(all.is_err(), "{all:?}");
}

async fn a_stream_that_is_not_there_is_unavailable(test: UnderTest) {
    let slot = test.slot("payment", "s1");
    assert!(test.broker.last(test.flow.stream, slot.subject()).await.is_err());
    let story = vec![slot.subject().to_owned()];
    assert!(test.broker.last_of_many(test.flow.stream, story).await.is_err());
    let no_stream = test.raw.api(&format!("STREAM.INFO.{}", test.flow.stream), json!(null)).await;
    assert!(no_stream.is_err());
}

async fn a_page_begins_where_it_is_asked_to_and_says_how_much_is_left(test: UnderTest) {
    let test = test.with_stream().await;
    for at in 1..=7 {
        test.write("placed", &format!("s{at}")).await;
    }
    let stream = test.flow.stream;
    for care in [Care::Fast, Care::Careful] {
        let read = async |from, most| {
            eventually("a replica has it", async || {
                let page = test.broker.read_page(stream, from, most, care).await.ok()?;
                (page.messages.len() == most.min(8 - from as usize)).then_some(page)
            })
            .await
        };
        let middle = read(3, 2).await;
        let sequences: Vec<_> = middle.messages.iter().map(|stored| stored.sequence).collect();
        assert_eq!(sequences, [3, 4]);
        assert!(middle.left > 0, "{care:?}");
        if care == Care::Fast {
            assert_eq!(middle.left, 3);
        }
        let last = test.broker.last(stream, &middle.messages[0].subject).await.unwrap();
        assert_eq!(middle.messages.first(), last.as_ref(), "{care:?}");
        let end = read(7, 5).await;
        assert_eq!((end.messages[0].sequence, end.left), (7, 0), "{care:?}");
    }
}

async fn a_page_of_large_messages_is_shorter(test: UnderTest) {
    let test = test.with_stream().await;
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(60_000));
    for at in 0..120 {
        test.raw
            .publish(test.slot("placed", &format!("s{at}")).subject(), &[], &large)
            .await
            .unwrap();
    }
    let read = async |from| {
        let page = eventually("a replica has all of it", async || {
            let page =
                test.broker.read_page(test.flow.stream, from, 1_024, Care::Fast).await.ok()?;
            (page.messages.len() as u64 + page.left == 121 - from).then_some(page)
        });
        page.await.messages.len() as u64
    };
    // At most 4 MiB, and all of it in two pages.
    let first = read(1).await;
    assert!((20..=70).contains(&first), "{first}");
    assert_eq!(first + read(first + 1).await, 120);
}

async fn a_page_behind_the_end_is_empty(test: UnderTest) {
    let test = test.with_stream().await;
    test.write("placed", "s1").await;
    for care in [Care::Fast, Care::Careful] {
        // A server of a cluster may hear of a new stream later than its leader.
        let page = eventually("a replica answers", async || {
            test.broker.read_page(test.flow.stream, 2, 10, care).await.ok()
        })
        .await;
        assert_eq!(page, Page::default(), "{care:?}");
        let missing = test.broker.read_page("NO_SUCH_STREAM", 1, 10, care).await;
        assert!(missing.is_err(), "{care:?}: {missing:?}");
    }
}

async fn a_careful_page_reads_what_no_client_can(test: UnderTest) {
    let test = test.with_stream().await;
    test.write("placed", "s1").await;
    let slot = test.slot("payment", "s1");
    let header = b"NATS/1.0\r\nce-id: 7\r\nce-bad: a\rb\r\nA B: c\r\n\r\n";
    raw::publish_bytes(&test.urls[0], slot.subject(), header, "{}").await;
    let page = eventually("it is stored", async || {
        let page = test.broker.read_page(test.flow.stream, 1, 10, Care::Careful).await.unwrap();
        (page.messages.len() == 2).then_some(page)
    })
    .await;
    assert_eq!(page.messages[1].headers, [("ce-id".to_owned(), "7".to_owned())]);
}
