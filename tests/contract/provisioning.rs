//! Streams and durables as the flow demands: created once, compared by every worker, never deleted.

use quadrille::Flow;
use quadrille::broker::Broker as _;
use quadrille::nats::provision::{self, Change, ChangeKind, ProvisionError};
use quadrille::topology::Topology;
use serde_json::{Value, json};

use crate::under_test::{UnderTest, next};

contract!(
    what_was_applied_needs_no_further_change,
    a_worker_sees_one_sentence_for_each_setting_that_drifted,
    a_worker_sees_that_its_stream_or_durable_is_missing,
    another_stream_of_the_same_name_has_another_incarnation,
    a_lost_durable_is_made_again_where_the_first_open_saga_begins,
    a_durable_on_a_stream_without_open_sagas_starts_at_its_end,
    a_log_keeps_the_key_namespace_it_was_made_with_and_gets_none_in_silence,
    a_changed_flow_is_refused_while_sagas_are_open,
    what_never_began_holds_no_change_up_and_what_is_open_is_named,
    a_lost_mark_is_no_other_flow_and_labels_are_kept,
    a_changed_flow_is_applied_once_all_sagas_are_closed,
    a_limit_that_was_raised_by_hand_is_not_lowered,
    a_change_that_would_delete_is_refused,
);

/// The part of the plan that is about this case's own stream and durables.
async fn plan(test: &UnderTest, topology: &Topology) -> Vec<Change> {
    let mut plan = provision::plan(&test.broker, topology).await.unwrap();
    let own = format!("stream {}", test.flow.stream);
    plan.retain(|change| change.object == own || change.object.starts_with("durable "));
    plan
}

async fn apply_all(test: &UnderTest) {
    let plan = provision::plan(&test.broker, &test.topology).await.unwrap();
    provision::apply(&test.broker, &plan).await.unwrap();
}

async fn what_was_applied_needs_no_further_change(test: UnderTest) {
    apply_all(&test).await;
    assert_eq!(provision::plan(&test.broker, &test.topology).await.unwrap(), []);
    for worker in test.flow.steps.iter().map(|step| step.worker) {
        let seen = test.broker.inspect(test.flow, worker).await.unwrap();
        assert_eq!((seen.drift, seen.ack_wait), (Vec::new(), test.topology.ack_wait));
        assert_eq!(seen.bucket_drift, Vec::<String>::new());
        let streams: Vec<_> = seen.incarnations.iter().map(|one| one.stream.as_str()).collect();
        let own: &[_] = if worker == "reserve-inventory" { &["STOCK"] } else { &[] };
        assert_eq!(streams, [&[test.flow.stream], own].concat());
        let age = seen.server_time.duration_since(seen.incarnations[0].created);
        assert!(age.as_secs() < 600, "{age}");
    }
}

async fn a_worker_sees_one_sentence_for_each_setting_that_drifted(test: UnderTest) {
    apply_all(&test).await;
    let stream = test.flow.stream;
    let limits = json!({ "max_msgs_per_subject": -1, "discard_new_per_subject": false });
    test.raw.change_stream(stream, limits).await.unwrap();
    let deliver = json!({ "max_deliver": 3, "max_ack_pending": 7 });
    test.raw.change_durable(stream, "charge-customer-undo", deliver).await.unwrap();
    let seen = test.broker.inspect(test.flow, "charge-customer").await.unwrap();
    assert_eq!(
        seen.drift,
        [
            format!("stream {stream}: discard_new_per_subject is not set, but must be true"),
            format!("stream {stream}: max_msgs_per_subject is -1, but must be 1"),
            "durable charge-customer-undo: max_deliver is 3, but must be -1".to_owned(),
        ]
    );
    // The durable is no other worker's, and only an operator repairs it.
    assert_eq!(test.broker.inspect(test.flow, "ship-order").await.unwrap().drift.len(), 2);
    apply_all(&test).await;
    assert_eq!(plan(&test, &test.topology).await, []);
}

async fn a_worker_sees_that_its_stream_or_durable_is_missing(test: UnderTest) {
    let stream = test.flow.stream;
    let seen = test.broker.inspect(test.flow, "ship-order").await.unwrap();
    let durable = format!("durable ship-order of {stream} does not exist");
    let released = format!("durable ship-order-released of {stream}_PARKED does not exist");
    let parked = format!("stream {stream}_PARKED does not exist");
    let without_the_log = [parked, durable, released];
    let mut nothing = vec![format!("stream {stream} does not exist")];
    nothing.extend(without_the_log.clone());
    assert_eq!(seen.drift, nothing);
    let test = test.with_stream().await;
    let seen = test.broker.inspect(test.flow, "ship-order").await.unwrap();
    assert_eq!(seen.drift, without_the_log);
}

