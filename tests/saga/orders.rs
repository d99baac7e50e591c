//! Orders that nothing disturbs.

use quadrille::SagaId;
use tests::stack::{Fate, Stack, order};

#[tokio::test]
async fn every_kind_of_order_ends_as_it_must() {
    let stack = Stack::running(1).await;
    let ids = stack.place_all("order", &Fate::ALL).await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
    for (id, fate) in ids.iter().zip(Fate::ALL) {
        let story = stack.story(id).await;
        let completed = story.contains("order.completed.v1");
        assert_eq!(completed, fate == Fate::Completes, "{fate:?}:\n{story}");
    }
}

#[tokio::test]
async fn a_second_order_of_one_id_is_refused_whoever_sends_it() {
    let stack = Stack::running(1).await;
    let id = SagaId::parse("A123").unwrap();
    stack.place(&id, &order(Fate::Completes, 0)).await.unwrap();
    stack.closed(std::slice::from_ref(&id)).await;
    let story = stack.story(&id).await;
    let other = order(Fate::Declined, 1);
    let (guarded, _) = stack.place(&id, &other).await.unwrap_err();
    assert_eq!(guarded, 10071);
    let (code, words) = stack.publish(&id, &other).await.unwrap_err();
    assert_eq!((code, words.as_str()), (10077, "maximum messages per subject exceeded"));
    stack.quiet().await;
    stack.check().await;
    assert_eq!(stack.story(&id).await, story);
}
