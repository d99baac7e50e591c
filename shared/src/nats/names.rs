//! What the streams and subjects of a flow are called on this broker.
//!
//! A broker may have streams and subjects of the usual names that belong to others. Then all names
//! of the flow get another form, here and nowhere else: above this module only the flow's own names
//! exist, so slots, ids and keys are the same whatever the broker calls them.

use std::borrow::Cow;
use std::sync::Arc;

use crate::Flow;
use crate::broker::{Page, Stored};
use crate::topology::{DurableSpec, STREAM_PREFIX, SUBJECT_PREFIX, StreamSpec};

/// The names of one flow on one broker; by default those of the flow. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Names(Option<Arc<Own>>);

#[derive(Debug)]
struct Own {
    /// What the flow itself calls its stream.
    usual: &'static str,
    stream: Option<String>,
    prefix: Option<String>,
}

/// Names that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    #[error("a stream's name is 1 to 64 of A-Z, a-z, 0-9, _ and -")]
    Stream,
    #[error(
        "a prefix is tokens of A-Z, a-z, 0-9, _ and -, separated by dots, as in shop or eu.shop"
    )]
    Prefix,
}

impl Names {
    /// `stream` instead of the flow's own name; its other streams and buckets then begin with it:
    /// `SHOP`, `SHOP_PARKED`. `prefix` comes before every subject, those of services included:
    /// `shop.` and the usual one.
    ///
    /// # Errors
    /// When one of them has another form.
    pub fn new(flow: &Flow, stream: Option<&str>, prefix: Option<&str>) -> Result<Self, BadName> {
        let is_token = |text: &str| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        if stream.is_some_and(|name| !is_token(name)) {
            return Err(BadName::Stream);
        }
        let is_prefix = |text: &str| text.len() <= 64 && text.split('.').all(is_token);
        if prefix.is_some_and(|text| !is_prefix(text) || text.starts_with('_')) {
            return Err(BadName::Prefix);
        }
        if stream.is_none() && prefix.is_none() {
            return Ok(Self::default());
        }
        let (stream, prefix) = (stream.map(str::to_owned), prefix.map(str::to_owned));
        Ok(Self(Some(Arc::new(Own { usual: flow.stream, stream, prefix }))))
    }

    /// What a worker must be told to use these names, as its settings: `flow.trip.stream=HOLIDAYS`.
    pub fn settings(&self, flow: &Flow) -> Vec<String> {
        let Some(own) = &self.0 else { return Vec::new() };
        let given = [("stream", &own.stream), ("prefix", &own.prefix)];
        let given = given.into_iter().filter_map(|(key, name)| Some((key, name.as_ref()?)));
        given.map(|(key, name)| format!("flow.{}.{key}={name}", flow.saga)).collect()
    }

