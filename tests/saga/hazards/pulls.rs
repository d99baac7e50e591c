//! A pull that has gone silent is made again.

use schemas::order_fulfilment::FLOW;
use serde_json::Value;
use tests::eventually::eventually;
use tests::proxy::Proxy;
use tests::stack::{Fate, Launch, Stack};

#[tokio::test]
async fn h43_messages_flow_again_after_every_restart_of_the_broker() {
    let mut stack = Stack::running(1).await;
    for round in 0..10 {
        let before = stack.place_all(&format!("before-{round}"), &[Fate::Completes; 4]).await;
        stack.server.restart().await;
        let after = stack.place_all(&format!("after-{round}"), &[Fate::Completes; 4]).await;
        stack.closed(&before).await;
        stack.closed(&after).await;
    }
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn h43_messages_flow_again_after_a_connection_that_swallows_everything() {
    let mut stack = Stack::bare().await;
    let proxy = Proxy::to(&stack.server.url()).await;
    stack.start_others("charge-customer").await;
    stack.start(Launch::of("charge-customer").env("QUADRILLE_NATS__URL", proxy.url())).await;
    stack.fill_stock().await;
    for round in 0..3 {
        let before = stack.place_all(&format!("before-{round}"), &[Fate::Completes; 4]).await;
        stack.closed(&before).await;
        proxy.half_open();
        let after = stack.place_all(&format!("after-{round}"), &[Fate::Completes; 4]).await;
        stack.closed(&after).await;
    }
    stack.quiet().await;
    stack.check().await;
}

/// Of the durable; nothing while the cluster is between two leaders.
async fn cluster_of(stack: &Stack) -> Option<Value> {
    let info = stack.raw.api("CONSUMER.INFO.ORDERS.charge-customer", Value::Null).await.ok()?;
    Some(info["cluster"].clone())
}

#[tokio::test]
async fn h43_messages_flow_again_after_a_leader_that_died_without_a_word() {
    let mut stack = Stack::on_three_servers().await;
    for row in FLOW.steps {
        stack.start(Launch::of(row.worker)).await;
    }
    stack.fill_stock().await;
    for round in 0..2 {
        let before = stack.place_all(&format!("before-{round}"), &[Fate::Completes; 2]).await;
        stack.closed(&before).await;
        let leader = eventually("a node leads that no worker is connected to", async || {
            let leader = cluster_of(&stack).await?["leader"].as_str()?.to_owned();
            if leader == "n0" {
                stack.raw.durable_step_down("ORDERS", "charge-customer").await;
                return None;
            }
            Some(leader)
        })
        .await;
        let others = leader[1..].parse::<usize>().expect("a node's name is n and a number") - 1;
        stack.others[others].process.kill();
        eventually("another node leads", async || {
            (cluster_of(&stack).await?["leader"].as_str()? != leader).then_some(())
        })
        .await;
        let after = stack.place_all(&format!("after-{round}"), &[Fate::Completes; 2]).await;
        stack.closed(&after).await;
        stack.others[others].restart().await;
        eventually("the node is back", async || {
            let nodes = cluster_of(&stack).await?["replicas"].clone();
            nodes.as_array()?.iter().all(|node| node["current"] == true).then_some(())
        })
        .await;
    }
    stack.check().await;
}
