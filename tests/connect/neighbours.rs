//! A broker on which another team has streams of our names: nothing of theirs is touched, and under
//! names of its own the flow runs beside them.

use harness::binaries::{Build, program};
use serde_json::{Value, json};
use tests::raw::Raw;
use tests::server::Server;

use crate::shop::{Shop, quadrille, server};

/// `nats stream add ORDERS --subjects 'ORDERS.*' --defaults`, and a stream of prices.
async fn neighbours(raw: &Raw) {
    for stream in [
        json!({ "name": "ORDERS", "subjects": ["ORDERS.*"], "storage": "file",
            "max_age": 3_600_000_000_000_u64,
            "description": "what the web shop sends", "metadata": { "team": "web" } }),
        json!({ "name": "STOCK", "subjects": ["STOCK.prices.*"], "storage": "file",
            "max_msgs_per_subject": 1 }),
    ] {
        let name = stream["name"].as_str().unwrap();
        raw.api(&format!("STREAM.CREATE.{name}"), stream.clone()).await.unwrap();
    }
    raw.publish("STOCK.prices.rose", &[], "250").await.unwrap();
}

async fn settings(raw: &Raw) -> Vec<Value> {
    let names = raw.api("STREAM.NAMES", Value::Null).await.unwrap()["streams"].clone();
    let mut all = Vec::new();
    for name in names.as_array().into_iter().flatten() {
        let info = raw.stream(name.as_str().unwrap()).await;
        all.push(json!([name, info["config"], info["state"]["messages"]]));
    }
    all
}