async fn another_stream_of_the_same_name_has_another_incarnation(test: UnderTest) {
    let test = test.with_durable().await;
    let before = test.broker.inspect(test.flow, "charge-customer").await.unwrap();
    let delete = format!("STREAM.DELETE.{}", test.flow.stream);
    test.raw.api(&delete, Value::Null).await.unwrap();
    let test = test.with_durable().await;
    let after = test.broker.inspect(test.flow, "charge-customer").await.unwrap();
    assert!(before.incarnations[0].created < after.incarnations[0].created);
    assert!(before.server_time <= after.server_time);
}

async fn a_lost_durable_is_made_again_where_the_first_open_saga_begins(test: UnderTest) {
    apply_all(&test).await;
    for id in ["ended", "open", "younger"] {
        test.write("placed", id).await;
        test.write("inventory", id).await;
    }
    test.write("closed", "ended").await;
    let verb = format!("CONSUMER.DELETE.{}.charge-customer", test.flow.stream);
    test.raw.api(&verb, Value::Null).await.unwrap();
    let plan = plan(&test, &test.topology).await;
    assert_eq!(plan.len(), 1, "{plan:?}");
    assert_eq!(
        (plan[0].kind, plan[0].object.as_str()),
        (ChangeKind::Create, "durable charge-customer")
    );
    provision::apply(&test.broker, &plan).await.unwrap();
    let delivered = next(&mut test.pull().await, 1).await;
    assert_eq!(delivered.message.subject, test.slot("inventory", "open").subject());
}

async fn a_durable_on_a_stream_without_open_sagas_starts_at_its_end(test: UnderTest) {
    let test = test.with_stream().await;
    test.write("placed", "ended").await;
    test.write("inventory", "ended").await;
    test.write("closed", "ended").await;
    test.provision(&["durable charge-customer"]).await;
    test.write("inventory", "new").await;
    let delivered = next(&mut test.pull().await, 1).await;
    assert_eq!(delivered.message.subject, test.slot("inventory", "new").subject());
}

/// The namespace of the log's idempotency keys.
async fn keys(test: &UnderTest) -> Option<quadrille::KeyNamespace> {
    test.broker.inspect(test.flow, "charge-customer").await.unwrap().keys
}

async fn a_log_keeps_the_key_namespace_it_was_made_with_and_gets_none_in_silence(test: UnderTest) {
    apply_all(&test).await;
    let drawn = keys(&test).await.expect("drawn with the log");
    assert_ne!(drawn, quadrille::KeyNamespace::FIRST);
    let lost = json!({ "metadata": { "team": "shop" } });
    // An empty log may have any.
    test.raw.change_stream(test.flow.stream, lost.clone()).await.unwrap();
    assert_eq!(keys(&test).await, None);
    apply_all(&test).await;
    assert!(keys(&test).await.is_some_and(|again| again != drawn));
    // One that holds something has perhaps charged somebody.
    test.write("placed", "open").await;
    test.write("closed", "open").await;
    test.raw.change_stream(test.flow.stream, lost).await.unwrap();
    let refused = plan(&test, &test.topology).await;
    let refusal = refused.iter().find(|change| change.kind == ChangeKind::Refuse).unwrap();
    assert!(refusal.sentence.contains("--keys UUID"), "{refusal}");
    let given = Topology { keys: Some(drawn), ..test.topology.clone() };
    let set = plan(&test, &given).await;
    provision::apply(&test.broker, &set).await.unwrap();
    assert_eq!(keys(&test).await, Some(drawn));
}

/// The same flow, with another trigger for the second step.
fn changed(test: &UnderTest) -> Topology {
    let mut steps = test.flow.steps.to_vec();
    steps[1].on = "placed";
    let steps = Box::leak(steps.into_boxed_slice());
    let flow: &'static Flow = Box::leak(Box::new(Flow { steps, ..*test.flow }));
    Topology { flow, ..test.topology.clone() }
}

async fn a_changed_flow_is_refused_while_sagas_are_open(test: UnderTest) {
    apply_all(&test).await;
    test.raw.publish(test.slot("placed", "open").subject(), &[], "{}").await.unwrap();
    let plan = plan(&test, &changed(&test)).await;
    let refusal = plan.iter().find(|change| change.kind == ChangeKind::Refuse).unwrap();
    assert!(refusal.sentence.contains("one saga is open"), "{refusal}");
    let error = provision::apply(&test.broker, &plan).await.unwrap_err();
    assert!(matches!(error, ProvisionError::Refused(_)), "{error}");
    let seen = test.broker.inspect(test.flow, "charge-customer").await.unwrap();
    assert_eq!(seen.drift, Vec::<String>::new());
}

