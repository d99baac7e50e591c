//! What is in the workers' hands: in no log and in no rows, so each replica is asked.

use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Fate, Launch, Stack};

use crate::asked::Query;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_whose_worker_tries_again_are_listed_with_attempt_error_and_next_try() {
    let mut stack = Stack::bare().await;
    stack.start(Launch::of("reserve-inventory")).await;
    stack.start(Launch::of("charge-customer")).await;
    stack.fill_stock().await;
    let query = Query::start(&stack, "query").await;
    let nobody = query.ok("/orders?held=any").await;
    assert_eq!((&nobody["orders"], &nobody["count"]["rows"]), (&json!([]), &json!(0)));
    let down = json!({ "operations": ["create", "confirm"], "error_rate": 1 });
    stack.sandbox.set_faults("payment", &down).await;
    let ids = stack.place_all("held", &[Fate::Completes; 3]).await;
    let list = eventually("each order is in hand, and one has failed", async || {
        let list = query.ok("/orders?held=any").await;
        let failed = query.ok("/orders?held=retrying&state=open").await;
        let all = list["orders"].as_array().unwrap().len() == ids.len();
        (all && failed["orders"] != json!([])).then_some(failed)
    })
    .await;
    let replicas = |worker: &str| {
        let asked = list["asked"].as_array().unwrap().iter();
        let asked = asked.filter(|one| one["worker"] == worker).map(|one| &one["replicas"]);
        asked.collect::<Vec<_>>()
    };
    assert_eq!(replicas("charge-customer"), [&json!(1)], "{list}");
    assert_eq!(replicas("ship-order"), [&json!(0)], "who does not run does not answer");
    let failed = list["orders"][0]["id"].as_str().unwrap().to_owned();
    let message: Value = eventually("its worker names it", async || {
        let held = query.ok(&format!("/held?id={failed}")).await;
        held["held"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!(message["worker"], "charge-customer", "{message}");
    assert!(message["attempt"].as_u64() >= Some(1), "{message}");
    assert!(message["last_error"].as_str().unwrap().contains("503"), "{message}");
    assert!(message["since"].is_string(), "{message}");
    assert!(message.get("next_try").is_some(), "{message}");
    assert_eq!(query.ok("/orders?held=any&state=completed").await["orders"], json!([]));
    assert_eq!(query.get("/orders?held=perhaps").await.status, 400);
    stack.sandbox.clear_faults().await;
    eventually("nothing is in hand any longer", async || {
        (query.ok("/held").await["held"] == json!([])).then_some(())
    })
    .await;
}
