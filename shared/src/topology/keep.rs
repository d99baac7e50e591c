//! What an operator has not asked to change.

/// What stays as it is if it exists already, because the operator has not asked for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// Copies of a stream; a stream that is missing gets as many as the flow's has.
    pub replicas: bool,
    /// Of a durable.
    pub ack_wait: bool,
    /// Sizes, of whichever stream they are: of the flow's, of the parked messages', of each that a
    /// worker keeps for itself. Those of buckets are always kept.
    pub max_bytes: bool,
    pub parked_max_bytes: bool,
    pub kept_max_bytes: bool,
}

impl Keep {
    /// Nothing that exists is changed unless the flow demands it.
    pub const ALL: Self = Self {
        replicas: true,
        ack_wait: true,
        max_bytes: true,
        parked_max_bytes: true,
        kept_max_bytes: true,
    };
    pub const NOTHING: Self = Self {
        replicas: false,
        ack_wait: false,
        max_bytes: false,
        parked_max_bytes: false,
        kept_max_bytes: false,
    };
}
