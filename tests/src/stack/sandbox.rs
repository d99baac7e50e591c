//! Questions to the payment, carrier and quote services, and to their ledger.

use harness::binaries::{Build, program};
use harness::folder::Folder;
use harness::sandbox;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use quadrille::SagaId;
use serde_json::Value;

use crate::invariants::Effect;

/// A running sandbox.
#[derive(Debug)]
pub struct Sandbox {
    running: sandbox::Sandbox,
    http: Client<HttpConnector, Full<Bytes>>,
}

impl Sandbox {
    pub(super) async fn start(folder: &Folder) -> Self {
        let running = sandbox::Sandbox::start(&program(Build::Shipped, "sandbox"), folder).await;
        let running = running.unwrap_or_else(|error| panic!("{error:#}"));
        Self { running, http: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub fn url(&self) -> &str {
        &self.running.url
    }

    /// `payment`, `carrier` or `quote`; the settings are in the sandbox's README.
    pub async fn set_faults(&self, service: &str, settings: &Value) {
        self.ask(Method::PUT, &format!("/faults/{service}"), settings.to_string()).await;
    }

    pub async fn clear_faults(&self) {
        self.ask(Method::DELETE, "/faults", String::new()).await;
    }

    /// Every effect so far, in order.
    pub async fn ledger(&self) -> Vec<Effect> {
        let lines = self.get("/ledger").await;
        serde_json::from_value(lines).expect("the sandbox's ledger")
    }

    /// Captured minus refunded, in minor units.
    pub async fn balance(&self, order: &SagaId) -> u64 {
        self.get(&format!("/balance?order={order}")).await["balance"].as_u64().expect("a sum")
    }

    /// Requests received of one operation, such as `confirm`.
    pub async fn calls(&self, operation: &str) -> u64 {
        self.get("/calls").await[operation].as_u64().expect("a known operation")
    }

    /// Requests received of one operation for one order.
    pub async fn calls_for(&self, order: &SagaId, operation: &str) -> u64 {
        self.get(&format!("/calls?order={order}")).await[operation].as_u64().expect("an operation")
    }

    /// Refunds a payment as the merchant may, without any worker.
    pub async fn refund(&self, payment: &str) {
        let body = format!("payment_intent={payment}");
        self.ask(Method::POST, "/payment/v1/refunds", body).await;
    }

    /// Any of its pages.
    pub async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, String::new()).await
    }

    async fn ask(&self, method: Method, path: &str, body: String) -> Value {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url()));
        let request = request.header("Idempotency-Key", "by-hand");
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let request = request.body(Full::new(body.into())).expect("a well-formed request");
        let reply = self.http.request(request).await.expect("the sandbox answers");
        let status = reply.status();
        let body = reply.into_body().collect().await.expect("a whole body").to_bytes();
        assert!(status.is_success(), "{path}: {status}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("JSON")
    }
}
