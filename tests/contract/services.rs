//! Requests and answers over NATS.

use bytes::Bytes;
use quadrille::broker::{Broker as _, ServiceError};
use serde_json::{Value, json};
use tests::eventually::eventually;
use tokio::sync::mpsc;

use crate::under_test::UnderTest;

contract!(
    a_request_is_answered,
    an_error_is_its_own_answer,
    a_request_that_is_dropped_is_answered_with_try_again,
    where_nobody_serves_a_request_is_unavailable,
    stock_tools_can_discover_a_service,
);

async fn serve(test: &UnderTest) -> mpsc::Receiver<quadrille::broker::Request> {
    let (service, prefix) = (test.flow.stream, test.flow.subjects);
    test.broker.serve(service, prefix, &["stock.get", "stock.set"]).await.unwrap()
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
