//! The rows, in the order of the report.
//!
//! Each length has two values, of the default form and of `--full`. In the default form a
//! ten-minute outage takes one minute; the breaker's own times stay what they are.

use super::door::Mode;
use super::row::{Odd, Pause, REPLICAS, Row, Trouble, Turn, USUAL_RATE, of};

const PLAIN: Row = Row {
    name: "",
    replicas: REPLICAS,
    rate: USUAL_RATE,
    backlog: of(0, 0),
    seconds: of(60, 600),
    trouble: Trouble::Errors,
    odd: Odd::None,
    turn: Turn::None,
    pause: Pause::Must,
};

/// As many of the replicas have no egress.
const fn sick(name: &'static str, count: usize, mode: Mode) -> Row {
    let trouble = Trouble::Doors(count, mode);
    Row { name, seconds: of(60, 300), trouble, pause: Pause::Never, ..PLAIN }
}

const fn random(name: &'static str, share: f64) -> Row {
    let trouble = Trouble::Random(share);
    let (rate, seconds) = (of(50.0, 100.0), of(40, 200));
    Row { name, rate, seconds, trouble, pause: Pause::Never, ..PLAIN }
}

/// Something happens in the middle of an outage.
const fn amid(name: &'static str, turn: Turn) -> Row {
    Row { name, seconds: of(50, 120), turn, ..PLAIN }
}

pub(crate) const ROWS: &[Row] = &[
    Row { name: "500s", ..PLAIN },
    Row { name: "black-hole", trouble: Trouble::Hang, ..PLAIN },
    Row { name: "refused", trouble: Trouble::Doors(REPLICAS, Mode::Shut), ..PLAIN },
    Row { name: "500s-backlog", rate: of(0.0, 0.0), backlog: of(4_000, 20_000), ..PLAIN },
    sick("1-of-8", 1, Mode::Cut),
    sick("3-of-8", 3, Mode::Cut),
    sick("7-of-8", 7, Mode::Cut),
    sick("zone-of-three", 3, Mode::Hole),
    random("errors-20", 0.2),
    random("errors-50", 0.5),
    random("errors-80", 0.8),
    Row {
        name: "poison-1-in-1000",
        rate: of(50.0, 100.0),
        seconds: of(60, 300),
        trouble: Trouble::Nothing,
        odd: Odd::Every(1_000),
        pause: Pause::Never,
        ..PLAIN
    },
    Row {
        name: "poison-20-percent",
        trouble: Trouble::Nothing,
        odd: Odd::Every(5),
        pause: Pause::Never,
        ..PLAIN
    },
    Row {
        name: "flapping",
        trouble: Trouble::Flapping(15),
        seconds: of(60, 180),
        pause: Pause::May,
        ..PLAIN
    },
    Row {
        name: "slow-20",
        trouble: Trouble::Slow(20),
        seconds: of(45, 180),
        pause: Pause::Never,
        ..PLAIN
    },
    Row {
        name: "one-a-minute",
        rate: of(0.2, 1.0 / 60.0),
        seconds: of(90, 1_200),
        pause: Pause::May,
        ..PLAIN
    },
    Row { name: "one-replica", replicas: 1, seconds: of(60, 300), ..PLAIN },
    Row { trouble: Trouble::Hang, ..amid("prober-killed", Turn::ProberKilled) },
    amid("server-killed", Turn::ServerKilled),
    amid("workers-killed", Turn::WorkersKilled),
    amid("empty-queue", Turn::NoMoreOrders),
    Row { trouble: Trouble::Doors(REPLICAS, Mode::Edge), ..amid("edge-400", Turn::None) },
    Row {
        name: "403-and-429",
        trouble: Trouble::Nothing,
        odd: Odd::Two,
        seconds: of(45, 120),
        pause: Pause::Never,
        ..PLAIN
    },
    amid("reconnect", Turn::Reconnect),
    amid("drain", Turn::Drain),
];
