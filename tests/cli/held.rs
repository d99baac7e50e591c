//! What each replica says of itself: to whoever asks the service `held`, and in metrics.

use std::time::Duration;

use bytes::Bytes;
use quadrille::broker::Broker;
use quadrille::worker::held::{Report, subject};
use serde_json::Value;
use tests::eventually::eventually;
use tests::raw::publish_bytes;
use tests::stack::{Fate, Stack};

use super::breaker::{GATEWAY, charging, charging_replicas, gateway_gives_no_answer, stack_of};

const WORKER: &str = "charge-customer";

/// What a call may come to, as metrics say it.
const CLASSES: [&str; 8] =
    ["answered", "undecided", "bad", "busy", "not-sent", "failed", "credentials", "local"];

async fn reports(stack: &Stack) -> Vec<Report> {
    let patience = Duration::from_millis(300);
    let answers = stack.broker.ask_each(&subject(WORKER), Bytes::new(), patience).await;
    let answers = answers.expect("the server answers");
    answers.iter().map(|answer| serde_json::from_slice(answer).expect("a report")).collect()
}

#[tokio::test]
async fn every_replica_answers_what_it_holds_and_no_request_harms_it() {
    let mut stack = stack_of(&[charging(), charging()]).await;
    let info = stack.raw.client.request(format!("$SRV.INFO.{WORKER}"), Bytes::new());
    let info: Value = serde_json::from_slice(&info.await.expect("an answer").payload).unwrap();
    assert_eq!(info["endpoints"][0]["subject"], subject(WORKER), "{info}");
    assert_eq!(info["name"], WORKER);
    gateway_gives_no_answer(&stack).await;
    let ids = stack.place_all("held", &[Fate::Completes; 30]).await;
    let both = eventually("both replicas hold what has failed", async || {
        let reports = reports(&stack).await;
        let failed = |one: &Report| one.held.iter().any(|held| held.last_error.is_some());
        (reports.len() == 2 && reports.iter().all(failed)).then_some(reports)
    })
    .await;
    assert_ne!(both[0].instance, both[1].instance);
    for report in &both {
        assert_eq!((report.saga.as_str(), report.worker.as_str()), ("order", WORKER));
        assert_eq!(report.breakers[0].dependency, GATEWAY);
        assert_eq!(report.held_total, report.held.len());
        let failed = report.held.iter().find(|held| held.last_error.is_some()).expect("as seen");
        assert_eq!((failed.durable.as_str(), failed.charged), (WORKER, 0));
        assert!(ids.iter().any(|id| *id.to_string() == *failed.saga), "{failed:?}");
        assert!(failed.attempt >= 1 && failed.sequence > 0, "{failed:?}");
        let error = failed.last_error.as_deref().expect("as seen");
        assert!(error.contains("503") && error.chars().count() <= 200, "{error}");
    }

    let asked = stack.raw.client.request(subject(WORKER), Bytes::from_static(b"\0{"));
    let headers = asked.await.expect("an answer").headers.expect("headers");
    let code = headers.get("Nats-Service-Error-Code").expect("an error");
    assert_eq!(code.as_str(), "400");
    // Nobody listens for the answer; and two that no client library sends or reads.
    stack.raw.client.publish(subject(WORKER), Bytes::new()).await.expect("sent");
    let url = stack.server.url();
    publish_bytes(&url, &subject(WORKER), b"NATS/1.0\r\nbad name: x\r\n\r\n", "").await;
    publish_bytes(&url, &subject(WORKER), b"NATS/1.0\r\na: b\rc\r\n\r\n", "").await;
    eventually("both replicas answer again", async || {
        (reports(&stack).await.len() == 2).then_some(())
    })
    .await;
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    for worker in &mut stack.workers {
        assert_eq!(worker.has_ended(), None, "{}", worker.said());
    }
    eventually("nothing is held any longer", async || {
        let reports = reports(&stack).await;
        reports.iter().all(|one| one.held_total == 0).then_some(())
    })
    .await;
    stack.quiet().await;
    stack.check().await;
}

#[tokio::test]
async fn the_metrics_of_a_breaker_exist_from_the_start_and_count_an_outage() {
    let stack = stack_of(&[charging()]).await;
    let worker = charging_replicas(&stack).next().expect("it was started");
    let metrics = async || worker.page("/metrics").await.expect("it serves metrics");
    let start = metrics().await;
    let gateway = |name: &str, label: &str| format!("{name}{{dependency=\"{GATEWAY}\"{label}}}");
    let mut zeros = vec![
        gateway("quadrille_breaker_doubting", ""),
        gateway("quadrille_calls_wasted_total", ""),
        gateway("quadrille_paused_seconds_total", ""),
    ];
    for phase in ["suspected", "paused", "probing"] {
        zeros.push(gateway("quadrille_breaker_phase", &format!(",phase=\"{phase}\"")));
    }
    for class in CLASSES {
        zeros.push(gateway("quadrille_calls_total", &format!(",class=\"{class}\"")));
    }
    for durable in [WORKER, "charge-customer-undo"] {
        zeros.push(format!("quadrille_messages_held{{durable=\"{durable}\"}}"));
        zeros.push(format!("quadrille_attempts_charged_total{{durable=\"{durable}\"}}"));
        for why in ["stopping", "held-long", "later", "unopened", "holds", "cut-off", "twice"] {
            let labels = format!("durable=\"{durable}\",why=\"{why}\"");
            zeros.push(format!("quadrille_deliveries_returned_total{{{labels}}}"));
        }
        let open = format!("quadrille_gate_open{{durable=\"{durable}\"}} 1\n");
        assert!(start.contains(&open), "{open}{start}");
    }
    for zero in zeros {
        assert!(start.contains(&format!("{zero} 0\n")), "{zero} 0: {start}");
    }
    gateway_gives_no_answer(&stack).await;
    let ids = stack.place_all("counted", &[Fate::Completes; 30]).await;
    let count = async |series: String| {
        let metrics = metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{series} ")));
        line.expect("it exists").parse::<f64>().expect("a number")
    };
    eventually("seconds of pause and what is held are counted", async || {
        let paused = count(gateway("quadrille_paused_seconds_total", "")).await;
        let held = count(format!("quadrille_messages_held{{durable=\"{WORKER}\"}}")).await;
        (paused >= 1.0 && held >= 1.0).then_some(())
    })
    .await;
    let failed = count(gateway("quadrille_calls_total", ",class=\"failed\"")).await;
    let wasted = count(gateway("quadrille_calls_wasted_total", "")).await;
    assert!(failed >= 8.0 && wasted >= failed, "{failed}, {wasted}");
    stack.sandbox.clear_faults().await;
    stack.closed(&ids).await;
    let answered = count(gateway("quadrille_calls_total", ",class=\"answered\"")).await;
    assert!(answered >= 30.0, "{answered}");
}
