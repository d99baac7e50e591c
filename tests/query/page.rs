//! The page as a browser gets it, and who may read and act through it.

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use quadrille::broker::Broker as _;
use schemas::order_fulfilment::FLOW;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::stack::{Launch, Stack};

use crate::asked::Query;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

struct Asked<'q> {
    query: &'q Query,
    request: hyper::http::request::Builder,
}

fn ask<'q>(query: &'q Query, method: &str, path: &str) -> Asked<'q> {
    Asked { query, request: query.request(method, path) }
}

impl Asked<'_> {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    fn authorized(self) -> Self {
        let token = format!("Bearer {}", self.query.token());
        self.with("Authorization", &token)
    }

    async fn send(self, body: &str) -> Response<Incoming> {
        let body = Full::from(body.to_owned());
        let request: Request<_> = self.request.body(body).unwrap();
        self.query.raw(request).await
    }

    /// Status and document.
    async fn json(self, body: &str) -> (u16, Value) {
        let answer = self.send(body).await;
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&text(answer).await).unwrap_or_default())
    }

    async fn order(self, body: &str) -> (u16, Value) {
        self.with("Content-Type", "application/json").json(body).await
    }
}

async fn text(answer: Response<Incoming>) -> String {
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn header<'a>(answer: &'a Response<Incoming>, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// The addresses that a text names in quotes, if they begin so.
fn quoted<'t>(text: &'t str, quote: char, begin: &str) -> Vec<&'t str> {
    text.split(quote).filter(|part| part.starts_with(begin)).collect()
}

