//! The streams and durables that a flow needs, derived from its table: plain data, so that
//! provisioning, the workers' start-up check and the documentation cannot disagree.
//!
//! Each setting here removes a hazard: see [`Keeps`] and [`StreamSpec`]. Only a bucket deletes
//! anything by age, and a full stream refuses new messages instead of dropping old ones.

mod buckets;
mod keep;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::flow::{Role, Row};
use crate::{Flow, KeyNamespace};

pub use keep::Keep;

pub use buckets::{ATTEMPTS, BREAKERS, Lives, override_key};
pub(crate) use buckets::{STREAM_PREFIX, SUBJECT_PREFIX};

/// Largest event of a flow's stream, in bytes, headers included; the broker refuses larger ones.
pub const EVENT_BYTES: usize = 64 * 1024;

/// Largest parked message, in bytes: an event in base64, and why it was parked.
pub const PARKED_BYTES: usize = 256 * 1024;

/// Of a durable that walks behind the present, whose head is always in hand.
pub(crate) const DEADLINE_ACK_WAIT: Duration = Duration::from_millis(1_500);

/// The oldest server that the runtime can rely on, in any profile.
pub const OLDEST_SERVER: (u64, u64, u64) = (2, 14, 4);

/// What the log promises to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// One node that flushes to disk every two minutes: for trying things out.
    Dev,
    /// One node that flushes before it acknowledges: survives a power cut, not a lost disk.
    Single,
    /// Three nodes that flush before they acknowledge: survives one lost node.
    Cluster,
}

impl Profile {
    pub const ALL: [Self; 3] = [Self::Dev, Self::Single, Self::Cluster];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Single => "single",
            Self::Cluster => "cluster",
        }
    }

    pub const fn replicas(self) -> u64 {
        match self {
            Self::Dev | Self::Single => 1,
            Self::Cluster => 3,
        }
    }

    /// Because before 2.15 `sync_interval: always` could still lose acknowledged writes.
    pub const fn oldest_server(self) -> (u64, u64, u64) {
        match self {
            Self::Dev => OLDEST_SERVER,
            Self::Single | Self::Cluster => (2, 15, 0),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a profile is one of dev, single, cluster")]
pub struct UnknownProfile;

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        Self::ALL.into_iter().find(|profile| profile.name() == text).ok_or(UnknownProfile)
    }
}

/// What a stream does with a second message of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Refuses it, no matter who sends it: a slot is written once, for ever.
    First,
    /// Replaces the first one.
    Newest,
    /// Stores it beside the first one.
    All,
}

/// A stream as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSpec {
    pub name: String,
    pub subjects: Vec<String>,
    /// The one worker that keeps data of its own in it; `None` if all workers write to it.
    pub owner: Option<&'static str>,
    pub keeps: Keeps,
    /// No client may delete or purge; this setting cannot be taken back.
    pub permanent: bool,
    /// How long an entry lives, if it is a bucket, in the form that stock tools know.
    pub lives: Option<Lives>,
    /// Accepts several messages at once, all or nothing.
    pub atomic_publish: bool,
    pub max_message_bytes: usize,
    /// Size at which it refuses further messages.
    pub max_bytes: u64,
    pub replicas: u64,
}

impl StreamSpec {
    /// `stream ORDERS` or `bucket breakers`, for people.
    pub fn title(&self) -> String {
        match self.lives {
            None => format!("stream {}", self.name),
            Some(_) => format!("bucket {}", self.name.trim_start_matches(STREAM_PREFIX)),
        }
    }

    /// Whether `worker` writes to it.
    pub fn is_used_by(&self, worker: &str) -> bool {
        self.owner.is_none_or(|owner| owner == worker)
    }
}

/// A durable as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurableSpec {
    pub stream: String,
    pub name: String,
    pub worker: &'static str,
    pub role: Role,
    pub filters: Vec<String>,
    /// How long after a delivery the broker delivers again, if no worker has settled it.
    pub ack_wait: Duration,
    /// The number of deliveries in flight, delayed ones included, at which the broker stops
    /// delivering.
    pub max_in_flight: u64,
}

/// Everything that a flow needs from the broker.
#[derive(Debug, Clone)]
pub struct Topology {
    pub flow: &'static Flow,
    pub profile: Profile,
    /// Of the flow's stream.
    pub max_bytes: u64,
    /// Of the stream of parked messages.
    pub parked_max_bytes: u64,
    /// Of each stream that a worker keeps for itself.
    pub kept_max_bytes: u64,
    pub ack_wait: Duration,
    pub keep: Keep,
    /// Of the idempotency keys of a log that has lost it; without it a new log draws its own.
    pub keys: Option<KeyNamespace>,
}

impl Topology {
    /// Sizes for trying things out on one machine: 1 GiB of events, a quarter of that for each
    /// other stream; 30 s of `ack_wait`. Nothing that exists is kept as it is.
    pub const fn new(flow: &'static Flow, profile: Profile) -> Self {
        const GIB: u64 = 1 << 30;
        Self {
            flow,
            profile,
            max_bytes: GIB,
            parked_max_bytes: GIB / 4,
            kept_max_bytes: GIB / 4,
            ack_wait: Duration::from_secs(30),
            keep: Keep::NOTHING,
            keys: None,
        }
    }

