//! The contexts and variables of the `nats` command.

use harness::folder::Folder;
use quadrille::broker::Broker as _;
use serde_json::json;

use crate::fixture;
use crate::shop::{Variables, quadrille, server};

/// Saves contexts as `nats context` does.
struct Saved(Folder);

impl Saved {
    fn new() -> Self {
        let folder = Folder::new("quadrille-");
        std::fs::create_dir_all(folder.file("nats/context")).unwrap();
        Self(folder)
    }

    fn save(&self, name: &str, context: &serde_json::Value) {
        let file = self.0.file(&format!("nats/context/{name}.json"));
        std::fs::write(file, context.to_string()).unwrap();
    }

    fn select(&self, name: &str) {
        std::fs::write(self.0.file("nats/context.txt"), format!("{name}\n")).unwrap();
    }

    fn variables(&self, more: &[(&'static str, &str)]) -> Variables {
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        more.chain([("XDG_CONFIG_HOME", self.0.path().display().to_string())]).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_credentials_and_the_selected_context_are_used() {
    use base64::Engine as _;
    let operator = std::fs::read_to_string(fixture("operator.conf")).unwrap();
    let server = server(&operator).await;
    let creds = std::fs::read(fixture("user.creds")).unwrap();
    let embedded = base64::engine::general_purpose::STANDARD.encode(&creds);
    let saved = Saved::new();
    let url = server.url();
    saved.save("embedded", &json!({ "url": url, "creds": format!("data:;base64,{embedded}") }));
    saved.save("variable", &json!({ "url": url, "creds": "env://THE_CREDS" }));
    saved.save("foreign", &json!({ "url": url, "creds": "op://vault/s3cr3t" }));
    let creds = String::from_utf8(creds).unwrap();
    saved.select("embedded");
    for (variables, flags, origin) in [
        (saved.variables(&[]), "", "from the selected context embedded"),
        (saved.variables(&[("THE_CREDS", &creds)]), "--context variable", ""),
        (
            saved.variables(&[("NATS_CONTEXT", "variable"), ("THE_CREDS", &creds)]),
            "",
            "from the context variable, which NATS_CONTEXT names",
        ),
        (
            saved.variables(&[
                ("NATS_URL", &url),
                ("NATS_CREDS", &fixture("user.creds").display().to_string()),
            ]),
            "",
            "from NATS_URL, with the login of NATS_CREDS",
        ),
    ] {
        let said = quadrille(&variables, &format!("topology plan {flags}")).await;
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        assert!(said.stdout.contains("stream ORDERS: create it"), "{}", said.stdout);
        assert!(said.stderr.contains(origin), "{origin}: {}", said.stderr);
        assert!(!said.stderr.contains(&embedded[..20]), "{}", said.stderr);
    }
    let foreign = quadrille(&saved.variables(&[]), "topology plan --context foreign").await;
    assert_eq!(foreign.code, Some(1));
    assert!(foreign.stderr.contains("its creds is in op://, which is not"), "{}", foreign.stderr);
    assert!(!foreign.stderr.contains("s3cr3t"), "{}", foreign.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_settings_come_before_those_of_the_stock_client() {
    let users = "authorization { users: [{ user: me, password: x }, { user: you, password: y }] }";
    let (ours, other) = (server(users).await, server("").await);
    let saved = Saved::new();
    let none = other.url();
    saved.save("other", &json!({ "url": none }));
    saved.select("other");
    let stock = [("NATS_URL", none.as_str()), ("NATS_USER", "me"), ("NATS_PASSWORD", "x")];
    let mut variables = saved.variables(&stock);
    variables.push(("QUADRILLE_NATS__URL", ours.url()));
    let applied = quadrille(&variables, "topology apply --write").await;
    assert_eq!(applied.code, Some(0), "{}", applied.stderr);
    let options = quadrille::nats::NatsOptions { urls: vec![none], ..Default::default() };
    let other = quadrille::nats::connect(&options).await.unwrap();
    assert!(other.state("ORDERS").await.unwrap().is_none(), "nothing was made at the other one");
}
