//! A running command worker, and both ways to it.

use std::net::SocketAddr;

use async_nats::HeaderMap;
use bytes::Bytes;
use schemas::order_fulfilment::events::{OrderPlaced, SAMPLE};
use serde_json::{Value, json};
use tests::eventually::within_patience;
use tests::stack::{Fate, Launch, Stack, order};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Where a command worker of this test takes orders, and what it says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) address: SocketAddr,
    nats: async_nats::Client,
    document: Value,
}

/// What came back, whichever way.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// 0 if the connection was closed without any.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The pointers of all mistakes.
    pub(crate) fn pointers(&self) -> Vec<String> {
        let body = self.json();
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }
}

/// Starts a command worker and waits until it takes orders.
pub(crate) async fn open(stack: &mut Stack, launch: Launch) -> Desk {
    let file = stack.launcher().folder().join(format!("command-{}.http", stack.workers.len()));
    let launch = launch
        .env("QUADRILLE_COMMAND__LISTEN", "127.0.0.1:0")
        .env("QUADRILLE_COMMAND__ADDRESS_FILE", file.display());
    stack.start(launch).await;
    let address = std::fs::read_to_string(file).unwrap().parse().unwrap();
    let desk = Desk { address, nats: stack.client(), document: Value::Null };
    let document = desk.send(&request("GET", "/openapi.json", &[], b"")).await.json();
    Desk { document, ..desk }
}

pub(crate) async fn open_one(stack: &mut Stack) -> Desk {
    open(stack, Launch::of("command")).await
}

/// A request with its length, after which the connection is closed.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    let mut bytes = (text + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) const JSON: (&str, &str) = ("Content-Type", "application/json");

impl Desk {
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes, and reads until the connection is closed.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Answer {
        let (mut from, mut to) = self.connect().await.into_split();
        // A server that refuses a body may close while it is being sent.
        let sending = async { drop(to.write_all(bytes).await) };
        let reading = async { read(&mut from).await };
        let ((), answer) =
            within_patience("an answer", async { tokio::join!(sending, reading) }).await;
        answer
    }

    /// Sends a request and checks that its answer is one of the document's.
    pub(crate) async fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let answer = self.send(&request(method, path, headers, body)).await;
        self.assert_documented(method, path, &answer);
        answer
    }

    pub(crate) async fn post(&self, body: impl AsRef<[u8]>) -> Answer {
        self.http("POST", "/orders", &[JSON], body.as_ref()).await
    }

    /// `nats req` with headers; the status is that of the micro service's error, or 200.
    pub(crate) async fn ask(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, *value);
        }
        let request = async_nats::Request::new().payload(body.into()).headers(map).timeout(None);
        let asked = self.nats.send_request(subject.to_owned(), request);
        let message = within_patience("an answer", asked).await.unwrap();
        let headers = message.headers.clone().unwrap_or_default();
        let pairs = headers.iter().flat_map(|(name, values)| {
            values.iter().map(move |value| (name.to_string(), value.to_string()))
        });
        let headers: Vec<_> = pairs.collect();
        let answer = Answer { status: 200, headers, body: message.payload.to_vec() };
        let status = answer.header("Nats-Service-Error-Code").map(|code| code.parse().unwrap());
        Answer { status: status.unwrap_or(200), ..answer }
    }

    fn assert_documented(&self, method: &str, path: &str, answer: &Answer) {
        let cancel = path.starts_with("/orders/") && path.ends_with("/cancel");
        let path = if cancel { "/orders/{id}/cancel" } else { path };
        let operation = &self.document["paths"][path][method.to_lowercase()];
        if operation.is_null() {
            assert!([404, 405, 204].contains(&answer.status), "{method} {path}: {answer:?}");
            return;
        }
        let response = &operation["responses"][answer.status.to_string()];
        assert!(!response.is_null(), "{method} {path}: no such answer is documented: {answer:?}");
        let kind = answer.header("content-type").unwrap_or_default();
        let schema = &response["content"][kind]["schema"];
        assert!(!schema.is_null(), "{method} {path}: another content type: {answer:?}");
        let name = schema["$ref"].as_str().unwrap_or_default().rsplit('/').next().unwrap();
        let schema = &self.document["components"]["schemas"][name];
        let body = answer.json();
        for field in schema["required"].as_array().unwrap() {
            assert!(!body[field.as_str().unwrap()].is_null(), "{field}: {answer:?}");
        }
        for (field, _) in body.as_object().unwrap() {
            assert!(!schema["properties"][field].is_null(), "{field}: {answer:?}");
        }
        if !response["headers"]["Retry-After"].is_null() {
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
        }
    }
}

async fn read(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> Answer {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes).await;
    let nothing = Answer { status: 0, headers: Vec::new(), body: Vec::new() };
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return nothing };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let pairs = lines.filter_map(|line| line.split_once(": "));
    let headers = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Answer { status: status.unwrap_or(0), headers, body: bytes[end + 4..].to_vec() }
}

/// Reads one answer of a connection on which more may follow.
pub(crate) async fn read_one(stream: &mut TcpStream) -> Answer {
    within_patience("an answer", read(stream)).await
}

/// An order that completes, under this id if there is one.
pub(crate) fn good(id: Option<&str>) -> Value {
    let order: OrderPlaced = order(Fate::Completes, 0);
    let mut order = serde_json::to_value(order).unwrap();
    if let Some(id) = id {
        order["order_id"] = json!(id);
    }
    order
}

/// The sample order with other values at some places.
pub(crate) fn with(changes: &[(&str, Value)]) -> String {
    let mut order: Value = serde_json::from_str(SAMPLE).unwrap();
    order["order_id"] = json!("odd");
    for (pointer, value) in changes {
        *order.pointer_mut(pointer).unwrap() = value.clone();
    }
    order.to_string()
}
