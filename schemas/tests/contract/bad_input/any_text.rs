//! Whatever the text, reading it ends: with an order, or with a reason that quotes nothing of it.

use proptest::prelude::*;
use schemas::CONTRACTS;
use serde_json::{Value, json};

use super::{good, read, with, with_raw};

/// Every place of the good order, objects and arrays included.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), found));
        }
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.by_ref().for_each(|(key, value)| places(value, &format!("{at}/{key}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Text that tries to be taken for a part of our own message.
fn secret() -> impl Strategy<Value = String> {
    let tricks = ["", ", expected ", "`", "\"", ": ", " at line 1 column 1", "\n", "/", "~"];
    prop::collection::vec(prop::sample::select(tricks.to_vec()), 0..4)
        .prop_map(|tricks| format!("s3cr3t{}s3cr3t", tricks.join("s3cr3t")))
}

proptest! {
    #[test]
    fn nothing_of_the_senders_text_comes_back(
        secret in secret(),
        at in any::<prop::sample::Index>(),
    ) {
        let mut found = Vec::new();
        places(&good(), "", &mut found);
        let place = at.get(&found);
        let text = json!(secret).to_string();
        for data in [
            with(place, json!(secret)),
            with(place, json!({ &secret: &secret })),
            with(place, json!([secret, { &secret: 1 }])),
            with_raw(place, &format!("{{{text}:[1,}}")),
            format!("{}{secret}", good()),
            secret.clone(),
        ] {
            if let Err(bad) = read(&data) {
                prop_assert!(!bad.to_string().contains("s3cr3t"), "{} for {}", bad, data);
            }
        }
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in prop_oneof![
        any::<String>(),
        "[\\[\\]{}\",:\\\\u0-9a-e.+-]{0,200}",
    ]) {
        for kind in CONTRACTS.iter().flat_map(|contract| contract.kinds()) {
            let _ = kind.read(&text);
        }
    }

    #[test]
    fn a_damaged_order_is_read_or_set_aside_and_never_a_panic(
        cut in any::<prop::sample::Index>(),
        insert in "[\\[\\]{}\",:\\\\0-9.-]{0,3}",
        remove in 0..4_usize,
    ) {
        let order = good().to_string();
        let at = cut.index(order.len());
        let rest = &order[(at + remove).min(order.len())..];
        if let Ok(order) = read(&format!("{}{insert}{rest}", &order[..at])) {
            prop_assert!(order.total().is_ok());
        }
    }
}
