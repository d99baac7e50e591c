//! The operator's half of the circuit breaker: what `quadrille breaker` shows, and what running
//! workers do at its word.

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use harness::process::Process;
use quadrille::broker::Broker;
use quadrille::topology::{BREAKERS, override_key};
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Fate, Launch, Stack};

use super::{Said, quadrille};

pub(crate) const GATEWAY: &str = "payment-gateway";
const CHARGE: &str = "charge-customer";

/// A replica with few slots and short waits.
pub(crate) fn charging() -> Launch {
    Launch::of(CHARGE)
        .env("QUADRILLE_WORKER__CONCURRENCY", 8)
        .env("QUADRILLE_WORKER__INSPECT_EVERY", "1s")
        .env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__TIMEOUT", "300ms")
        .env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__WAIT", "1s")
        .env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__WAIT_MAX", "2s")
}

pub(crate) async fn stack_of(replicas: &[Launch]) -> Stack {
    let mut stack = Stack::bare().await;
    stack.start_others(CHARGE).await;
    for replica in replicas {
        stack.start(replica.clone()).await;
    }
    stack.fill_stock().await;
    stack
}

pub(crate) async fn gateway_gives_no_answer(stack: &Stack) {
    let down = json!({ "operations": ["create", "confirm"], "error_rate": 1 });
    stack.sandbox.set_faults("payment", &down).await;
}

pub(crate) fn charging_replicas(stack: &Stack) -> impl Iterator<Item = &Process> {
    stack.workers.iter().filter(|worker| worker.name() == CHARGE)
}

async fn run(stack: &Stack, line: &str) -> Said {
    quadrille(&stack.server, &format!("breaker {line}")).await
}

/// The gateway's breaker, as `breaker show` says it.
async fn shown(stack: &Stack) -> Value {
    let said = run(stack, &format!("show {GATEWAY} --json")).await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    said.json()[0].clone()
}

async fn until_shown(stack: &Stack, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(what, async || {
        let shown = shown(stack).await;
        is(&shown).then_some(shown)
    })
    .await
}

/// All replicas obey the override, or none does any longer.
async fn until_obeyed(stack: &Stack, mode: Option<&str>, gate_open: bool) -> Value {
    let replicas = charging_replicas(stack).count();
    until_shown(stack, &format!("{mode:?} is obeyed"), |shown| {
        let said = shown["replicas"].as_array().expect("a list");
        let obeys = |replica: &Value| {
            replica["override"]["mode"].as_str() == mode && replica["gate_open"] == gate_open
        };
        said.len() == replicas && said.iter().all(obeys)
    })
    .await
}

fn until(shown: &Value, durable: &str) -> Value {
    let durables = shown["durables"].as_array().expect("a list");
    let found = durables.iter().find(|one| one["durable"] == durable);
    found.expect("the service gates it").clone()
}

async fn line_of_ready(worker: &Process, part: &str) -> String {
    eventually(&format!("/ready says {part:?}"), async || {
        let page = worker.page("/ready").await.ok()?;
        assert!(page.contains("\r\n\r\nready\n"), "paused is ready: {page}");
        page.lines().find(|line| line.contains(part)).map(str::to_owned)
    })
    .await
}