/// Junk that no worker will ever read must not hold a change of the flow up for ever.
async fn what_never_began_holds_no_change_up_and_what_is_open_is_named(test: UnderTest) {
    apply_all(&test).await;
    let subject = |id: &str| format!("{}.placed.{id}", test.flow.subjects);
    for (id, body) in [("ümlaut", "{}"), ("BAD1", "no JSON"), ("BAD2", "{}")] {
        test.raw.publish(&subject(id), &[], body).await.unwrap();
    }
    // As a worker that knows the event sets it aside.
    let parked = json!({
        "parked_at": "2026-01-01T00:00:00Z", "stored_at": "2026-01-01T00:00:00Z",
        "durable": "reserve-inventory", "reason": "invalid-field", "pointer": "", "message": "",
        "deliveries": 1, "subject": subject("BAD2"), "sequence": 3, "headers": [],
        "payload_base64": "e30=",
    });
    let place = format!("parked.{}.reserve-inventory.BAD2", test.flow.subjects);
    test.raw.publish(&place, &[], &parked.to_string()).await.unwrap();
    let refused = async || {
        let plan = plan(&test, &changed(&test)).await;
        plan.into_iter().find(|change| change.kind == ChangeKind::Refuse)
    };
    assert_eq!(refused().await, None);
    test.raw.publish(test.slot("placed", "open").subject(), &[], "{}").await.unwrap();
    let sentence = refused().await.unwrap().sentence;
    assert!(sentence.contains("one saga is open (open since 20"), "{sentence}");
}

/// A label of another team replaces all that were there.
async fn a_lost_mark_is_no_other_flow_and_labels_are_kept(test: UnderTest) {
    apply_all(&test).await;
    test.raw.publish(test.slot("placed", "open").subject(), &[], "{}").await.unwrap();
    // Lost keys are refused for a reason of their own.
    let keys =
        test.raw.stream(test.flow.stream).await["config"]["metadata"]["quadrille.keys"].clone();
    let label = json!({ "metadata": { "team": "shop", "quadrille.keys": keys } });
    test.raw.change_stream(test.flow.stream, label).await.unwrap();
    let drift = json!({ "max_deliver": 5 });
    test.raw.change_durable(test.flow.stream, "charge-customer", drift).await.unwrap();
    let plan = plan(&test, &test.topology).await;
    let sentences: Vec<_> = plan.iter().map(ToString::to_string).collect();
    let expected = [
        format!("stream {}: note the flow", test.flow.stream),
        "durable charge-customer: max_deliver is 5, but must be -1".to_owned(),
    ];
    assert_eq!(sentences, expected);
    provision::apply(&test.broker, &plan).await.unwrap();
    let marked = test.raw.stream(test.flow.stream).await["config"]["metadata"].clone();
    assert_eq!(marked["team"], "shop");
    assert_eq!(marked["quadrille.saga"], test.flow.saga);
}

async fn a_changed_flow_is_applied_once_all_sagas_are_closed(test: UnderTest) {
    apply_all(&test).await;
    test.write("placed", "ended").await;
    test.write("closed", "ended").await;
    let changed = changed(&test);
    provision::apply(&test.broker, &plan(&test, &changed).await).await.unwrap();
    assert_eq!(plan(&test, &changed).await, []);
    let seen = test.broker.inspect(changed.flow, "charge-customer").await.unwrap();
    assert_eq!(seen.drift, Vec::<String>::new());
    test.write("placed", "new").await;
    let delivered = next(&mut test.pull().await, 1).await;
    assert_eq!(delivered.message.subject, test.slot("placed", "new").subject());
}

async fn a_limit_that_was_raised_by_hand_is_not_lowered(test: UnderTest) {
    let test = test.with_stream().await;
    let raised = json!({ "max_bytes": 4 * test.topology.max_bytes });
    test.raw.change_stream(test.flow.stream, raised).await.unwrap();
    let own =
        |plan: Vec<Change>| plan.into_iter().filter(|it| it.object.starts_with("stream")).count();
    assert_eq!(
        own(plan(&test, &test.topology).await),
        1,
        "an unused stream reserves what is asked"
    );
    test.raw.publish(test.slot("placed", "s1").subject(), &[], "").await.unwrap();
    assert_eq!(own(plan(&test, &test.topology).await), 0);
    let larger = Topology { max_bytes: 8 * test.topology.max_bytes, ..test.topology.clone() };
    assert_eq!(own(plan(&test, &larger).await), 1);
}

async fn a_change_that_would_delete_is_refused(test: UnderTest) {
    let mark = json!({ "metadata": { "quadrille.saga": test.flow.saga } });
    let test = test.with_other_stream(mark).await;
    test.raw.publish(test.slot("placed", "s1").subject(), &[], "").await.unwrap();
    test.raw.publish(test.slot("placed", "s1").subject(), &[], "").await.unwrap();
    let plan = plan(&test, &test.topology).await;
    let refused = plan.iter().any(|change| {
        change.kind == ChangeKind::Refuse && change.sentence.contains("max_msgs_per_subject")
    });
    assert!(refused, "{plan:?}");
    provision::apply(&test.broker, &plan).await.unwrap_err();
    assert_eq!(test.stored().await, 2);
}
