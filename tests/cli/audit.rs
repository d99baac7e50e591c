//! `audit` and `export` over a real run: what is sound is called sound, and what is not is named.

use quadrille::SagaId;
use serde_json::{Value, json};
use tests::stack::{Build, Fate, Stack, program};

use super::quadrille;

/// The sandbox's ledger as the file that it is.
pub(crate) async fn ledger(stack: &Stack, folder: &std::path::Path) -> String {
    let lines = stack.sandbox.get("/ledger").await;
    let lines = lines.as_array().expect("a list").iter().map(|line| format!("{line}\n"));
    let file = folder.join("ledger.jsonl");
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    file.display().to_string()
}

#[tokio::test]
async fn a_real_run_is_sound_and_a_forged_event_is_not() {
    let stack = Stack::running(2).await;
    let folder = tempfile::tempdir().unwrap();
    let fates: Vec<_> = Fate::ALL.into_iter().cycle().take(24).collect();
    let ids = stack.place_all("sound", &fates).await;
    stack.closed(&ids).await;
    stack.quiet().await;
    stack.shelf_is_clear().await;
    let file = ledger(&stack, folder.path()).await;
    let said = quadrille(&stack.server, &format!("audit --ledger {file} --at-rest --json")).await;
    let verdict = said.json();
    assert_eq!((said.code, &verdict["sound"]), (Some(0), &json!(true)), "{verdict:#}");
    let counts = |name: &str| verdict[name].as_u64().expect("a number");
    assert_eq!((counts("orders"), counts("completed"), counts("cancelled")), (24, 6, 18));
    assert_eq!(verdict["not_checked"], json!({}), "nothing was left out");

    let export = folder.path().join("log.jsonl");
    let said = quadrille(&stack.server, "export").await;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    std::fs::write(&export, format!("{}garbage\n", said.stdout)).unwrap();
    let line = format!("audit {} --ledger {file} --at-rest --json", export.display());
    let said = quadrille(&stack.server, &line).await;
    let verdict = said.json();
    assert_eq!((said.code, &verdict["orders"]), (Some(0), &json!(24)), "{verdict:#}");
    assert!(said.stderr.contains("cannot be read"), "it names the bad line: {}", said.stderr);
    let one = quadrille(&stack.server, "export sound-0").await.stdout;
    assert_eq!(one.lines().count(), 6, "{one}");
    assert_eq!(quadrille(&stack.server, "export nobody").await.code, Some(2));

    let forged = SagaId::parse("sound-999").unwrap();
    stack.place(&forged, &tests::stack::order(Fate::Completes, 0)).await.unwrap();
    let event = json!({ "specversion": "1.0", "id": "x", "type": "payment.charged.v1",
        "source": "mallory", "subject": "sound-0", "data": {} });
    let subject = "orders.payment.sound-404";
    stack.raw.publish(subject, &[], &event.to_string()).await.expect("nobody wrote it before");
    let said = quadrille(&stack.server, &format!("audit --ledger {file} --json")).await;
    let verdict = said.json();
    assert_eq!((said.code, &verdict["sound"]), (Some(1), &json!(false)), "{verdict:#}");
    let flagged = verdict["violations"].as_array().expect("a list");
    let of = |one: &&Value| one["order"] == "sound-404" && one["invariant"] == "contract";
    assert!(flagged.iter().find(of).is_some(), "{verdict:#}");
}

#[tokio::test]
async fn a_payment_that_is_refused_before_any_charge_is_sound_and_a_forgotten_decline_is_not() {
    let stack = Stack::running(1).await;
    let folder = tempfile::tempdir().unwrap();
    stack.place_all("paid", &[Fate::Completes]).await;
    for (id, odd) in [
        ("nope", "--payment-method pm_card_nope"),
        ("stranger", "--customer cus_unknown"),
        ("declined", "--payment-method pm_card_chargeDeclined"),
    ] {
        let placed = quadrille(&stack.server, &format!("place --id {id} --sku TULIP {odd}")).await;
        assert_eq!(placed.code, Some(0), "{}", placed.stderr);
    }
    let ids = ["paid-0", "nope", "stranger", "declined"].map(|id| SagaId::parse(id).unwrap());
    stack.closed(&ids).await;
    stack.quiet().await;
    let file = ledger(&stack, folder.path()).await;
    let line = format!("audit --ledger {file} --at-rest");
    let said = quadrille(&stack.server, &line).await;
    assert_eq!(said.code, Some(0), "{}", said.stdout);
    let lines = std::fs::read_to_string(&file).unwrap();
    let forgets = lines.lines().filter(|line| !line.contains("\"declined\""));
    std::fs::write(&file, forgets.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let said = quadrille(&stack.server, &line).await;
    let text = said.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let flagged = "recorded: order declined: payment.refused.v1 (generic_decline) is recorded";
    for part in [flagged, "broken: 1 violation: ", "first ask whether the ledger is whole"] {
        assert!(text.contains(part), "{part}: {}", said.stdout);
    }
}

#[tokio::test]
async fn a_mistyped_subject_is_named_with_what_to_do_about_it() {
    let stack = Stack::bare().await;
    stack.place_all("typed", &[Fate::Completes]).await;
    stack.raw.publish("orders.palced.X", &[], "{}").await.expect("the log takes any slot");
    let said = quadrille(&stack.server, "audit").await;
    assert_eq!(said.code, Some(1), "{}{}", said.stdout, said.stderr);
    let named = r#"order X: nothing reads "orders.palced.X" (sequence 2)"#;
    let text = said.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let again = format!("`{} place`", program(Build::Shipped, "quadrille").display());
    for part in [named, &again, "Remove a message", "broken: 1 violation: "] {
        assert!(text.contains(part), "{part}: {}", said.stdout);
    }
}

#[tokio::test]
async fn what_is_no_log_and_no_ledger_is_named() {
    let stack = Stack::bare().await;
    let empty = quadrille(&stack.server, "audit").await;
    assert_eq!(empty.code, Some(2));
    assert!(empty.stderr.contains("has no messages"), "{}", empty.stderr);
    let folder = tempfile::tempdir().unwrap();
    let said = quadrille(&stack.server, &format!("audit {}", folder.path().display())).await;
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("no recorded log"), "{}", said.stderr);
}
