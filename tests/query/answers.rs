//! What is answered, over HTTP and over NATS.

use std::collections::BTreeSet;

use quadrille::SagaId;
use quadrille::ids::event_id;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::stack::{Fate, Launch, Stack};

use crate::asked::Query;
use crate::writer::{self, Written};

async fn put(stack: &Stack, events: &[Written]) -> u64 {
    let mut last = 0;
    for Written { subject, payload } in events {
        last = stack.raw.publish(subject, &[], payload).await.expect("a new event");
    }
    last
}

/// Some orders, each with another fate, and one that waits for its payment.
async fn some_orders() -> (Stack, Query) {
    let stack = Stack::bare().await;
    let query = Query::start(&stack, "query").await;
    for (turn, fate) in Fate::ALL.into_iter().enumerate() {
        let id = format!("{fate:?}-{turn}");
        put(&stack, &writer::story(&id, fate, turn)).await;
    }
    let waiting = &writer::story("Waiting-9", Fate::Completes, 9)[..2];
    let last = put(&stack, waiting).await;
    query.reaches(last).await;
    (stack, query)
}

fn ids(list: &Value) -> Vec<&str> {
    list["orders"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_filtered_and_comes_page_by_page() {
    let (_stack, query) = some_orders().await;
    for (filter, wanted) in [
        ("state=completed", vec!["Completes-0"]),
        ("state=open", vec!["Waiting-9"]),
        ("state=cancelled", vec!["NoCarrier-3", "Declined-2", "OutOfStock-1"]),
        ("waits_for=charge-customer", vec!["Waiting-9"]),
        ("reason=no-luck", vec!["Declined-2", "OutOfStock-1"]),
        ("refused_at=shipment", vec!["NoCarrier-3"]),
        ("customer=cus_2", vec!["Waiting-9", "Declined-2"]),
        ("customer=cus_2&state=open", vec!["Waiting-9"]),
        ("sku=VASE-GLASS&customer=cus_2", vec!["Waiting-9"]),
        ("country=AQ", vec!["NoCarrier-3"]),
        ("order=worst", vec!["Waiting-9"]),
        ("older_than=1h", vec![]),
        ("since=2020-01-01T00:00:00Z&state=open", vec!["Waiting-9"]),
        ("until=2020-01-01T00:00:00Z", vec![]),
        ("state=open&order=oldest", vec!["Waiting-9"]),
    ] {
        let list = query.ok(&format!("/orders?{filter}")).await;
        assert_eq!(ids(&list), wanted, "{filter}: {list}");
        assert_eq!(list["count"]["rows"], json!(wanted.len()), "{filter}: {list}");
    }
    for order in ["newest", "oldest"] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = query.ok(&format!("/orders?limit=2&order={order}{after}")).await;
            seen.extend(ids(&page).into_iter().map(str::to_owned));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(seen.len(), 5, "{seen:?}");
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 5, "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_identifies_an_order_finds_it() {
    let (stack, query) = some_orders().await;
    let last = put(&stack, &writer::story("B4711", Fate::Completes, 10)[..1]).await;
    query.reaches(last).await;
    let numbered = query.ok("/find?q=4711").await;
    assert_eq!(
        (&numbered["found"][0]["id"], &numbered["found"][0]["by"]),
        (&json!("B4711"), &json!("order"))
    );
    let story = query.ok("/orders/Completes-0").await;
    let sequence = story["events"][3]["sequence"].to_string();
    let payload =
        query.ok(&format!("/orders/Completes-0/events/{sequence}")).await["payload"].take();
    let saga = SagaId::parse("Completes-0").unwrap();
    let trace = event_id(FLOW.saga, &saga, "", "trace", "").simple().to_string();
    let event = payload["id"].as_str().unwrap().to_owned();
    for (text, by) in [
        ("Completes-0", "order"),
        ("completes-0", "order"),
        ("Compl", "order"),
        ("cus_0", "customer"),
        ("ROSE-RED", "sku"),
        ("pay_Completes-0", "payment"),
        ("lbl_Completes-0", "label"),
        ("TRCompletes-0", "tracking"),
        (&sequence, "sequence"),
        (&event, "event"),
        (&event.to_uppercase(), "event"),
        (&trace, "trace"),
    ] {
        let found = query.ok(&format!("/find?q={text}")).await;
        let hits = found["found"].as_array().unwrap();
        let hit = hits.iter().find(|hit| hit["id"] == "Completes-0");
        assert_eq!(hit.map(|hit| &hit["by"]), Some(&json!(by)), "{text}: {found}");
    }
    assert_eq!(query.ok("/find?q=no-such-thing").await["found"], json!([]));
    assert_eq!(query.get("/find").await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_and_steps_say_who_waits_for_whom() {
    let (_stack, query) = some_orders().await;
    let counts = query.ok("/counts").await["counts"].take();
    let wanted = json!([
        { "state": "cancelled", "waits_for": null, "count": 3 },
        { "state": "completed", "waits_for": null, "count": 1 },
        { "state": "open", "waits_for": "charge-customer", "count": 1 },
    ]);
    assert_eq!(counts, wanted);
    let steps = query.ok("/steps?window=1h").await["steps"].take();
    let workers: Vec<_> = steps.as_array().unwrap().iter().map(|step| &step["worker"]).collect();
    assert_eq!(workers, ["reserve-inventory", "charge-customer", "ship-order", "complete-order"]);
    assert_eq!(steps[1]["waiting"]["count"], 1, "{steps}");
    assert_eq!((&steps[0]["done"], &steps[0]["refused"]), (&json!(4), &json!(1)), "{steps}");
    // Its `go` is no outcome.
    assert_eq!((&steps[2]["done"], &steps[2]["refused"]), (&json!(1), &json!(1)), "{steps}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_is_a_problem_that_says_what_there_is() {
    let (_stack, query) = some_orders().await;
    let strange = query.request("GET", "/orders").header("Host", "evil.example:8420");
    let strange = query.raw(strange.body(Default::default()).unwrap()).await;
    assert_eq!(strange.status(), 421);
    for (method, path, status, part) in [
        (
            "GET",
            "/orders?stat=open",
            400,
            "there are state, waits_for, reason, refused_at, held, why, customer",
        ),
        ("GET", "/orders?state=shut", 400, "open, parked, cancelling, completed, cancelled"),
        ("GET", "/orders?waits_for=nobody", 400, "reserve-inventory, charge-customer"),
        ("GET", "/orders?refused_at=closed", 400, "inventory, payment, pivot, shipment"),
        ("GET", "/orders?limit=0", 400, "1 to 200"),
        ("GET", "/orders?limit=201", 400, "1 to 200"),
        ("GET", "/orders?since=yesterday", 400, "RFC 3339"),
        ("GET", "/orders?older_than=1", 400, "90s"),
        ("GET", "/orders?order=best", 400, "newest, oldest or worst"),
        ("GET", "/orders?order=worst&customer=cus_1", 400, "customer"),
        ("GET", "/orders?after=x", 400, "next"),
        ("GET", "/orders?state=open&state=open", 400, "once"),
        ("GET", "/orders?state=%00", 400, "NUL"),
        ("GET", "/orders/a%20b", 400, "saga id"),
        ("GET", "/orders/%ff", 400, "UTF-8"),
        ("GET", "/orders/nobody", 404, "not in the log"),
        ("GET", "/orders/Waiting-9/events/99999", 404, "no event"),
        ("GET", "/steps?window=2h", 400, "1h"),
        ("GET", "/stock?sku=%01", 400, "sku"),
        ("GET", "/nowhere", 404, "/openapi.json"),
        ("POST", "/orders", 401, "token"),
        ("PUT", "/orders", 405, "GET,HEAD,POST is"),
        ("DELETE", "/orders/Waiting-9", 405, "GET,HEAD is"),
        ("GET", "/orders/Waiting-9/cancel", 405, "POST is"),
    ] {
        let answer = query.ask(method, path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert_eq!(answer.kind, "application/problem+json", "{path}: {answer:?}");
        assert_eq!(answer.json["status"], status, "{path}: {answer:?}");
        let detail = answer.json["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{path}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_describes_what_is_answered() {
    let (_stack, query) = some_orders().await;
    let document = query.ok("/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    for (path, what) in document["paths"].as_object().unwrap() {
        let is_json = !path.starts_with("/assets/") && what.get("get").is_some();
        if path == "/events" || path == "/stock" || !is_json {
            continue;
        }
        let sequence = query.ok("/orders/Waiting-9").await["events"][0]["sequence"].to_string();
        let mut asked = path.replace("{id}", "Waiting-9").replace("{sequence}", &sequence);
        let parameters = what["get"]["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in
            parameters.iter().filter(|it| it["required"] == true && it["in"] == "query")
        {
            let value = parameter["example"].as_str().unwrap();
            asked = format!("{asked}?{}={value}", parameter["name"].as_str().unwrap());
        }
        let answer = query.ok(&asked).await;
        let schema = &what["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            assert!(answer.get(name).is_some(), "{asked} has no {name}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_is_asked_over_nats() {
    let (mut stack, query) = some_orders().await;
    let ask = async |subject: &str, body: &str| {
        let client = stack.client();
        let answer = client.request(subject.to_owned(), body.to_owned().into()).await.unwrap();
        let header = |name| answer.headers.as_ref().and_then(|headers| headers.get(name));
        let code = header("Nats-Service-Error-Code").map(|code| code.as_str().to_owned());
        (code, serde_json::from_slice::<Value>(&answer.payload).unwrap())
    };
    let (code, list) = ask("orders.list", r#"{"state":"open"}"#).await;
    assert_eq!((code, ids(&list)), (None, vec!["Waiting-9"]));
    let (code, one) = ask("orders.get", r#"{"id":"Waiting-9"}"#).await;
    assert_eq!((code, &one["state"]), (None, &json!("open")));
    let (code, problem) = ask("orders.list", r#"{"stat":"open"}"#).await;
    assert_eq!((code.as_deref(), &problem["status"]), (Some("400"), &json!(400)));
    let (_, projections) = ask("orders.projections", "").await;
    let replica = projections["replica"].as_str().unwrap().to_owned();
    let (_, own) = ask(&format!("query.{replica}.projections"), "").await;
    assert_eq!(own["replica"], json!(replica));
    let (_, changes) = ask("orders.changes", r#"{"after":"1","limit":2}"#).await;
    assert_eq!(changes["changes"][0]["sequence"], 2, "{changes}");
    let after = changes["after"].as_str().unwrap().to_owned();
    let (_, more) = ask("orders.changes", &json!({ "after": after, "limit": 2 }).to_string()).await;
    assert_eq!(more["changes"][0]["sequence"], 4, "{more}");
    // The stock is asked of its own worker.
    let (code, none) = ask("orders.stock", "").await;
    assert_eq!((code.as_deref(), &none["status"]), (Some("503"), &json!(503)));
    stack.start(Launch::of("reserve-inventory")).await;
    stack.fill_stock().await;
    let stock = query.ok("/stock?sku=ROSE-RED").await;
    assert_eq!(stock["stock"][0]["sku"], "ROSE-RED", "{stock}");
}
