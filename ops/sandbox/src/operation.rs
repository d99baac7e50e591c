//! The services and what a client may ask of them: the words of `/calls` and `/faults`.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Service {
    Payment,
    Carrier,
    Quote,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Operation {
    Create,
    Confirm,
    Cancel,
    Refund,
    Search,
    /// One intent by its id.
    Retrieve,
    /// The refunds of one intent.
    Refunds,
    Label,
    /// One label by the key it was bought under.
    Lookup,
    /// The cheapest rate for a parcel.
    Rates,
}

impl Service {
    pub(crate) const ALL: [Self; 3] = [Self::Payment, Self::Carrier, Self::Quote];
}

impl Operation {
    pub(crate) const ALL: [Self; 10] = [
        Self::Create,
        Self::Confirm,
        Self::Cancel,
        Self::Refund,
        Self::Search,
        Self::Retrieve,
        Self::Refunds,
        Self::Label,
        Self::Lookup,
        Self::Rates,
    ];

    pub(crate) fn service(self) -> Service {
        match self {
            Self::Create
            | Self::Confirm
            | Self::Cancel
            | Self::Refund
            | Self::Search
            | Self::Retrieve
            | Self::Refunds => Service::Payment,
            Self::Label | Self::Lookup => Service::Carrier,
            Self::Rates => Service::Quote,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Confirm => "confirm",
            Self::Cancel => "cancel",
            Self::Refund => "refund",
            Self::Search => "search",
            Self::Retrieve => "retrieve",
            Self::Refunds => "refunds",
            Self::Label => "label",
            Self::Lookup => "lookup",
            Self::Rates => "rates",
        }
    }
}
