//! A running query worker, asked over HTTP, and its file, read as an operator would.

use std::path::PathBuf;

use harness::process::Process;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use quadrille_projection::rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tests::eventually::eventually;
use tests::stack::{Launch, Stack};

/// One query worker with a folder of its own, which outlives its processes.
pub(crate) struct Query {
    pub(crate) process: Process,
    url: String,
    folder: PathBuf,
    http: Client<HttpConnector, Full<Bytes>>,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) json: Value,
}

/// The settings of a query worker with the folder `name`.
pub(crate) fn launch(stack: &Stack, name: &str, launch: Launch) -> Launch {
    let folder = stack.launcher().folder().join(name);
    launch
        .env("QUADRILLE_QUERY__LISTEN", "127.0.0.1:0")
        .env("QUADRILLE_QUERY__FOLDER", folder.display())
        .env("QUADRILLE_QUERY__ADDRESS_FILE", folder.with_extension("http").display())
        .env("QUADRILLE_QUERY__HEARTBEAT", "200ms")
}

impl Query {
    /// Starts one and waits until it serves.
    pub(crate) async fn start(stack: &Stack, name: &str) -> Self {
        Self::start_with(stack, name, &[]).await
    }

    /// As [`Query::start`], with settings of its own: `("OPEN", "true")`.
    pub(crate) async fn start_with(stack: &Stack, name: &str, settings: &[(&str, &str)]) -> Self {
        let mut this = Self::spawn_with(stack, name, settings);
        this.process.ready().await.unwrap_or_else(|error| panic!("{error:#}"));
        this.find().await;
        this
    }

    /// Starts one; it may not serve yet.
    pub(crate) fn spawn(stack: &Stack, name: &str) -> Self {
        Self::spawn_with(stack, name, &[])
    }

    fn spawn_with(stack: &Stack, name: &str, settings: &[(&str, &str)]) -> Self {
        let folder = stack.launcher().folder().join(name);
        let _ = std::fs::remove_file(folder.with_extension("http"));
        let launch = launch(stack, name, Launch::of("query"));
        let set = |launch: Launch, (key, value): &(&str, &str)| {
            launch.env(&format!("QUADRILLE_QUERY__{key}"), value)
        };
        let process = stack.launcher().launch(&settings.iter().fold(launch, set));
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { process, url: String::new(), folder, http }
    }

    /// Waits until its address is known.
    pub(crate) async fn find(&mut self) {
        let file = self.folder.with_extension("http");
        let address = eventually("query listens", async || {
            std::fs::read_to_string(&file).ok().filter(|text| !text.is_empty())
        });
        self.url = format!("http://{}", address.await);
    }

    pub(crate) async fn raw(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.http.request(request).await.expect("it answers")
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        Request::builder().method(method).uri(format!("{}{path}", self.url))
    }

    pub(crate) async fn ask(&self, method: &str, path: &str) -> Answer {
        let request = self.request(method, path).body(Full::default()).unwrap();
        let answer = self.raw(request).await;
        let status = answer.status().as_u16();
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let kind = header("content-type").unwrap_or_default().to_owned();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Answer { status, kind, json }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).await
    }

    /// An answer that must be 200.
    pub(crate) async fn ok(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json
    }

    /// The place that its rows are of: incarnation and sequence; `None` while nothing serves.
    pub(crate) async fn place(&self) -> Option<(String, u64)> {
        place(&self.ok("/projections").await)
    }

    /// The same of a process that may end at any moment.
    pub(crate) async fn try_place(&self) -> Option<(String, u64)> {
        let request = self.request("GET", "/projections").body(Full::default()).unwrap();
        let answer = self.http.request(request).await.ok()?;
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        place(&serde_json::from_slice(&body).ok()?)
    }

    /// Waits until its rows are of this sequence of the log, or a later one.
    pub(crate) async fn reaches(&self, sequence: u64) {
        eventually(&format!("the rows are of {sequence}"), async || {
            self.place().await.filter(|(_, at)| *at >= sequence)
        })
        .await;
    }

    /// Its file, as `sqlite3 -readonly` opens it.
    pub(crate) fn rows(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        Connection::open_with_flags(self.link(), flags).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What it printed when it started, and keeps.
    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.folder.join("token")).unwrap()
    }

    /// The symbolic link to the file that serves.
    pub(crate) fn link(&self) -> PathBuf {
        self.folder.join("0/orders.db")
    }
}

fn place(answer: &Value) -> Option<(String, u64)> {
    let token = answer["as_of"]["token"].as_str()?;
    let (incarnation, sequence) = token.split_once('-')?;
    Some((incarnation.to_owned(), sequence.parse().ok()?))
}
