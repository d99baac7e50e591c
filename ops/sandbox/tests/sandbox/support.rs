//! A sandbox in this process, on a real socket, and a client that speaks to it as workers do.

use std::path::PathBuf;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What an order of the tests costs, in minor units.
pub(crate) const AMOUNT: u64 = 4_200;

pub(crate) struct Sandbox {
    pub(crate) client: TestClient,
    pub(crate) address: String,
    pub(crate) ledger: PathBuf,
    directory: TempDir,
    stop: oneshot::Sender<()>,
    server: JoinSet<anyhow::Result<()>>,
}

#[derive(Clone)]
pub(crate) struct TestClient {
    base: String,
    http: Client<HttpConnector, Full<Bytes>>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Sandbox {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a temporary directory")).await
    }

    pub(crate) async fn start_in(directory: TempDir) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has one").to_string();
        let ledger = directory.path().join("ledger.jsonl");
        let options = sandbox::Options { ledger: ledger.clone(), seed: 7 };
        let (stop, stopped) = oneshot::channel();
        let mut server = JoinSet::new();
        server.spawn(sandbox::serve(listener, options, async move {
            let _ = stopped.await;
        }));
        let client = TestClient::new(&format!("http://{address}"));
        // Answered once the ledger is open, so that a test may look at the files from here on.
        assert_eq!(client.get("/healthz").await.status, 200);
        Self { client, address, ledger, directory, stop, server }
    }

    pub(crate) async fn stop(mut self) -> TempDir {
        let _ = self.stop.send(());
        let ended = self.server.join_next().await.expect("one server");
        ended.expect("the server does not panic").expect("the server stops well");
        self.directory
    }

    pub(crate) async fn restart(self) -> Self {
        Self::start_in(self.stop().await).await
    }

    /// The lines of the ledger file, which must agree with `GET /ledger`.
    pub(crate) async fn ledger_lines(&self) -> Vec<Value> {
        let file = std::fs::read_to_string(&self.ledger).expect("the ledger exists");
        let lines: Vec<Value> =
            file.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect();
        assert_eq!(self.client.get("/ledger").await.body, Value::Array(lines.clone()));
        lines
    }

    /// How often each named effect happened.
    pub(crate) async fn effects(&self, effect: &str) -> usize {
        self.ledger_lines().await.iter().filter(|line| line["effect"] == effect).count()
    }
}

impl TestClient {
    pub(crate) fn new(base: &str) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { base: base.to_owned(), http }
    }

    /// An error is a connection that closed without a reply.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Reply, hyper_util::client::legacy::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        let reply = self.http.request(request.expect("a well-formed request")).await?;
        let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
        let bytes = reply.into_body().collect().await.expect("a whole body").to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Reply { status, headers, body })
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], "").await.expect("a reply")
    }

    pub(crate) async fn set_faults(&self, service: &str, settings: &str) {
        let reply = self.send(Method::PUT, &format!("/faults/{service}"), &[], settings).await;
        let reply = reply.expect("a reply");
        assert_eq!(reply.status, 200, "{settings}: {:?}", reply.body);
    }

    pub(crate) async fn clear_faults(&self) {
        self.send(Method::DELETE, "/faults", &[], "").await.expect("a reply");
    }

    pub(crate) async fn try_form(
        &self,
        path: &str,
        key: &str,
        form: &str,
    ) -> Result<Reply, hyper_util::client::legacy::Error> {
        let form_type = ("content-type", "application/x-www-form-urlencoded");
        let path = format!("/payment/v1/{path}");
        self.send(Method::POST, &path, &[form_type, ("idempotency-key", key)], form).await
    }

    pub(crate) async fn form(&self, path: &str, key: &str, form: &str) -> Reply {
        self.try_form(path, key, form).await.expect("a reply")
    }

    /// Creates an intent for this order and returns its id.
    pub(crate) async fn create(&self, order: &str, payment_method: &str) -> String {
        let form = create_form(order, payment_method);
        let reply = self.form("payment_intents", &format!("create-{order}"), &form).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        reply.body["id"].as_str().expect("an id").to_owned()
    }

    pub(crate) async fn confirm(&self, intent: &str, key: &str) -> Reply {
        self.form(&format!("payment_intents/{intent}/confirm"), key, "").await
    }

    pub(crate) async fn cancel(&self, intent: &str, key: &str) -> Reply {
        self.form(&format!("payment_intents/{intent}/cancel"), key, "").await
    }

    pub(crate) async fn refund(&self, intent: &str, amount: Option<u64>, key: &str) -> Reply {
        let mut form = format!("payment_intent={intent}");
        if let Some(amount) = amount {
            form.push_str(&format!("&amount={amount}"));
        }
        self.form("refunds", key, &form).await
    }

    pub(crate) async fn buy_label(&self, key: &str, body: &str) -> Reply {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        self.send(Method::POST, "/carrier/labels", &headers, body).await.expect("a reply")
    }

    pub(crate) async fn calls(&self, operation: &str) -> u64 {
        self.get("/calls").await.body[operation].as_u64().expect("a count")
    }

    pub(crate) async fn balance(&self, order: &str) -> u64 {
        self.get(&format!("/balance?order={order}")).await.body["balance"].as_u64().expect("a sum")
    }
}

impl Reply {
    pub(crate) fn error_code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn was_replayed(&self) -> bool {
        self.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
    }
}

pub(crate) fn create_form(order: &str, payment_method: &str) -> String {
    format!(
        "amount={AMOUNT}&currency=eur&customer=cus_1&payment_method={payment_method}\
         &metadata%5Border%5D={order}"
    )
}

pub(crate) fn label_body(order: &str, country: &str, postcode: &str) -> String {
    let ship_to = format!(r#"{{"country":"{country}","postcode":"{postcode}"}}"#);
    format!(r#"{{"reference":"{order}","ship_to":{ship_to},"items":2}}"#)
}