async fn with_neighbours() -> (Server, Raw) {
    let server = server("").await;
    let raw = Raw::connect(&[server.url()]).await;
    neighbours(&raw).await;
    (server, raw)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_others_is_never_touched_and_its_owner_is_named() {
    let (server, raw) = with_neighbours().await;
    let variables = vec![("QUADRILLE_NATS__URL", server.url())];
    let refused = async |named: &[&str]| {
        let before = settings(&raw).await;
        for line in ["topology plan", "topology apply --write"] {
            let said = quadrille(&variables, line).await;
            assert_eq!(said.code, Some(1), "{line}: {}{}", said.stdout, said.stderr);
            for part in named {
                assert!(said.stdout.contains(part), "{part}: {}", said.stdout);
            }
        }
        assert_eq!(settings(&raw).await, before, "something was changed");
    };
    refused(&[
        "! stream ORDERS: it is somebody else's (subjects ORDERS.*, description \"what the web \
         shop sends\", labels team=web, 0 messages): its subjects are not orders.*.*",
        "! stream STOCK: it is somebody else's (subjects STOCK.prices.*, 1 messages)",
        "QUADRILLE_FLOW__ORDER__STREAM=NAME and QUADRILLE_FLOW__ORDER__PREFIX=prefix",
    ])
    .await;
    raw.publish("ORDERS.received", &[], "{}").await.unwrap();
    refused(&["labels team=web, 1 messages"]).await;
    // With our very subjects, but holding what nobody can tell to be ours.
    for (name, verb) in [("ORDERS", "DELETE"), ("STOCK", "DELETE")] {
        raw.api(&format!("STREAM.{verb}.{name}"), Value::Null).await.unwrap();
    }
    let plain = json!({ "name": "ORDERS", "subjects": ["orders.*.*"], "storage": "file" });
    raw.api("STREAM.CREATE.ORDERS", plain).await.unwrap();
    raw.publish("orders.received.A1", &[], "{}").await.unwrap();
    refused(&["it holds messages, and nothing shows that this flow made it"]).await;
    // A stream of another name that has our subjects.
    raw.api("STREAM.DELETE.ORDERS", Value::Null).await.unwrap();
    let wide = json!({ "name": "PRICES", "subjects": ["stock.>"], "storage": "file" });
    raw.api("STREAM.CREATE.PRICES", wide).await.unwrap();
    refused(&["! stream STOCK: the stream PRICES has stock.sku.* already"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_names_of_its_own_the_flow_runs_beside_them() {
    let (server, raw) = with_neighbours().await;
    let before = settings(&raw).await;
    let variables = vec![
        ("QUADRILLE_NATS__URL", server.url()),
        ("QUADRILLE_FLOW__ORDER__STREAM", "SHOP".to_owned()),
        ("QUADRILLE_FLOW__ORDER__PREFIX", "eu.shop".to_owned()),
    ];
    let shop = Shop::open(server, variables).await;
    let placed = shop.quadrille("place --id A1 --json --wait").await;
    assert_eq!(
        (placed.code, &placed.json()["placed"]),
        (Some(0), &json!("now")),
        "{}",
        placed.stderr
    );
    assert_eq!(placed.json()["subject"], "eu.shop.orders.placed.A1");
    assert!(placed.stderr.contains("A1 completed after"), "{}", placed.stderr);
    shop.completes("A2").await;
    // Also for a stock client.
    raw.publish(
        "eu.shop.orders.placed.A3",
        &[],
        include_str!("../../schemas/samples/order_fulfilment/placed.v1.json"),
    )
    .await
    .unwrap();
    shop.ends("A3").await;
    let shown = shop.quadrille("stock show --json").await.json();
    assert_eq!(shown[0]["sku"], "ROSE-RED", "{shown}");
    // Also what completed orders held has left the shelf.
    assert_eq!((&shown[0]["held"], shown[0]["state"].is_string()), (&json!(0), true), "{shown}");
    let breakers = shop.quadrille("breaker show --json").await;
    assert!(breakers.stdout.contains("payment-gateway"), "{}", breakers.stderr);
    let after = settings(&raw).await;
    let names: Vec<_> = after.iter().map(|stream| stream[0].as_str().unwrap()).collect();
    let own = [
        "KV_SHOP_attempts",
        "KV_SHOP_breakers",
        "ORDERS",
        "SHOP",
        "SHOP_PARKED",
        "SHOP_STOCK",
        "STOCK",
    ];
    assert_eq!(names, own);
    let theirs = |all: &[Value]| -> Vec<Value> {
        all.iter().filter(|stream| stream[0] == "ORDERS" || stream[0] == "STOCK").cloned().collect()
    };
    assert_eq!(theirs(&after), theirs(&before), "a neighbour's stream was changed");
    for stream in after.iter().filter(|stream| stream[0].as_str().unwrap().contains("SHOP")) {
        let (config, name) = (&stream[1], &stream[0]);
        let subject = config["subjects"][0].as_str().unwrap();
        assert!(subject.starts_with("eu.shop.") || subject.starts_with("$KV.SHOP_"), "{subject}");
        assert_eq!(config["duplicate_window"], 100_000_000, "{name}");
        assert!(config["description"].as_str().unwrap().starts_with("Quadrille: "), "{name}");
        assert_eq!(config["metadata"]["quadrille.saga"], "order", "{name}");
    }
    let durable = raw.durable("SHOP", "charge-customer").await["config"].clone();
    assert_eq!(durable["description"], "Quadrille: charge-customer runs its step");
}

/// The demo has a broker of its own, in a folder in which the neighbours were before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_demo_runs_beside_them() {
    let (mut server, raw) = with_neighbours().await;
    let data = harness::folder::Folder::new("quadrille-");
    drop(raw);
    server.process.shut_down().await;
    std::fs::rename(server.store(), data.file("nats")).unwrap();
    let output = tokio::process::Command::new(program(Build::Shipped, "quadrille"))
        .env_clear()
        .env("QUADRILLE_NATS_SERVER", harness::binaries::nats_server().unwrap())
        // One name in the way that the workers know, too, and one that only this command is told.
        .env("QUADRILLE_FLOW__ORDER__PREFIX", "shop")
        .args(["dev", "--demo-only", "--flow-stream", "SHOP", "--data"])
        .arg(data.path())
        .output()
        .await
        .expect("it runs");
    let said = String::from_utf8(output.stderr).expect("it prints text");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("All four ended as documented"), "{said}");
    let streams = data.file("nats/jetstream/$G/streams");
    for name in ["ORDERS", "STOCK", "SHOP", "SHOP_STOCK"] {
        assert!(streams.join(name).is_dir(), "{name}");
    }
}