    /// Whether a stream that exists keeps its size.
    pub(crate) fn keeps_bytes(&self, spec: &StreamSpec) -> bool {
        let is_parked = spec.name == parked_stream_name(self.flow);
        match (&spec.lives, spec.owner) {
            (Some(_), _) => true,
            (None, Some(_)) => self.keep.kept_max_bytes,
            (None, None) if is_parked => self.keep.parked_max_bytes,
            (None, None) => self.keep.max_bytes,
        }
    }

    /// The flow's stream first.
    pub fn streams(&self) -> Vec<StreamSpec> {
        let replicas = self.profile.replicas();
        let mut streams = vec![
            StreamSpec { max_bytes: self.max_bytes, replicas, ..flow_stream(self.flow) },
            StreamSpec { max_bytes: self.parked_max_bytes, replicas, ..parked_stream(self.flow) },
        ];
        streams.extend(self.flow.steps.iter().filter_map(kept_stream).map(|spec| StreamSpec {
            max_bytes: self.kept_max_bytes,
            replicas,
            ..spec
        }));
        streams
    }

    /// What all flows of an account share; the same for each of them, except for the copies.
    pub fn buckets(&self) -> Vec<StreamSpec> {
        buckets::specs(self.profile.replicas())
    }

    /// The durables of one worker; of every worker for `None`.
    pub fn durables(&self, worker: Option<&str>) -> Vec<DurableSpec> {
        let spec = |durable: crate::flow::Durable| DurableSpec {
            stream: durable.stream,
            name: durable.name,
            worker: durable.worker,
            role: durable.role,
            filters: durable.filters,
            ack_wait: match durable.role {
                // So that whoever takes over has the head at once.
                Role::Deadline(_) => self.ack_wait.min(DEADLINE_ACK_WAIT),
                _ => self.ack_wait,
            },
            max_in_flight: match durable.role {
                Role::Deadline(_) => 256,
                Role::Forward | Role::Released => 10_000,
                // What cannot be settled yet, such as a forged signal, stays in flight; the server
                // keeps some 100 bytes for each.
                Role::Undo | Role::Closing | Role::Cancel => 1_000_000,
            },
        };
        self.flow.durables(worker).into_iter().map(spec).collect()
    }
}

/// The stream that is the only source of truth: every slot once, for ever.
fn flow_stream(flow: &Flow) -> StreamSpec {
    StreamSpec {
        name: flow.stream.to_owned(),
        subjects: vec![flow.filter("*")],
        owner: None,
        keeps: Keeps::First,
        permanent: true,
        lives: None,
        atomic_publish: false,
        max_message_bytes: EVENT_BYTES,
        max_bytes: 0,
        replicas: 1,
    }
}

/// Name of the stream of parked messages.
pub fn parked_stream_name(flow: &Flow) -> String {
    flow.parked_stream()
}

fn parked_stream(flow: &Flow) -> StreamSpec {
    let subjects = ["parked", "released", "audit"];
    StreamSpec {
        name: parked_stream_name(flow),
        subjects: subjects.map(|first| format!("{first}.{}.*.*", flow.subjects)).into(),
        owner: None,
        keeps: Keeps::All,
        permanent: false,
        lives: None,
        atomic_publish: false,
        max_message_bytes: PARKED_BYTES,
        max_bytes: 0,
        replicas: 1,
    }
}

/// Refuses new data when it is full, because the oldest data must not make room for the newest.
fn kept_stream(step: &Row) -> Option<StreamSpec> {
    let kept = step.keeps?;
    Some(StreamSpec {
        name: kept.stream.to_owned(),
        subjects: kept.subjects.iter().map(|&subject| subject.to_owned()).collect(),
        owner: Some(step.worker),
        keeps: Keeps::Newest,
        permanent: true,
        lives: None,
        atomic_publish: true,
        max_message_bytes: EVENT_BYTES,
        max_bytes: 0,
        replicas: 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_names_its_streams_and_durables() {
        let topology = Topology::new(&schemas::order_fulfilment::FLOW, Profile::Cluster);
        let streams: Vec<_> =
            topology.streams().into_iter().map(|stream| (stream.name, stream.replicas)).collect();
        let expected = ["ORDERS", "ORDERS_PARKED", "STOCK"].map(|name| (name.to_owned(), 3));
        assert_eq!(streams, expected);
        let buckets: Vec<_> = topology.buckets().iter().map(StreamSpec::title).collect();
        assert_eq!(buckets, ["bucket breakers", "bucket attempts"]);
        let durables = topology.durables(Some("charge-customer"));
        let names: Vec<_> = durables.iter().map(|durable| durable.name.as_str()).collect();
        let expected = ["charge-customer", "charge-customer-undo", "charge-customer-released"];
        assert_eq!(names, expected);
    }

    #[test]
    fn profiles_are_named_everywhere_the_same() {
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse(), Ok(profile));
        }
        assert_eq!("prod".parse::<Profile>(), Err(UnknownProfile));
    }
}