    /// What the broker calls a stream of the flow.
    pub fn stream<'n>(&self, usual: &'n str) -> Cow<'n, str> {
        let Some(own) = &self.0 else { return usual.into() };
        if let Some(bucket) = usual.strip_prefix(STREAM_PREFIX) {
            return format!("{STREAM_PREFIX}{}", self.bucket(bucket)).into();
        }
        match (&own.stream, usual.strip_prefix(own.usual)) {
            (None, _) => usual.into(),
            (Some(name), Some(rest)) if rest.is_empty() || rest.starts_with('_') => {
                format!("{name}{rest}").into()
            }
            (Some(name), _) => format!("{name}_{usual}").into(),
        }
    }

    /// What the broker calls a subject of the flow, or a filter.
    pub fn subject<'n>(&self, usual: &'n str) -> Cow<'n, str> {
        let Some(own) = &self.0 else { return usual.into() };
        if let Some(rest) = usual.strip_prefix(SUBJECT_PREFIX) {
            let (bucket, key) = rest.split_once('.').unwrap_or((rest, ""));
            return format!("{SUBJECT_PREFIX}{}.{key}", self.bucket(bucket)).into();
        }
        match &own.prefix {
            Some(prefix) => format!("{prefix}.{usual}").into(),
            None => usual.into(),
        }
    }

    pub(super) fn bucket<'n>(&self, usual: &'n str) -> Cow<'n, str> {
        let Some(own) = &self.0 else { return usual.into() };
        match (&own.stream, &own.prefix) {
            (Some(name), _) => format!("{name}_{usual}").into(),
            (None, Some(prefix)) => format!("{}_{usual}", prefix.replace('.', "_")).into(),
            (None, None) => usual.into(),
        }
    }

    /// What the flow calls a subject of the broker.
    pub(super) fn usual(&self, subject: String) -> String {
        let prefix = self.0.as_ref().and_then(|own| own.prefix.as_deref());
        match prefix.and_then(|prefix| subject.strip_prefix(prefix)?.strip_prefix('.')) {
            Some(usual) => usual.to_owned(),
            None => subject,
        }
    }

    /// A message under the subject that the flow gives it.
    pub fn stored(&self, stored: Stored) -> Stored {
        Stored { subject: self.usual(stored.subject), ..stored }
    }

    pub(super) fn page(&self, page: Page) -> Page {
        let messages = page.messages.into_iter().map(|stored| self.stored(stored)).collect();
        Page { messages, ..page }
    }

    pub(super) fn subjects(&self, usual: Vec<String>) -> Vec<String> {
        match self.0 {
            None => usual,
            Some(_) => usual.iter().map(|one| self.subject(one).into_owned()).collect(),
        }
    }

    pub(super) fn stream_spec(&self, spec: StreamSpec) -> StreamSpec {
        let name = self.stream(&spec.name).into_owned();
        StreamSpec { name, subjects: self.subjects(spec.subjects), ..spec }
    }

    pub(super) fn durable_spec(&self, spec: DurableSpec) -> DurableSpec {
        let stream = self.stream(&spec.stream).into_owned();
        DurableSpec { stream, filters: self.subjects(spec.filters), ..spec }
    }
}

#[cfg(test)]
mod tests {
    use schemas::order_fulfilment::FLOW;

    use super::*;

    #[test]
    fn without_names_of_its_own_all_is_as_the_flow_says() {
        let names = Names::new(&FLOW, None, None).unwrap();
        assert_eq!(names.stream("ORDERS_PARKED"), "ORDERS_PARKED");
        assert_eq!(names.subject("orders.*.*"), "orders.*.*");
        assert_eq!(names.bucket("breakers"), "breakers");
        assert_eq!(names.usual("shop.orders.a.b".to_owned()), "shop.orders.a.b");
    }

    #[test]
    fn every_name_gets_the_streams_name_or_the_prefix_and_loses_it_again() {
        let both = Names::new(&FLOW, Some("SHOP"), Some("eu.shop")).unwrap();
        for (usual, there) in [
            ("ORDERS", "SHOP"),
            ("ORDERS_PARKED", "SHOP_PARKED"),
            ("OTHER", "SHOP_OTHER"),
            ("KV_attempts", "KV_SHOP_attempts"),
        ] {
            assert_eq!(both.stream(usual), there);
        }
        assert_eq!(both.subject("$KV.attempts.k.1"), "$KV.SHOP_attempts.k.1");
        assert_eq!(both.subject("orders.placed.A1"), "eu.shop.orders.placed.A1");
        assert_eq!(both.usual("eu.shop.orders.placed.A1".to_owned()), "orders.placed.A1");
        let told = ["flow.order.stream=SHOP", "flow.order.prefix=eu.shop"];
        assert_eq!(both.settings(&FLOW), told);
        let prefix = Names::new(&FLOW, None, Some("eu.shop")).unwrap();
        assert_eq!(prefix.stream("ORDERS"), "ORDERS");
        assert_eq!(prefix.stream("KV_attempts"), "KV_eu_shop_attempts");
        let stream = Names::new(&FLOW, Some("SHOP"), None).unwrap();
        assert_eq!(stream.subject("orders.placed.A1"), "orders.placed.A1");
        assert_eq!(stream.bucket("attempts"), "SHOP_attempts");
    }

    #[test]
    fn names_that_no_broker_takes_are_refused() {
        for wrong in ["", "a.b", "a b", "*", &"x".repeat(65)] {
            assert_eq!(Names::new(&FLOW, Some(wrong), None).unwrap_err(), BadName::Stream);
        }
        for wrong in ["", "shop.", ".shop", "shop.*", "$JS", "_INBOX", ">"] {
            assert_eq!(Names::new(&FLOW, None, Some(wrong)).unwrap_err(), BadName::Prefix);
        }
    }
}
