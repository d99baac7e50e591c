//! The demo on any broker: its four kinds of orders, both services beside the workers, and at the
//! end an audit of log, stock and ledger.

use std::time::Duration;

use quadrille::http::{Body, Client};
use schemas::order_fulfilment::events::SAMPLE;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tokio::time::Instant;

use crate::shop::{Shop, launch, set_faults};

impl Shop {
    /// Plays it; the stock and the ledger hold nothing else.
    pub(crate) async fn demo(&self) {
        for (id, more, state) in [
            ("completes", "", "completed"),
            ("declined", "--payment-method pm_card_chargeDeclined", "cancelled"),
            ("undeliverable", "--postcode 00000", "cancelled"),
        ] {
            let placed = self.quadrille(&format!("place --id {id} {more} --json")).await;
            assert_eq!(placed.json()["placed"], "now", "{}", placed.stderr);
            self.ends_as(id, state).await;
        }
        self.outage().await;
        self.services().await;
        let ledger = self.folder.file("ledger.jsonl").display().to_string();
        let audit = self.quadrille(&format!("audit --at-rest --json --ledger {ledger}")).await;
        assert_eq!(
            (audit.code, &audit.json()["sound"]),
            (Some(0), &json!(true)),
            "{}",
            audit.stdout
        );
    }

    /// The gateway is away: the fleet pauses its durable on the server, and then goes on.
    async fn outage(&self) {
        let faults = async |faults: Value| set_faults(&self.sandbox, &faults).await;
        faults(json!({ "error_rate": 1 })).await;
        let placed = self.quadrille("place --count 5 --prefix outage --json").await;
        assert_eq!(placed.code, Some(0), "{}", placed.stderr);
        eventually("the fleet has paused charge-customer", async || {
            let why = self.quadrille("why outage-1 --json").await.json();
            (why["code"] == "breaker-paused").then_some(())
        })
        .await;
        faults(json!({})).await;
        for number in 1..=5 {
            self.ends_as(&format!("outage-{number}"), "completed").await;
        }
    }

    /// One takes an order over HTTP, the other one shows it.
    async fn services(&self) {
        let address = self.folder.file("command.http");
        let mut variables = self.variables.clone();
        variables.extend([
            ("QUADRILLE_COMMAND__LISTEN", "127.0.0.1:0".to_owned()),
            ("QUADRILLE_COMMAND__ADDRESS_FILE", address.display().to_string()),
            ("QUADRILLE_QUERY__LISTEN", "127.0.0.1:0".to_owned()),
            ("QUADRILLE_QUERY__FOLDER", self.folder.file("query").display().to_string()),
        ]);
        let names = ["command", "query"];
        let mut services = names.map(|name| launch(name, &variables, self.folder.path()));
        for service in &mut services {
            service.ready().await.unwrap_or_else(|error| panic!("{error:#}"));
        }
        let url = format!("http://{}", std::fs::read_to_string(address).unwrap());
        let command = Client::new(&url, None, Duration::from_secs(5)).unwrap();
        let body = Body::Json(serde_json::from_str(SAMPLE).unwrap());
        let deadline = Instant::now() + Duration::from_secs(5);
        let answer = command.post("/orders", &body, "demo", deadline).await.unwrap();
        let answer: Value = answer.json().unwrap();
        let (id, token) = (answer["id"].as_str().unwrap(), answer["token"].as_str().unwrap());
        self.ends_as(id, "completed").await;
        let listed = self.quadrille(&format!("orders ls --min-seq {token} --json")).await;
        assert!(listed.stdout.contains(id), "{}{}", listed.stdout, listed.stderr);
    }
}
