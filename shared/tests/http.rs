//! What the HTTP client says of an exchange that went wrong: whether anything was sent decides
//! whether anything can have happened.

#![expect(clippy::unwrap_used, reason = "in a test a panic is a finding")]

use std::time::Duration;

use quadrille::breaker::class::Class;
use quadrille::http::{Body, Client, Error};
use quadrille::step::StepError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// A service that reads a request and then does `then` with the connection.
async fn service(then: impl AsyncFn(TcpStream)) -> Result<quadrille::http::Answer, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client(&format!("http://{}/base/", listener.local_addr().unwrap()));
    let serve = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]);
            assert!(request.starts_with("POST /base/things HTTP/1.1\r\n"), "{request}");
            assert!(request.contains("idempotency-key: key-1\r\n"), "{request}");
            assert!(request.ends_with("\r\n\r\na=1%201%3D2"), "{request}");
            then(stream).await;
        }
    };
    let body = Body::Form(&[("a", "1 1=2")]);
    tokio::select! {
        answer = client.post("/things", &body, "key-1", soon()) => answer,
        () = serve => unreachable!("it serves for ever"),
    }
}

fn client(base: &str) -> Client {
    Client::new(base, None, Duration::from_millis(300)).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[tokio::test]
async fn a_whole_answer_of_any_status_is_an_answer() {
    let answer = service(async |mut stream| {
        let answer = b"HTTP/1.1 429 Slow\r\nretry-after: 3\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(answer).await.unwrap();
    });
    let answer = answer.await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (429, &b"{}"[..]));
    assert_eq!(answer.retry_after, Some(Duration::from_secs(3)));
}

#[tokio::test]
async fn a_refused_connection_means_that_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let client = client(&format!("http://{host}"));
    drop(listener);
    let error = client.post("/things", &Body::Nothing, "key-1", soon()).await.unwrap_err();
    assert!(matches!(error, Error::NothingSent(_)), "{error:?}");
    let told = chain(&error);
    assert!(told.contains(&host) && told.contains("refused"), "{told}");
    assert_eq!(class(error), Class::NotSent);
}

#[tokio::test]
async fn a_name_nobody_knows_means_that_nothing_was_sent() {
    let error = client("http://no-such-host.invalid").get("/", soon()).await.unwrap_err();
    assert!(matches!(error, Error::NothingSent(_)), "{error:?}");
}

#[tokio::test]
async fn nothing_is_sent_after_the_deadline() {
    let error = client("http://127.0.0.1:1").get("/", Instant::now()).await.unwrap_err();
    assert!(matches!(error, Error::NothingSent(_)), "{error:?}");
}

#[tokio::test]
async fn a_connection_closed_without_an_answer_leaves_the_outcome_unknown() {
    let error = service(async |stream| drop(stream)).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown(_)), "{error:?}");
}

#[tokio::test]
async fn silence_until_the_time_out_leaves_the_outcome_unknown() {
    let held = std::sync::Mutex::new(Vec::new());
    let error = service(async |stream| held.lock().unwrap().push(stream)).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown(_)), "{error:?}");
    let told = chain(&error);
    assert!(told.contains("127.0.0.1:") && told.contains("the setting `timeout`"), "{told}");
    assert_eq!(class(error), Class::Failed);
}

#[tokio::test]
async fn silence_until_the_deadline_of_the_attempt_names_that_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new(&base, None, Duration::from_secs(60)).unwrap();
    let error = client.get("/", Instant::now() + Duration::from_millis(50)).await.unwrap_err();
    let told = chain(&error);
    assert!(told.contains("`worker.deadline`"), "{told}");
}

#[tokio::test]
async fn half_a_body_cannot_be_read() {
    let error = service(async |mut stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}").await.unwrap();
    });
    let error = error.await.unwrap_err();
    assert!(matches!(error, Error::Unreadable(status, _) if status == 200), "{error:?}");
}

#[tokio::test]
async fn a_body_above_a_megabyte_is_not_read() {
    let error = service(async |mut stream| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let _ = stream.write_all(&vec![b' '; 2_000_000]).await;
    });
    let error = error.await.unwrap_err();
    assert!(matches!(error, Error::Unreadable(status, _) if status == 200), "{error:?}");
}

#[test]
fn a_secret_shows_nowhere() {
    let secret = serde_json::from_str(r#""sk_canary""#).unwrap();
    let client = Client::new("http://127.0.0.1:1", Some(secret), Duration::from_secs(1)).unwrap();
    assert!(!format!("{client:?}").contains("canary"));
    let secret: quadrille::http::Secret = serde_json::from_str(r#""sk_canary""#).unwrap();
    assert_eq!(format!("{secret:?}"), "[redacted]");
}

#[test]
fn a_base_url_is_checked_at_start() {
    for base in ["", "localhost:80", "ftp://localhost", "http://", "nats://127.0.0.1"] {
        assert!(Client::new(base, None, Duration::from_secs(1)).is_err(), "{base:?}");
    }
    for base in ["http://127.0.0.1:1", "https://api.example.com/v1/"] {
        assert!(Client::new(base, None, Duration::from_secs(1)).is_ok(), "{base:?}");
    }
}

/// An error with all that caused it.
fn chain(error: &Error) -> String {
    let first: &dyn std::error::Error = error;
    let chain = std::iter::successors(Some(first), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What the runtime makes of an error that a step passes on with `?`.
fn class(error: Error) -> Class {
    match StepError::from(error) {
        StepError::TryAgain { class, .. } => class,
        other => panic!("{other:?}"),
    }
}