#[tokio::test]
async fn a_pause_is_shown_with_what_key_broker_and_replicas_say() {
    let long = charging()
        .env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__WAIT", "2m")
        .env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__WAIT_MAX", "2m");
    let stack = stack_of(&[long.clone(), long]).await;
    let calm = run(&stack, "show").await;
    assert!(calm.stdout.contains("carrier\n  key       none"), "{}", calm.stdout);
    gateway_gives_no_answer(&stack).await;
    let ids = stack.place_all("shown", &[Fate::Completes; 40]).await;
    let shown = until_shown(&stack, "the pause, on the server too", |shown| {
        shown["key"]["value"]["phase"] == "paused"
            && !until(shown, CHARGE)["paused_until"].is_null()
    })
    .await;
    assert_eq!(shown["override"], Value::Null);
    assert_eq!(shown["key"]["value"]["reason"], "no-answer");
    let durable = until(&shown, CHARGE);
    assert_eq!(durable["foreign_pause"], false, "{durable}");
    assert_eq!(durable["paused_until"], durable["explained_until"]);
    let replicas = shown["replicas"].as_array().expect("a list");
    let by = replicas.iter().map(|replica| replica["instance"].clone()).collect::<Vec<_>>();
    assert!(by.contains(&shown["key"]["value"]["by"]) && by.len() == 2, "{shown}");
    until_obeyed(&stack, None, false).await;
    let held = replicas.iter().filter_map(|replica| replica["held"].as_u64()).sum::<u64>();
    assert!(held > 0, "{shown}");
    let text = run(&stack, &format!("show {GATEWAY}")).await.stdout;
    assert!(text.contains("key       paused since 2"), "{text}");
    assert!(text.contains("server    charge-customer: paused until 2"), "{text}");
    for worker in charging_replicas(&stack) {
        let line = line_of_ready(worker, "payment-gateway paused since 2").await;
        assert!(line.contains(", by charge-customer-") && line.contains("no-answer"), "{line}");
    }
    // The pause would last for minutes: the operator begins anew instead.
    stack.sandbox.clear_faults().await;
    let dry = run(&stack, &format!("reset {GATEWAY} --json")).await;
    assert_eq!((dry.code, &dry.json()["written"]), (Some(2), &json!(false)));
    let reset = run(&stack, &format!("reset {GATEWAY} --write --json")).await;
    assert_eq!(reset.code, Some(0), "{}", reset.stderr);
    assert_eq!(reset.json()["key"]["value"]["phase"], "paused");
    assert_eq!(reset.json()["resumed"], json!([CHARGE, "charge-customer-undo"]));
    stack.closed(&ids).await;
    assert_eq!(run(&stack, &format!("reset {GATEWAY} --write")).await.code, Some(0));
    assert_eq!(stack.broker.entry(BREAKERS, GATEWAY).await.unwrap(), None);
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn a_foreign_pause_is_shown_and_never_shortened() {
    let stack = stack_of(&[charging()]).await;
    gateway_gives_no_answer(&stack).await;
    let mut ids = stack.place_all("held", &[Fate::Completes; 20]).await;
    until_shown(&stack, "the pause", |shown| shown["key"]["value"]["phase"] == "paused").await;
    let far = "2100-01-01T00:00:00Z";
    let pause = format!("CONSUMER.PAUSE.ORDERS.{CHARGE}");
    stack.raw.api(&pause, json!({ "pause_until": far })).await.expect("the server pauses it");
    stack.sandbox.clear_faults().await;
    // What is in hand goes on, and the fleet recovers; what comes waits for the operator.
    until_shown(&stack, "recovered", |shown| shown["key"]["value"]["phase"] == "flowing").await;
    ids.extend(stack.place_all("later", &[Fate::Completes; 5]).await);
    let worker = charging_replicas(&stack).next().expect("it was started");
    line_of_ready(worker, &format!("foreign pause of {CHARGE} until {far}")).await;
    let durable = until(&shown(&stack).await, CHARGE);
    assert_eq!((&durable["foreign_pause"], &durable["paused_until"]), (&json!(true), &json!(far)));
    let text = run(&stack, "show").await.stdout;
    assert!(text.contains(&format!("{CHARGE}: paused until {far}, foreign_pause")), "{text}");
    let reset = run(&stack, &format!("reset {GATEWAY} --write")).await;
    assert_eq!(reset.code, Some(0), "{}", reset.stderr);
    assert_eq!(until(&shown(&stack).await, CHARGE)["paused_until"], far);
    assert_eq!(worker.said().matches("foreign_pause: paused by an operator").count(), 1);
    stack.raw.api(&pause, Value::Null).await.expect("the operator ends it");
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn a_word_that_cannot_be_taken_is_refused_and_changes_nothing() {
    let stack = Stack::bare().await;
    let reason = "--reason maintenance";
    for (line, code, part) in [
        (format!("pause {GATEWAY} --write"), 2, "--reason <TEXT>"),
        (format!("pause {GATEWAY} --reason= --write"), 2, "1 to 200 characters"),
        (format!("pause {GATEWAY} {reason} --for 25h --write"), 2, "1s to 24h"),
        (format!("resume bank {reason} --write"), 1, "the flow names payment-gateway, carrier"),
        ("reset bank --write".to_owned(), 1, "the flow names payment-gateway, carrier"),
        ("show bank".to_owned(), 1, "the flow names payment-gateway, carrier"),
        (format!("pause {GATEWAY} {reason}"), 2, "give --write"),
        (format!("observe {GATEWAY} {reason}"), 2, "it holds for one hour"),
    ] {
        let said = run(&stack, &line).await;
        assert_eq!(said.code, Some(code), "{line}: {}", said.stderr);
        assert!(said.stderr.contains(part), "{line}: {}", said.stderr);
        let key = stack.broker.entry(BREAKERS, &override_key(GATEWAY)).await;
        assert_eq!(key.expect("the server answers"), None, "{line}");
    }
}

#[tokio::test]
async fn an_operator_pauses_observes_resumes_and_gives_back_while_workers_run() {
    let off = charging().env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__FLEET", "off");
    let stack = stack_of(&[charging(), off]).await;
    let pause = format!("pause {GATEWAY} --reason maintenance --by ann --write --json");
    let paused = run(&stack, &pause).await;
    assert_eq!((paused.code, &paused.json()["override"]["by"]), (Some(0), &json!("ann")));
    let get = json!({ "last_by_subj": format!("$KV.{BREAKERS}.{}", override_key(GATEWAY)) });
    let stored = stack.raw.api(&format!("STREAM.MSG.GET.KV_{BREAKERS}"), get).await.unwrap();
    let headers = BASE64.decode(stored["message"]["hdrs"].as_str().expect("headers")).unwrap();
    let headers = String::from_utf8_lossy(&headers);
    assert!(headers.contains("Nats-TTL: 3600s"), "it ends on the broker too: {headers}");
    until_obeyed(&stack, Some("paused"), false).await;
    // So many that each replica takes enough of them to doubt.
    let ids = stack.place_all("paused", &[Fate::Completes; 60]).await;
    eventually("all of them wait for the charge", async || {
        let durable = stack.raw.durable("ORDERS", CHARGE).await;
        (durable["num_pending"] == 60).then_some(())
    })
    .await;
    assert_eq!(stack.sandbox.calls("create").await, 0);
    for worker in charging_replicas(&stack) {
        let line = line_of_ready(worker, "payment-gateway paused: paused by ann until 2").await;
        assert!(line.ends_with(", maintenance"), "{line}");
        let metrics = worker.page("/metrics").await.expect("it serves metrics");
        for line in [
            r#"quadrille_breaker_phase{dependency="payment-gateway",phase="paused"} 1"#,
            r#"quadrille_breaker_phase{dependency="payment-gateway",phase="flowing"} 0"#,
            r#"quadrille_gate_open{durable="charge-customer"} 0"#,
        ] {
            assert!(metrics.contains(line), "{line}: {metrics}");
        }
    }

    gateway_gives_no_answer(&stack).await;
    let observe = format!("observe {GATEWAY} --reason settings --for 1h --write");
    let observed = run(&stack, &observe).await;
    assert!(observed.stdout.contains("replaced: paused by ann"), "{}", observed.stdout);
    until_obeyed(&stack, Some("observe"), true).await;
    eventually("a decision is logged and not taken", async || {
        let said = |worker: &Process| worker.said().contains("observing: would write this");
        charging_replicas(&stack).any(said).then_some(())
    })
    .await;
    assert_eq!(stack.broker.entry(BREAKERS, GATEWAY).await.unwrap(), None);

    let resume = format!("resume {GATEWAY} --reason answers --for 10m --write");
    assert_eq!(run(&stack, &resume).await.code, Some(0));
    until_obeyed(&stack, Some("flowing"), true).await;
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    let reset = run(&stack, &format!("reset {GATEWAY} --write")).await;
    assert!(reset.stdout.contains("removed: the override flowing by"), "{}", reset.stdout);
    until_obeyed(&stack, None, true).await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn junk_in_the_key_is_said_once_and_replaced_at_the_next_transition() {
    let stack = stack_of(&[charging(), charging()]).await;
    let key = format!("$KV.{BREAKERS}.{GATEWAY}");
    stack.raw.publish(&key, &[], "{ \u{1b}[31m junk").await.expect("stored");
    let said = |worker: &Process| worker.said().matches("not a breaker's entry").count();
    eventually("each replica says so", async || {
        charging_replicas(&stack).all(|worker| said(worker) > 0).then_some(())
    })
    .await;
    let shown = shown(&stack).await;
    assert!(shown["key"]["junk"].as_str().expect("junk").contains("{  [31m junk"), "{shown}");
    gateway_gives_no_answer(&stack).await;
    let ids = stack.place_all("junk", &[Fate::Completes; 40]).await;
    until_shown(&stack, "the pause", |shown| shown["key"]["value"]["phase"] == "paused").await;
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    for worker in charging_replicas(&stack) {
        assert_eq!(said(worker), 1, "{}", worker.said());
    }
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn a_replica_that_decides_alone_hears_operators_and_no_other_replica() {
    let off = charging().env("QUADRILLE_BREAKER__PAYMENT_GATEWAY__FLEET", "off");
    let stack = stack_of(&[charging(), off]).await;
    let paused = json!({
        "phase": "paused", "by": "another", "reason": "no-answer", "since_ms": 0,
        "wait_ms": 240_000, "k": 0, "pauses": {},
    });
    let (key, forced) = (GATEWAY.to_owned(), override_key(GATEWAY));
    let subject = |key: &str| format!("$KV.{BREAKERS}.{key}");
    stack.raw.publish(&subject(&key), &[], &paused.to_string()).await.expect("stored");
    let resume = format!("resume {GATEWAY} --reason answers --write");
    assert_eq!(run(&stack, &resume).await.code, Some(0));
    // Both heard of the key before, because it was written before.
    until_obeyed(&stack, Some("flowing"), true).await;
    stack.raw.publish(&subject(&forced), &[("KV-Operation", "DEL")], "").await.expect("stored");
    let shown = until_shown(&stack, "the word is gone", |shown| {
        let said = shown["replicas"].as_array().expect("a list");
        said.len() == 2 && said.iter().all(|replica| replica["override"].is_null())
    })
    .await;
    for replica in shown["replicas"].as_array().expect("a list") {
        assert_eq!(replica["gate_open"], replica["fleet"] == "off", "{replica}");
    }
}
