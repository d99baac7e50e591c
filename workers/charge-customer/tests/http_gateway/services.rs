//! The sandbox's services in this process, and questions to what they did.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Ends with the test.
pub(crate) struct Sandbox {
    address: SocketAddr,
    _service: JoinSet<()>,
    _ledger: TempDir,
}

impl Sandbox {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let options = sandbox::Options { ledger: folder.path().join("ledger.jsonl"), seed: 1 };
        let mut service = JoinSet::new();
        service.spawn(async move {
            let never = std::future::pending();
            sandbox::serve(listener, options, never).await.unwrap();
        });
        Self { address, _service: service, _ledger: folder }
    }

    /// The base URL of `payment`, `carrier` or `quote`.
    pub(crate) fn url(&self, service: &str) -> String {
        format!("http://{}/{service}", self.address)
    }

    pub(crate) async fn set_faults(&self, service: &str, faults: &Value) {
        self.ask("PUT", &format!("/faults/{service}"), &faults.to_string()).await;
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ask("GET", path, "").await
    }

    /// How often an effect happened: `captured`.
    pub(crate) async fn count(&self, effect: &str) -> usize {
        self.get(&format!("/ledger?effect={effect}")).await.as_array().unwrap().len()
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: sandbox\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {reply}");
        serde_json::from_str(body).unwrap()
    }
}

/// A service that gives the answers it is told to, and remembers what it was asked.
pub(crate) struct Canned {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    _service: JoinSet<()>,
}

impl Canned {
    /// `answer` gets the whole request, and gives the status and the body.
    pub(crate) async fn start(
        answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let (mut service, seen) = (JoinSet::new(), requests.clone());
        service.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = request(&mut stream).await;
                let (status, body) = answer(&request);
                seen.lock().unwrap().push(request);
                let length = body.len();
                let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
                let reply = format!("{head}content-length: {length}\r\n\r\n{body}");
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        });
        Self { address, requests, _service: service }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Head and body.
async fn request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text.into_owned();
            }
        }
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return text_of(&request);
        }
    }
}

fn text_of(request: &[u8]) -> String {
    String::from_utf8_lossy(request).into_owned()
}
