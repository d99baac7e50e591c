//! Each call of the port, under the names that the flow's streams and subjects have on this broker.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::connection::Reading;
use super::{NatsBroker, api, bucket, inspect, message, pause, pull, read, service};
use crate::broker::{
    Answers, BatchMessage, Broker, Care, DurableState, Entry, Headers, Inspection, Page, Pause,
    Published, Pull, Receipt, Refused, Request, ServiceError, Settle, Stored, StreamState,
    Unavailable, Watch,
};
use crate::{Flow, Slot};

impl Broker for NatsBroker {
    fn shown(&self, subject: &str) -> String {
        self.names.subject(subject).into_owned()
    }

    fn publish_once<'a>(&'a self, slot: &'a Slot, payload: Bytes) -> BoxFuture<'a, Published> {
        Box::pin(async move {
            let subject = self.names.subject(slot.subject());
            self.publisher.publish_once(&self.client, &subject, payload).await
        })
    }

    fn publish<'a>(&'a self, subject: &'a str, payload: Bytes) -> BoxFuture<'a, Published> {
        Box::pin(async move {
            let subject = self.names.subject(subject);
            self.publisher.publish(&self.client, &subject, payload).await
        })
    }

    fn publish_batch(&self, mut messages: Vec<BatchMessage>) -> BoxFuture<'_, Published> {
        for message in &mut messages {
            message.subject = self.names.subject(&message.subject).into_owned();
        }
        Box::pin(self.publisher.publish_batch(&self.client, messages))
    }

    fn pull<'a>(
        &'a self,
        stream: &'a str,
        durable: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Pull>, Unavailable>> {
        Box::pin(async move {
            let reading = Reading::new(self.options.clone(), durable);
            let (client, names) = (self.client.clone(), self.names.clone());
            let stream = self.names.stream(stream);
            let pull = pull::DurablePull::new(client, names, reading, &stream, durable).await?;
            Ok(Box::new(pull) as Box<dyn Pull>)
        })
    }

    fn settle<'a>(&'a self, receipt: &'a Receipt, settle: Settle) -> BoxFuture<'a, ()> {
        Box::pin(message::settle(&self.client, receipt, settle))
    }

    fn last<'a>(
        &'a self,
        stream: &'a str,
        subject: &'a str,
    ) -> BoxFuture<'a, Result<Option<Stored>, Unavailable>> {
        Box::pin(async move {
            let (stream, subject) = (self.names.stream(stream), self.names.subject(subject));
            let found = read::last(&self.client, &stream, &subject).await?;
            Ok(found.map(|stored| self.names.stored(stored)))
        })
    }

    fn last_of_many<'a>(
        &'a self,
        stream: &'a str,
        filters: Vec<String>,
    ) -> BoxFuture<'a, Result<Vec<Stored>, Unavailable>> {
        Box::pin(async move {
            let (stream, filters) = (self.names.stream(stream), self.names.subjects(filters));
            let link = self.looking.link().await?;
            let found = read::last_of_many(&link, &self.client, &stream, filters).await?;
            Ok(found.into_iter().map(|stored| self.names.stored(stored)).collect())
        })
    }

    fn read_page<'a>(
        &'a self,
        stream: &'a str,
        from: u64,
        most: usize,
        care: Care,
    ) -> BoxFuture<'a, Result<Page, Unavailable>> {
        Box::pin(async move {
            let stream = self.names.stream(stream);
            let page = match care {
                Care::Fast => {
                    read::page(&self.looking.link().await?, &stream, ">", from, most).await?
                }
                Care::Careful => read::careful_page(&self.client, &stream, ">", from, most).await?,
            };
            Ok(self.names.page(page))
        })
    }

    fn read_matching<'a>(
        &'a self,
        stream: &'a str,
        filter: &'a str,
        from: u64,
        most: usize,
    ) -> BoxFuture<'a, Result<Page, Unavailable>> {
        Box::pin(async move {
            let (stream, filter) = (self.names.stream(stream), self.names.subject(filter));
            let link = self.looking.link().await?;
            let page = match read::page(&link, &stream, &filter, from, most).await {
                Ok(page) => page,
                Err(_) => read::careful_page(&self.client, &stream, &filter, from, most).await?,
            };
            Ok(self.names.page(page))
        })
    }

    fn subjects<'a>(
        &'a self,
        stream: &'a str,
        filter: &'a str,
    ) -> BoxFuture<'a, Result<Vec<String>, Unavailable>> {
        Box::pin(async move {
            let (stream, filter) = (self.names.stream(stream), self.names.subject(filter));
            let found = inspect::subjects(&self.client, &stream, &filter).await?;
            Ok(found.into_iter().map(|subject| self.names.usual(subject)).collect())
        })
    }

    fn inspect<'a>(
        &'a self,
        flow: &'static Flow,
        worker: &'a str,
    ) -> BoxFuture<'a, Result<Inspection, Unavailable>> {
        Box::pin(inspect::inspect(&self.client, &self.names, flow, worker))
    }

    fn state<'a>(
        &'a self,
        stream: &'a str,
    ) -> BoxFuture<'a, Result<Option<StreamState>, Unavailable>> {
        Box::pin(
            async move { inspect::state(&self.client, stream, &self.names.stream(stream)).await },
        )
    }

    fn durable<'a>(
        &'a self,
        stream: &'a str,
        durable: &'a str,
    ) -> BoxFuture<'a, Result<Option<DurableState>, Unavailable>> {
        Box::pin(async move {
            inspect::durable_state(&self.client, &self.names.stream(stream), durable).await
        })
    }

    fn serve<'a>(
        &'a self,
        service: &'a str,
        prefix: &'a str,
        endpoints: &'a [&'a str],
        answers: Answers,
    ) -> BoxFuture<'a, Result<mpsc::Receiver<Request>, Unavailable>> {
        let (options, names) = (&self.options, &self.names);
        Box::pin(service::serve(options, names, service, (prefix, endpoints), answers))
    }

    fn ask_each<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
        patience: Duration,
    ) -> BoxFuture<'a, Result<Vec<Bytes>, Unavailable>> {
        Box::pin(async move {
            let subject = self.names.subject(subject);
            service::ask_each(&self.client, &subject, payload, patience).await
        })
    }

    fn request<'a>(
        &'a self,
        subject: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<Result<Bytes, ServiceError>, Unavailable>> {
        Box::pin(async move {
            service::request(&self.client, &self.names.subject(subject), payload).await
        })
    }

    fn command<'a>(
        &'a self,
        subject: &'a str,
        headers: Headers,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<Result<Bytes, Refused>, Unavailable>> {
        Box::pin(async move {
            service::command(&self.client, &self.names.subject(subject), headers, payload).await
        })
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let flushed = tokio::time::timeout(api::ANSWER_TIME, self.client.flush()).await;
            if !matches!(flushed, Ok(Ok(()))) {
                tracing::warn!("the connection was not flushed; what was lost is delivered again");
            }
        })
    }

    fn entry<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Entry>, Unavailable>> {
        Box::pin(async move { bucket::entry(&self.client, &self.names.bucket(bucket), key).await })
    }

    fn compare_and_set<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        expected: u64,
        value: Bytes,
        time_to_live: Option<Duration>,
    ) -> BoxFuture<'a, Published> {
        Box::pin(async move {
            let (client, bucket) = (&self.client, self.names.bucket(bucket));
            bucket::compare_and_set(client, &bucket, key, expected, value, time_to_live).await
        })
    }

    fn remove<'a>(
        &'a self,
        bucket: &'a str,
        key: &'a str,
        expected: u64,
    ) -> BoxFuture<'a, Published> {
        Box::pin(async move {
            bucket::remove(&self.client, &self.names.bucket(bucket), key, expected).await
        })
    }

    fn watch<'a>(
        &'a self,
        bucket: &'a str,
        prefix: &'a str,
    ) -> BoxFuture<'a, Result<Box<dyn Watch>, Unavailable>> {
        Box::pin(async move {
            let (link, bucket) = (self.looking.link().await?, self.names.bucket(bucket));
            let watch = bucket::BucketWatch::new(&link, &bucket, prefix).await?;
            Ok(Box::new(watch) as Box<dyn Watch>)
        })
    }

    fn paused<'a>(
        &'a self,
        stream: &'a str,
        durable: &'a str,
    ) -> BoxFuture<'a, Result<Pause, Unavailable>> {
        Box::pin(
            async move { pause::paused(&self.client, &self.names.stream(stream), durable).await },
        )
    }

    fn pause<'a>(
        &'a self,
        stream: &'a str,
        durable: &'a str,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<Pause, Unavailable>> {
        Box::pin(async move {
            pause::pause(&self.client, &self.names.stream(stream), durable, until).await
        })
    }

    fn resume<'a>(
        &'a self,
        stream: &'a str,
        durable: &'a str,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<Pause, Unavailable>> {
        Box::pin(async move {
            pause::resume(&self.client, &self.names.stream(stream), durable, until).await
        })
    }
}
