//! Requests and answers over NATS.

use std::time::Duration;

use bytes::Bytes;
use quadrille::broker::{Answers, Broker as _, ServiceError};
use serde_json::{Value, json};
use tests::eventually::eventually;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::under_test::UnderTest;

contract!(
    a_request_is_answered,
    an_error_is_its_own_answer,
    a_command_has_headers_and_its_refusal_a_document,
    a_request_that_is_dropped_is_answered_with_try_again,
    where_nobody_serves_a_request_is_unavailable,
    stock_tools_can_discover_a_service,
    every_instance_of_a_service_answers_where_each_is_to,
);

async fn serve(test: &UnderTest) -> mpsc::Receiver<quadrille::broker::Request> {
    let (service, prefix) = (test.flow.stream, test.flow.subjects);
    let mut requests = test
        .broker
        .serve(service, prefix, &["stock.get", "stock.set"], Answers::One)
        .await
        .unwrap();
    // It is served on another connection, so another server may hear of it later.
    for endpoint in ["stock.get", "stock.set"] {
        let subject = format!("{prefix}.{endpoint}");
        eventually("our server has heard of it", async || {
            let dropped = async {
                drop(requests.recv().await);
                std::future::pending::<()>().await;
            };
            tokio::select! {
                answer = test.broker.request(&subject, Bytes::new()) => answer.ok(),
                () = dropped => None,
            }
        })
        .await
        .unwrap_err();
    }
    requests
}

async fn a_request_is_answered(test: UnderTest) {
    let mut requests = serve(&test).await;
    let subject = format!("{}.stock.get", test.flow.subjects);
    let client = test.another().await;
    let asked = client.request(&subject, Bytes::from_static(b"tea"));
    let served = async {
        let request = requests.recv().await.unwrap();
        assert_eq!(
            (request.subject.as_str(), &request.payload[..]),
            (subject.as_str(), &b"tea"[..])
        );
        request.respond(Ok(Bytes::from_static(b"7")));
    };
    let (answer, ()) = tokio::join!(asked, served);
    assert_eq!(answer.unwrap().unwrap(), "7");
}

async fn an_error_is_its_own_answer(test: UnderTest) {
    let mut requests = serve(&test).await;
    let subject = format!("{}.stock.set", test.flow.subjects);
    let asked = test.broker.request(&subject, Bytes::new());
    let served = async {
        let error = ServiceError { code: 400, message: "no\r\nsuch SKU: tee".to_owned() };
        requests.recv().await.unwrap().respond(Err(error));
    };
    let (answer, ()) = tokio::join!(asked, served);
    let ServiceError { code, message } = answer.unwrap().unwrap_err();
    assert_eq!((code, message.as_str()), (400, "no  such SKU: tee"));
}

async fn a_command_has_headers_and_its_refusal_a_document(test: UnderTest) {
    let mut requests = serve(&test).await;
    let subject = format!("{}.stock.set", test.flow.subjects);
    let headers = vec![("idempotency-key".to_owned(), "once, ä".to_owned())];
    let asked = test.broker.command(&subject, headers, Bytes::from_static(b"tea"));
    let served = async {
        let request = requests.recv().await.unwrap();
        assert_eq!(request.headers, [("idempotency-key".to_owned(), "once, ä".to_owned())]);
        let error = ServiceError { code: 409, message: "taken".to_owned() };
        request.refuse(error, Bytes::from_static(b"{\"by\":7}"));
    };
    let (answer, ()) = tokio::join!(asked, served);
    let (ServiceError { code, message }, document) = answer.unwrap().unwrap_err();
    assert_eq!((code, message.as_str(), &document[..]), (409, "taken", &b"{\"by\":7}"[..]));
    let headers = vec![("idempotency-key".to_owned(), "a\r\nb".to_owned())];
    let answer = test.broker.command(&subject, headers, Bytes::new()).await;
    assert!(answer.unwrap_err().to_string().contains("line break"));
}

async fn a_request_that_is_dropped_is_answered_with_try_again(test: UnderTest) {
    let mut requests = serve(&test).await;
    let subject = format!("{}.stock.get", test.flow.subjects);
    let asked = test.broker.request(&subject, Bytes::new());
    let served = async { drop(requests.recv().await) };
    let (answer, ()) = tokio::join!(asked, served);
    assert_eq!(answer.unwrap().unwrap_err().code, 503);
}

async fn where_nobody_serves_a_request_is_unavailable(test: UnderTest) {
    let subject = format!("{}.stock.get", test.flow.subjects);
    let answer = test.broker.request(&subject, Bytes::new()).await.unwrap_err();
    assert!(answer.to_string().contains("nobody serves"), "{answer}");
}

async fn stock_tools_can_discover_a_service(test: UnderTest) {
    let _requests = serve(&test).await;
    let subject = format!("$SRV.INFO.{}", test.flow.stream);
    let answer = eventually("it can be found", async || {
        test.raw.client.request(subject.clone(), Bytes::new()).await.ok()
    })
    .await;
    let info: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(info["name"], json!(test.flow.stream));
    let names: Vec<_> =
        info["endpoints"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert!(names.contains(&&json!("stock-get")), "{info}");
}

async fn every_instance_of_a_service_answers_where_each_is_to(test: UnderTest) {
    let (service, prefix) = (test.flow.stream, test.flow.subjects);
    let subject = format!("{prefix}.who");
    let nobody = test.broker.ask_each(&subject, Bytes::new(), Duration::from_secs(1)).await;
    assert_eq!(nobody.unwrap(), Vec::<Bytes>::new());
    let mut instances = JoinSet::new();
    for name in ["one", "two", "three"] {
        let broker = test.another().await;
        let mut requests = broker.serve(service, prefix, &["who"], Answers::Each).await.unwrap();
        instances.spawn(async move {
            while let Some(request) = requests.recv().await {
                let answer = match &request.payload[..] {
                    b"" => Ok(Bytes::from_static(name.as_bytes())),
                    _ => Err(ServiceError { code: 400, message: "no such question".to_owned() }),
                };
                request.respond(answer);
            }
            drop(broker);
        });
    }
    let ask = async |question: &'static str| {
        let question = Bytes::from_static(question.as_bytes());
        let patience = Duration::from_millis(500);
        let mut answers = test.broker.ask_each(&subject, question, patience).await.unwrap();
        answers.sort();
        answers
    };
    // A server of a cluster may hear of a subscription late.
    eventually("all of them answer", async || {
        (ask("").await == ["one", "three", "two"]).then_some(())
    })
    .await;
    assert_eq!(ask("why").await, Vec::<Bytes>::new());
}
