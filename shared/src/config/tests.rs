//! Settings that are taken, and mistakes in them.

use std::time::Duration;

use schemas::order_fulfilment::FLOW;

use super::*;

fn read(environment: &[(&str, &str)], flags: &[&str]) -> Result<Settings, Invalid> {
    let environment = environment.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let flags: Vec<_> = flags.iter().map(ToString::to_string).collect();
    Sources::read(&FLOW, "ship-order", None, environment, &flags)?.settings()
}

#[test]
fn a_flag_is_stronger_than_the_environment_and_that_than_the_default() {
    let environment = [
        ("QUADRILLE_WORKER__CONCURRENCY", "8"),
        ("QUADRILLE_WORKER__DEADLINE", "2s"),
        ("QUADRILLE_NATS_SERVER", "/usr/bin/nats-server"),
        ("PATH", "/bin"),
    ];
    let settings = read(&environment, &["worker.concurrency=9"]).expect("sound");
    assert_eq!(settings.worker.concurrency, 9);
    assert_eq!(settings.worker.deadline, Duration::from_secs(2));
    assert_eq!(settings.worker.undo_concurrency, WorkerSettings::default().undo_concurrency);
}

#[test]
fn a_mistake_names_the_key_where_it_was_set_and_the_form_expected() {
    for (environment, flags, parts) in [
        (
            vec![("QUADRILLE_WORKER__DEADLINE", "soon")],
            vec![],
            vec!["worker.deadline", "QUADRILLE_WORKER__DEADLINE", "500ms"],
        ),
        (vec![], vec!["worker.concurrency=many"], vec!["worker.concurrency", "--set"]),
        (vec![], vec!["worker.concurrency=0"], vec!["worker.concurrency", "1 to 4096"]),
        (vec![], vec!["worker.inspect_every=0s"], vec!["worker.inspect_every", "than zero"]),
        (vec![], vec!["worker.concurency=8"], vec!["concurency"]),
        (vec![], vec!["wroker.concurrency=8"], vec!["--set wroker.concurrency", "no such section"]),
        (vec![], vec!["concurrency"], vec!["key=value"]),
        (vec![], vec!["log.level=inof"], vec!["log.level (--set log.level)", "debug or trace"]),
        (vec![], vec!["log.level=info,,"], vec!["log.level"]),
        (vec![], vec!["log.format=text"], vec!["log.format", "auto, pretty or json"]),
    ] {
        let error = read(&environment, &flags).expect_err("a mistake").to_string();
        for part in parts {
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
    }
}

#[test]
fn no_error_shows_a_value_that_may_be_secret() {
    let folder = std::env::temp_dir().join(format!("quadrille-config-{}", std::process::id()));
    std::fs::write(&folder, "[nats]\nurl = \"nats://me:s3cr3t@a\" x").expect("it is written");
    let file = Sources::read(&FLOW, "ship-order", Some(&folder), std::iter::empty(), &[]);
    std::fs::remove_file(&folder).expect("it was written");
    let file = file.map(drop).expect_err("not TOML").to_string();
    assert!(file.contains("line 2"), "{file}");
    let flag = read(&[], &["nats.password=s3cr3t"]).expect_err("no such key").to_string();
    assert!(flag.contains("nats.password"), "{flag}");
    let settings = read(&[], &["nats.url=nats://me:s3cr3t@a"]).expect("sound");
    let shown = format!("{settings:?}");
    assert!(shown.contains("nats://…@a"), "{shown}");
    assert!(!format!("{file}{flag}{shown}").contains("s3cr3t"), "{file}{flag}{shown}");
}

#[test]
fn each_breaker_has_a_section_also_in_the_environment() {
    let environment = [("QUADRILLE_BREAKER__PAYMENT_GATEWAY__RUN", "4")];
    let settings = read(&environment, &["breaker.carrier.wait=1s", "breaker.quote-service.run=5"])
        .expect("sound");
    assert_eq!(settings.breaker["payment-gateway"].run, 4);
    assert_eq!(settings.breaker["carrier"].wait, Duration::from_secs(1));
    assert_eq!(settings.breaker["quote-service"].run, 5, "a preferred service has one too");
    assert_eq!(settings.breaker["carrier"].run, BreakerSettings::default().run);
}

#[test]
fn a_breaker_of_a_service_that_no_step_calls_is_refused_with_those_there_are() {
    let environment = [("QUADRILLE_BREAKER__PAYMENT_GATEWY__RUN", "4")];
    let error = read(&environment, &[]).expect_err("a mistake").to_string();
    let parts = ["breaker.payment-gatewy (QUADRILLE_BREAKER__", "names payment-gateway, carrier"];
    for part in parts {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
}

#[test]
fn a_workers_own_section_has_its_name_also_in_the_environment() {
    #[derive(serde::Deserialize)]
    struct Own {
        url: String,
    }
    let variable = ("QUADRILLE_CHARGE_CUSTOMER__URL".to_owned(), "http://x".to_owned());
    let sources = Sources::read(&FLOW, "charge-customer", None, [variable].into_iter(), &[]);
    let sources = sources.expect("sound");
    let own: Own = sources.section("charge-customer").expect("sound");
    assert_eq!(own.url, "http://x");
}

#[test]
fn a_flow_may_have_names_of_its_own_and_no_other_flow_may() {
    let names = |flags: &[&str]| {
        let flags: Vec<_> = flags.iter().map(ToString::to_string).collect();
        let sources = Sources::read(&FLOW, "ship-order", None, std::iter::empty(), &flags)?;
        sources.names(&sources.settings()?, &FLOW)
    };
    let own = names(&["flow.order.stream=SHOP", "flow.order.prefix=shop"]).expect("sound");
    assert_eq!((&*own.stream("ORDERS"), &*own.subject("orders.x")), ("SHOP", "shop.orders.x"));
    assert_eq!(names(&[]).expect("sound").stream("ORDERS"), "ORDERS");
    for (flag, part) in [
        ("flow.oder.stream=SHOP", "this one is flow.order"),
        ("flow.order.stream=a b", "flow.order.stream (--set flow.order.stream): a stream's name"),
        ("flow.order.prefix=shop.", "flow.order.prefix (--set flow.order.prefix): a prefix is"),
        ("flow.order.name=SHOP", "unknown field `name`"),
    ] {
        let error = names(&[flag]).map(drop).expect_err(flag).to_string();
        assert!(error.contains(part), "{error}");
    }
}
