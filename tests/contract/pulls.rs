//! Pulling.

use std::time::Duration;

use quadrille::broker::{Broker as _, Pulled, Settle};

use crate::under_test::{UnderTest, next};

contract!(a_delivery_says_what_was_stored_and_is_settled_once);

async fn a_delivery_says_what_was_stored_and_is_settled_once(test: UnderTest) {
    let test = test.with_durable().await;
    test.triggers(1).await;
    let mut pull = test.pull().await;
    let delivered = next(&mut pull, 4).await;
    assert_eq!(delivered.message.subject, test.slot("inventory", "s0").subject());
    assert_eq!((delivered.message.sequence, delivered.deliveries), (1, 1));
    assert_eq!(delivered.message.payload, "{}");
    let content_type = ("content-type".to_owned(), "application/cloudevents+json".to_owned());
    assert_eq!(delivered.message.headers, [content_type]);
    test.broker.settle(&delivered.receipt, Settle::Ack).await;
    let silence = tokio::time::timeout(test.topology.ack_wait * 2, pull.next(4)).await;
    assert!(silence.is_err(), "{silence:?}");
}
