//! One key, one answer: repetitions, misuse, expiry, and a restart in between.

use std::fs::OpenOptions;
use std::io::Write;

use crate::support::{AMOUNT, Sandbox, create_form, label_body};

#[tokio::test]
async fn a_repetition_is_replayed_and_has_no_second_effect() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    assert_eq!(sandbox.client.create("A1", "pm_card_visa").await, intent);
    let first = sandbox.client.confirm(&intent, "confirm").await;
    let second = sandbox.client.confirm(&intent, "confirm").await;
    assert!(!first.was_replayed() && second.was_replayed());
    assert_eq!((first.status, first.body), (second.status, second.body));
    assert_eq!(sandbox.effects("captured").await, 1);
    assert_eq!(sandbox.client.calls("confirm").await, 2);
}

#[tokio::test]
async fn the_order_of_parameters_does_not_make_another_request() {
    let sandbox = Sandbox::start().await;
    let (one, other) = ("amount=5&currency=eur", "payment_method=pm_card_visa&metadata[order]=A1");
    let first = sandbox.client.form("payment_intents", "k1", &format!("{one}&{other}")).await;
    let second = sandbox.client.form("payment_intents", "k1", &format!("{other}&{one}")).await;
    assert_eq!(first.body["id"], second.body["id"]);
    assert!(second.was_replayed());
}

#[tokio::test]
async fn a_key_with_other_parameters_or_another_path_is_an_idempotency_error() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    let form = create_form("A2", "pm_card_visa");
    let other = sandbox.client.form("payment_intents", "create-A1", &form).await;
    assert_eq!(other.status, 400);
    assert_eq!(other.body["error"]["type"], "idempotency_error");
    let path = sandbox.client.confirm(&intent, "create-A1").await;
    assert_eq!(path.status, 400);
    assert_eq!(path.body["error"]["type"], "idempotency_error");
    assert_eq!(sandbox.ledger_lines().await.len(), 1);
}

#[tokio::test]
async fn a_refusal_that_came_after_execution_began_is_replayed() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    sandbox.client.cancel(&intent, "cancel").await;
    let first = sandbox.client.confirm(&intent, "confirm").await;
    let second = sandbox.client.confirm(&intent, "confirm").await;
    assert_eq!((second.status, second.was_replayed()), (400, true));
    assert_eq!(first.body, second.body);
}

#[tokio::test]
async fn a_key_is_forgotten_after_its_lifetime() {
    let sandbox = Sandbox::start().await;
    sandbox.client.set_faults("payment", r#"{"key_lifetime_ms":0}"#).await;
    let first = sandbox.client.create("A1", "pm_card_visa").await;
    let second = sandbox.client.create("A1", "pm_card_visa").await;
    assert_ne!(first, second);
    // What was saved under a short lifetime does not come back with a longer one.
    sandbox.client.clear_faults().await;
    let third = sandbox.client.create("A1", "pm_card_visa").await;
    assert_ne!(second, third);
    assert_eq!(sandbox.client.create("A1", "pm_card_visa").await, third);
}

#[tokio::test]
async fn a_restart_continues_where_it_stopped() {
    let sandbox = Sandbox::start().await;
    let paid = sandbox.client.create("A1", "pm_card_visa").await;
    let confirmed = sandbox.client.confirm(&paid, "confirm").await;
    let open = sandbox.client.create("A2", "pm_card_visa").await;
    let label = sandbox.client.buy_label("l1", &label_body("A1", "DE", "10115")).await;
    let refused = sandbox.client.buy_label("l2", &label_body("A2", "AQ", "1")).await;
    let before = sandbox.ledger_lines().await;

    let sandbox = sandbox.restart().await;
    assert_eq!(sandbox.ledger_lines().await, before);
    let replay = sandbox.client.confirm(&paid, "confirm").await;
    assert_eq!((replay.was_replayed(), replay.body), (true, confirmed.body));
    assert_eq!(sandbox.client.create("A2", "pm_card_visa").await, open);
    assert_eq!(sandbox.client.confirm(&open, "confirm-2").await.status, 200);
    let again = sandbox.client.buy_label("l1", &label_body("A1", "DE", "10115")).await;
    assert_eq!((again.status, again.body), (201, label.body));
    let again = sandbox.client.buy_label("l2", &label_body("A2", "AQ", "1")).await;
    assert_eq!((again.status, again.body), (422, refused.body));
    assert_eq!(sandbox.client.balance("A1").await, AMOUNT);
    assert_eq!(sandbox.ledger_lines().await.len(), before.len() + 1);
}

#[tokio::test]
async fn a_kill_between_the_two_files_costs_no_ledger_line() {
    let sandbox = Sandbox::start().await;
    let intent = sandbox.client.create("A1", "pm_card_visa").await;
    sandbox.client.confirm(&intent, "confirm").await;
    let before = sandbox.ledger_lines().await;
    let ledger = sandbox.ledger.clone();
    let directory = sandbox.stop().await;
    // The second line torn in the middle; and a journal line of which only the start was written.
    let text = std::fs::read_to_string(&ledger).expect("the ledger");
    std::fs::write(&ledger, &text[..text.len() - 20]).expect("a shorter ledger");
    let journal = format!("{}.journal", ledger.display());
    let mut journal = OpenOptions::new().append(true).open(journal).expect("the journal");
    journal.write_all(b"{\"at\":\"20").expect("a torn line");
    drop(journal);

    let sandbox = Sandbox::start_in(directory).await;
    assert_eq!(sandbox.ledger_lines().await, before);
    assert!(sandbox.client.confirm(&intent, "confirm").await.was_replayed());
}

#[tokio::test]
async fn a_ledger_without_its_journal_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ledger = directory.path().join("ledger.jsonl");
    std::fs::write(&ledger, "{\"n\":1}\n").expect("a ledger");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let options = sandbox::Options { ledger, seed: 0 };
    let error = sandbox::serve(listener, options, std::future::pending()).await;
    let error = error.expect_err("a ledger of unknown origin").to_string();
    assert!(error.contains("journal"), "{error}");
}

#[tokio::test]
async fn two_sandboxes_never_share_a_ledger() {
    let sandbox = Sandbox::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let options = sandbox::Options { ledger: sandbox.ledger.clone(), seed: 0 };
    let error = sandbox::serve(listener, options, std::future::pending()).await;
    let error = format!("{:#}", error.expect_err("the ledger is in use"));
    assert!(error.contains("another process"), "{error}");
}
