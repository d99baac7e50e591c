//! The operations, as data: one table for the routes, the micro service and the OpenAPI document.

use crate::list;
use crate::question::Parameter;
use crate::view::View;

/// One thing that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    List,
    Get,
    Why,
    Payload,
    Find,
    Counts,
    Steps,
    Flow,
    Held,
    Stock,
    Projections,
    Changes,
    Rebuild,
}

const MIN_SEQ: Parameter = Parameter {
    name: "min_seq",
    about: "Answer from rows of this place of the log or a later one: a token, or a sequence of \
            the present log",
    example: "4711",
};
const WAIT: Parameter =
    Parameter { name: "wait", about: "How long to wait for min_seq, at most", example: "2s" };
const ID: Parameter = Parameter { name: "id", about: "Its id", example: "A123" };

impl Operation {
    pub(crate) const ALL: [Self; 13] = [
        Self::List,
        Self::Get,
        Self::Why,
        Self::Payload,
        Self::Find,
        Self::Counts,
        Self::Steps,
        Self::Flow,
        Self::Held,
        Self::Stock,
        Self::Projections,
        Self::Changes,
        Self::Rebuild,
    ];

    /// The last token of the subject.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Get => "get",
            Self::Why => "why",
            Self::Payload => "payload",
            Self::Find => "find",
            Self::Counts => "counts",
            Self::Steps => "steps",
            Self::Flow => "flow",
            Self::Held => "held",
            Self::Stock => "stock",
            Self::Projections => "projections",
            Self::Changes => "changes",
            Self::Rebuild => "rebuild",
        }
    }

    /// The path over HTTP, with `{…}` for what the path itself says; `None` for what is asked over
    /// NATS only: what changes something, and what an `EventSource` does better.
    pub(crate) fn path(self, view: &View) -> Option<String> {
        let many = view.many;
        match self {
            Self::List => Some(format!("/{many}")),
            Self::Get => Some(format!("/{many}/{{id}}")),
            Self::Why => Some(format!("/{many}/{{id}}/why")),
            Self::Payload => Some(format!("/{many}/{{id}}/events/{{sequence}}")),
            Self::Find
            | Self::Counts
            | Self::Steps
            | Self::Flow
            | Self::Held
            | Self::Projections => Some(format!("/{}", self.name())),
            Self::Stock => view.stock.then(|| "/stock".to_owned()),
            Self::Changes | Self::Rebuild => None,
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::List => "A list, filtered, page by page",
            Self::Get => "The whole story of one, but for the payloads of its events",
            Self::Why => "Why one waits: a code, a sentence, what happens next, what can be done",
            Self::Payload => "One event as the log has it",
            Self::Find => {
                "Finds by id, reference, event id, trace or sequence, or what they begin \
                           with"
            }
            Self::Counts => "How many stand where",
            Self::Steps => "What each step decides, how long it takes, and who waits for it",
            Self::Flow => {
                "The flow as it runs now: rate, what waits, what fails, who takes it, pauses"
            }
            Self::Held => {
                "What the workers have in hand now: each attempt, its last error, its next try"
            }
            Self::Stock => "What is in stock",
            Self::Projections => "How far this replica's rows are",
            Self::Changes => "What happened after a place in the log; waits if nothing did",
            Self::Rebuild => "Builds this replica's rows anew, beside those that serve",
        }
    }

    pub(crate) fn parameters(self, view: &View) -> Vec<Parameter> {
        let mut parameters = match self {
            Self::List => list::parameters(view),
            Self::Get => vec![
                ID,
                Parameter {
                    name: "at",
                    about: "As of this earlier place in the log: a token, or a sequence",
                    example: "4711",
                },
            ],
            Self::Why => vec![ID],
            Self::Payload => vec![
                ID,
                Parameter { name: "sequence", about: "Of the event, in the log", example: "4711" },
            ],
            Self::Find => {
                vec![Parameter { name: "q", about: "What to look for", example: "A123" }]
            }
            Self::Steps => vec![Parameter {
                name: "window",
                about: "The time to look back, up to 1h",
                example: "60s",
            }],
            Self::Held => vec![
                Parameter { name: "id", about: "Only of this one", example: "A123" },
                list::HELD,
            ],
            Self::Stock => vec![Parameter {
                name: "sku",
                about: "What to show, several separated by commas; without it, all",
                example: "ROSE-RED",
            }],
            Self::Changes => vec![
                Parameter {
                    name: "after",
                    about: "The token of the last answer; without it, now",
                    example: "4711",
                },
                Parameter { name: "limit", about: "1 to 1000", example: "200" },
                WAIT,
            ],
            Self::Counts | Self::Flow | Self::Projections | Self::Rebuild => Vec::new(),
        };
        if self.reads_rows() {
            parameters.extend([MIN_SEQ, WAIT]);
        }
        parameters
    }

    /// Whether a browser that opens its path gets the page.
    pub(crate) fn is_a_document(self) -> bool {
        match self {
            Self::List | Self::Get | Self::Payload | Self::Find => true,
            Self::Why | Self::Counts | Self::Steps | Self::Flow | Self::Held | Self::Stock => false,
            Self::Projections | Self::Changes | Self::Rebuild => false,
        }
    }

    /// Whether the answer is of a place that a caller may have to wait for.
    pub(crate) fn reads_rows(self) -> bool {
        match self {
            Self::List | Self::Get | Self::Find | Self::Counts | Self::Steps => true,
            Self::Why
            | Self::Payload
            | Self::Flow
            | Self::Held
            | Self::Stock
            | Self::Projections
            | Self::Changes
            | Self::Rebuild => false,
        }
    }
}
