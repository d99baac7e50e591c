//! The example logins of `ops/nats/permissions.conf`: with what each may do, and no more, every
//! process does its work, and nobody does another's.

use std::path::Path;

use harness::binaries::{Build, program};
use harness::folder::Folder;
use harness::process::Process;
use harness::sandbox::Sandbox;
use schemas::order_fulfilment::FLOW;
use serde_json::json;
use tests::eventually::eventually;
use tests::raw::Raw;
use tests::server::Server;

use crate::shop::{Said, Variables, launch, quadrille, server, set_faults};

const USERS: [&str; 10] = [
    "reserve-inventory",
    "charge-customer",
    "ship-order",
    "complete-order",
    "command",
    "query",
    "shop",
    "reader",
    "operator",
    "provision",
];

struct Guarded {
    server: Server,
    folder: Folder,
    sandbox: Sandbox,
    workers: Vec<Process>,
}

impl Guarded {
    /// Everything, each with its own login, on a server with this line in its configuration, too.
    async fn open(line: &str) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops/nats/permissions.conf");
        let passwords = USERS.map(|user| {
            let variable = user.to_uppercase().replace('-', "_");
            format!("{variable}_PASSWORD: {user}-secret\n")
        });
        let logins = std::fs::read_to_string(file).unwrap();
        let server = server(&format!("{line}\n{}{logins}", passwords.concat())).await;
        let folder = Folder::new("quadrille-");
        let sandbox = Sandbox::start(&program(Build::Shipped, "sandbox"), &folder).await;
        let sandbox = sandbox.unwrap_or_else(|error| panic!("{error:#}"));
        let mut shop = Self { server, folder, sandbox, workers: Vec::new() };
        let plan = shop.as_user("reader", "topology plan").await;
        assert_eq!(plan.code, Some(2), "{}", plan.stderr);
        let made = shop.as_user("provision", "topology apply --write").await;
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        let (url, query) = (&shop.sandbox.url, shop.folder.file("query").display().to_string());
        let settings = [
            (
                "QUADRILLE_RESERVE_INVENTORY__OPENING_STOCK",
                "ROSE-RED=1000,VASE-GLASS=99".to_owned(),
            ),
            ("QUADRILLE_CHARGE_CUSTOMER__URL", format!("{url}/payment")),
            ("QUADRILLE_SHIP_ORDER__URL", format!("{url}/carrier")),
            ("QUADRILLE_SHIP_ORDER__QUOTE_URL", format!("{url}/quote")),
            ("QUADRILLE_COMMAND__LISTEN", "127.0.0.1:0".to_owned()),
            ("QUADRILLE_QUERY__LISTEN", "127.0.0.1:0".to_owned()),
            ("QUADRILLE_QUERY__FOLDER", query),
        ];
        for name in FLOW.steps.iter().map(|row| row.worker).chain(["command", "query"]) {
            let mut variables = shop.login(name);
            variables.extend(settings.clone());
            shop.workers.push(launch(name, &variables, shop.folder.path()));
        }
        for worker in &mut shop.workers {
            worker.ready().await.unwrap_or_else(|error| panic!("{error:#}"));
        }
        shop
    }

    fn url(&self, user: &str) -> String {
        self.server.url().replace("://", &format!("://{user}:{user}-secret@"))
    }

    fn login(&self, user: &str) -> Variables {
        vec![("QUADRILLE_NATS__URL", self.url(user))]
    }

    async fn raw(&self, user: &str) -> Raw {
        Raw::log_in(&self.server.url(), user, &format!("{user}-secret")).await
    }

    async fn as_user(&self, user: &str, line: &str) -> Said {
        quadrille(&self.login(user), line).await
    }

    async fn ends(&self, id: &str, state: &str) {
        eventually(&format!("{id} is {state}"), async || {
            let story = self.as_user("reader", &format!("trace {id} --json")).await.json();
            (story["state"] == state).then_some(())
        })
        .await;
    }

    /// Places an order as a shop does, through the command worker.
    async fn order(&self, raw: &Raw, id: &str, card: &str) {
        let mut order = schemas::order_fulfilment::events::full_sample();
        order["order_id"] = json!(id);
        order["payment_method"] = json!(card);
        let asked = raw.client.request("orders.place", order.to_string().into()).await.unwrap();
        let said = String::from_utf8_lossy(&asked.payload);
        assert!(said.contains("\"token\""), "{said}");
    }

    /// An order that completes, one that is undone, one that is set aside and tried again, and one
    /// that is set aside and given up.
    async fn works(&self, raw: &Raw) {
        self.order(raw, "fine", "pm_card_visa").await;
        self.ends("fine", "completed").await;
        self.order(raw, "declined", "pm_card_chargeDeclined").await;
        self.ends("declined", "cancelled").await;
        set_faults(&self.sandbox, &json!({ "error_rate": 1, "error_status": 400 })).await;
        self.order(raw, "mended", "pm_card_visa").await;
        self.is_set_aside("mended").await;
        set_faults(&self.sandbox, &json!({})).await;
        self.operates("parked retry mended --reason mended --write").await;
        self.ends("mended", "completed").await;
        let operator = self.raw("operator").await;
        operator.publish("orders.placed.junk", &[], "{}").await.unwrap();
        self.is_set_aside("junk").await;
        self.operates("parked discard junk --reason unreadable --write").await;
        self.ends("junk", "cancelled").await;
    }

    async fn is_set_aside(&self, id: &str) {
        eventually(&format!("{id} is set aside"), async || {
            let listed = self.as_user("reader", "parked ls --json").await.json();
            (listed[0]["sagas"][0] == id).then_some(())
        })
        .await;
    }

    async fn operates(&self, line: &str) {
        let said = self.as_user("operator", line).await;
        assert_eq!(said.code, Some(0), "{line}: {}", said.stderr);
    }

    /// What the server has refused so far.
    fn refused(&self) -> Vec<String> {
        let said = self.server.process.said();
        said.lines().filter(|line| line.contains("Violation")).map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_does_its_work_with_the_least_permissions_and_nobody_does_anothers() {
    let shop = Guarded::open("").await;
    let raw = shop.raw("shop").await;
    shop.works(&raw).await;

    // An outage: the workers pause each other through bucket and server, and begin again.
    set_faults(&shop.sandbox, &json!({ "error_rate": 1 })).await;
    for at in 0..9 {
        shop.order(&raw, &format!("away-{at}"), "pm_card_visa").await;
    }
    eventually("the workers pause", async || {
        let shown = shop.as_user("reader", "breaker show payment-gateway --json").await.json();
        (shown[0]["durables"][0]["paused_until"].is_string()).then_some(())
    })
    .await;
    let why = shop.as_user("reader", "why away-0").await;
    assert!(why.stdout.contains("payment-gateway is not working"), "{}{}", why.stdout, why.stderr);
    // A wish to cancel.
    shop.operates("cancel away-8").await;
    set_faults(&shop.sandbox, &json!({})).await;
    for at in 0..8 {
        shop.ends(&format!("away-{at}"), "completed").await;
    }

    // What people ask for.
    for line in ["orders ls", "orders find fine", "open", "trace fine", "stock show", "parked ls"] {
        let said = shop.as_user("reader", line).await;
        assert_eq!(said.code, Some(0), "{line}: {}", said.stderr);
    }
    shop.operates("stock receive ROSE-RED=5").await;
    assert_eq!(shop.refused(), Vec::<String>::new(), "every permission is there");

    // What is not theirs.
    for (user, subject) in
        [("reader", "orders.placed.read"), ("ship-order", "orders.payment.stolen")]
    {
        let thief = shop.raw(user).await;
        thief.client.publish(subject, "{}".into()).await.unwrap();
        thief.client.flush().await.unwrap();
    }
    eventually("both are refused", async || {
        let refused = shop.refused().concat();
        (refused.contains("orders.placed.read") && refused.contains("orders.payment.stolen"))
            .then_some(())
    })
    .await;
}

/// Without its permission each message would come again, for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_acknowledgements_of_newer_servers_every_process_does_its_work_too() {
    let shop = Guarded::open("feature_flags { js_ack_fc_v2: true }").await;
    let raw = shop.raw("shop").await;
    shop.works(&raw).await;
    assert_eq!(shop.refused(), Vec::<String>::new(), "every permission is there");
}