const SAMPLE: &str = include_str!("../../schemas/samples/order_fulfilment/placed.v1.json");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_gets_the_page_and_a_program_gets_json() {
    let stack = Stack::bare().await;
    let query = Query::start(&stack, "query").await;
    for path in ["/", "/orders?state=open", "/orders/A123", "/orders/A123/events/7", "/place"] {
        let answer = ask(&query, "GET", path).with("Accept", BROWSER).send("").await;
        assert_eq!((answer.status().as_u16(), header(&answer, "cache-control")), (200, "no-store"));
        assert_eq!(header(&answer, "content-type"), "text/html; charset=utf-8");
        let policy = header(&answer, "content-security-policy").to_owned();
        for rule in ["default-src 'none'", "script-src 'self'", "style-src 'self'"] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(text(answer).await.contains("<main id=\"main\""));
    }
    assert_eq!(query.ok("/").await["many"], "orders");
    assert_eq!(query.get("/orders/A123").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_of_the_page_are_named_by_their_content_and_kept() {
    let stack = Stack::bare().await;
    let query = Query::start(&stack, "query").await;
    let shell = ask(&query, "GET", "/").with("Accept", BROWSER).send("").await;
    let shell = text(shell).await;
    let mut files: Vec<String> =
        quoted(&shell, '"', "/assets/").into_iter().map(str::to_owned).collect();
    let folder = files[0].rsplit_once('/').unwrap().0.to_owned();
    let mut seen = 0;
    while seen < files.len() {
        let answer = ask(&query, "GET", &files[seen]).send("").await;
        assert_eq!(answer.status(), 200, "{}", files[seen]);
        let keeps = header(&answer, "cache-control");
        assert!(keeps.contains("immutable") && keeps.contains("max-age=31536000"), "{keeps}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        for import in quoted(&text(answer).await, '\'', "./") {
            let file = format!("{folder}/{}", &import[2..]);
            if !files.contains(&file) {
                files.push(file);
            }
        }
        seen += 1;
    }
    assert!(files.len() > 10, "{files:?}");
    let other = ask(&query, "GET", "/assets/0/app.js").send("").await;
    assert_eq!((other.status().as_u16(), header(&other, "cache-control")), (404, "no-store"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_needs_the_token_and_its_answer_is_the_command_workers() {
    let mut stack = Stack::bare().await;
    let query = Query::start(&stack, "query").await;
    assert_eq!(ask(&query, "POST", "/orders").order(SAMPLE).await.0, 401);
    let wrong = ask(&query, "POST", "/orders").with("Authorization", "Bearer 1");
    assert_eq!(wrong.order(SAMPLE).await.0, 401);
    let nobody = ask(&query, "POST", "/orders").authorized().order(SAMPLE).await;
    assert_eq!((nobody.0, &nobody.1["title"]), (503, &json!("no answer")), "{nobody:?}");

    let command = Launch::of("command").env("QUADRILLE_COMMAND__LISTEN", "127.0.0.1:0");
    stack.start(command).await;
    let key = "once";
    let place = || ask(&query, "POST", "/orders").authorized().with("Idempotency-Key", key);
    let (status, placed) = place().order(SAMPLE).await;
    assert_eq!(status, 200, "{placed}");
    let id = placed["id"].as_str().unwrap();
    assert_eq!(place().order(SAMPLE).await, (200, placed.clone()), "a repeat");
    let read = format!("/orders/{id}?min_seq={}", placed["token"].as_str().unwrap());
    assert_eq!(query.ok(&read).await["state"], "open");

    let other = SAMPLE.replace("cus_1001", "cus_1002");
    assert_eq!(place().order(&other).await.0, 409);
    let (status, mistakes) = ask(&query, "POST", "/orders").authorized().order("{}").await;
    assert_eq!(status, 400);
    let pointers: Vec<_> = mistakes["errors"].as_array().unwrap().iter().collect();
    assert!(pointers.len() > 2 && pointers[0]["pointer"].is_string(), "{mistakes}");
    let cancel = format!("/orders/{id}/cancel");
    assert_eq!(ask(&query, "POST", &cancel).send("").await.status(), 401);
    let (status, asked) = ask(&query, "POST", &cancel).authorized().json("").await;
    assert_eq!((status, &asked["id"]), (200, &json!(id)), "{asked}");
    let wish = stack.broker.last(FLOW.stream, &format!("orders.cancel.{id}")).await.unwrap();
    assert_eq!(asked["sequence"], json!(wish.unwrap().sequence));

    let form = ask(&query, "POST", "/orders").authorized().with("Content-Type", "text/plain");
    assert_eq!(form.json(SAMPLE).await.0, 415);
    let site = ask(&query, "POST", "/orders").authorized().with("Sec-Fetch-Site", "cross-site");
    assert_eq!(site.order(SAMPLE).await.0, 403);
    let answer = ask(&query, "PUT", "/orders").send("").await;
    assert_eq!((answer.status().as_u16(), header(&answer, "allow")), (405, "GET,HEAD,POST"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_only_reads_offers_and_takes_no_command() {
    let stack = Stack::bare().await;
    let query = Query::start_with(&stack, "query", &[("READ_ONLY", "true")]).await;
    assert_eq!(query.ok("/").await["verbs"], json!([]));
    assert_eq!(query.ok("/openapi.json").await["paths"]["/orders"]["post"], Value::Null);
    let (status, problem) = ask(&query, "POST", "/orders").authorized().order(SAMPLE).await;
    assert_eq!(status, 403, "{problem}");
    let answer = ask(&query, "PUT", "/orders").send("").await;
    assert_eq!(header(&answer, "allow"), "GET,HEAD");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_this_machine_reading_needs_the_token_and_the_page_does_not() {
    let stack = Stack::bare().await;
    let query = Query::start_with(&stack, "query", &[("LISTEN", "0.0.0.0:0")]).await;
    for path in ["/orders", "/orders/A123", "/events", "/flow", "/openapi.json", "/"] {
        let answer = ask(&query, "GET", path).send("").await;
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "www-authenticate")),
            (401, "Bearer")
        );
    }
    let shell = ask(&query, "GET", "/orders").with("Accept", BROWSER).send("").await;
    assert_eq!(shell.status(), 200);
    let shell = text(shell).await;
    let script = quoted(&shell, '"', "/assets/")[0];
    assert_eq!(ask(&query, "GET", script).send("").await.status(), 200);
    assert_eq!(ask(&query, "GET", "/orders").authorized().send("").await.status(), 200);

    assert_eq!(ask(&query, "POST", "/session").send("").await.status(), 401);
    let session = ask(&query, "POST", "/session").authorized().send("").await;
    assert_eq!(session.status(), 204);
    let cookie = header(&session, "set-cookie").split(';').next().unwrap().to_owned();
    let events = ask(&query, "GET", "/events").with("Cookie", &cookie).send("").await;
    assert_eq!(events.status(), 200);
    // A browser adds the cookie to whatever page asks.
    let act = ask(&query, "POST", "/orders").with("Cookie", &cookie).order(SAMPLE).await;
    assert_eq!(act.0, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_is_printed_and_stays_over_a_restart() {
    let stack = Stack::bare().await;
    let mut query = Query::start(&stack, "query").await;
    let token = query.token();
    let line = eventually("it prints the token", async || {
        let said = query.process.said();
        said.lines().find(|line| line.contains("#token=")).map(str::to_owned)
    });
    assert!(line.await.contains(&token));
    assert!(query.process.shut_down().await.success());
    let query = Query::start(&stack, "query").await;
    assert_eq!(query.token(), token);
}
