//! Headers that the server stores and passes on, and that no client can read.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use quadrille::broker::{Answers, Broker as _, Care, Settle};
use tests::eventually::eventually;
use tests::raw;
use tokio::time::timeout;

use crate::under_test::{UnderTest, next};

contract!(
    what_no_client_can_read_is_handed_out_with_its_bytes_and_the_rest_flows,
    a_story_with_a_message_that_no_client_can_read_is_read,
    a_service_answers_after_a_request_that_no_client_can_read,
);

/// The first ends the task of a client, each of the others its connection.
const SHAPES: [&[u8]; 5] = [
    b"NATS/1.0\r\nA: b\rc\r\n\r\n",
    b"NATS/1.0\r\nno colon\r\n\r\n",
    b"NATS/1.0\r\nA: \xff\r\n\r\n",
    b"NATS/1.0\r\nA b: c\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
];

async fn what_no_client_can_read_is_handed_out_with_its_bytes_and_the_rest_flows(test: UnderTest) {
    let test = test.with_durable().await;
    let url = &test.urls[0];
    let mut pull = test.pull().await;
    for (at, shape) in SHAPES.iter().enumerate() {
        test.write("inventory", &format!("before-{at}")).await;
        let slot = test.slot("inventory", &format!("bad-{at}"));
        raw::publish_bytes(url, slot.subject(), shape, "{}").await;
        test.write("inventory", &format!("behind-{at}")).await;
    }
    let (mut good, mut bad) = (BTreeSet::new(), BTreeSet::new());
    while good.len() < 10 || bad.len() < SHAPES.len() {
        let delivered = next(&mut pull, 8).await;
        let id = delivered.message.subject.rsplit('.').next().unwrap().to_owned();
        let settle = match &delivered.unreadable {
            None => {
                good.insert(id);
                Settle::Ack
            }
            Some(unreadable) => {
                let at: usize = id.strip_prefix("bad-").unwrap().parse().unwrap();
                assert_eq!(unreadable.raw_headers, SHAPES[at]);
                assert_eq!(delivered.message.payload, "{}");
                bad.insert(id);
                Settle::Term("malformed-header")
            }
        };
        test.broker.settle(&delivered.receipt, settle).await;
    }
    assert!(test.broker.connected());
    eventually("all is settled", async || {
        let info = test.raw.durable(test.flow.stream, "charge-customer").await;
        let left = |field: &str| info[field].as_u64().unwrap();
        (left("num_pending") + left("num_ack_pending") == 0).then_some(())
    })
    .await;
}

async fn a_story_with_a_message_that_no_client_can_read_is_read(test: UnderTest) {
    let test = test.with_stream().await;
    for (at, shape) in SHAPES.iter().enumerate() {
        let id = format!("s{at}");
        test.write("placed", &id).await;
        let slot = test.slot("payment", &id);
        raw::publish_bytes(&test.urls[0], slot.subject(), shape, "{}").await;
        test.write("refused", &id).await;
        let story = test.flow.story(slot.saga());
        let read = eventually("all of it is stored", async || {
            let read = test.broker.last_of_many(test.flow.stream, vec![story.clone()]).await;
            read.ok().filter(|read| read.len() == 3)
        })
        .await;
        assert!(read.is_sorted_by_key(|stored| stored.sequence));
        assert!(read.iter().any(|stored| stored.subject == slot.subject()));
        let fast = test.broker.read_page(test.flow.stream, 1, 100, Care::Fast).await;
        assert!(fast.is_err(), "{at}: {fast:?}");
        assert!(test.broker.connected(), "{at}");
    }
}

async fn a_service_answers_after_a_request_that_no_client_can_read(test: UnderTest) {
    let (service, prefix) = (test.flow.stream, test.flow.subjects);
    let mut requests =
        test.broker.serve(service, prefix, &["stock.get"], Answers::One).await.unwrap();
    let subject = format!("{prefix}.stock.get");
    let client = test.another().await;
    for shape in SHAPES {
        for poisoned in [&subject, &format!("$SRV.PING.{service}")] {
            raw::publish_bytes(&test.urls[0], poisoned, shape, "").await;
            let answered = eventually("it answers again", async || {
                let asked = client.request(&subject, Bytes::new());
                let served = async {
                    while let Some(request) = requests.recv().await {
                        request.respond(Ok(Bytes::from_static(b"7")));
                    }
                };
                let patience = Duration::from_millis(300);
                tokio::select! {
                    answer = timeout(patience, asked) => answer.ok()?.ok()?.ok(),
                    () = served => None,
                }
            });
            assert_eq!(answered.await, "7");
        }
    }
    assert!(test.broker.connected());
}
