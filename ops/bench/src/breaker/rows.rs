//! The rows: what goes wrong, for whom, for how long, and what it may cost.
//!
//! Each length has two values, of the default form and of `--full`. In the default form a
//! ten-minute outage takes one minute; the breaker's own times stay what they are. The rates are a
//! quarter to a half of the model's, because two cores have to carry several rows at once.

use std::time::Duration;

use super::door::Mode;

/// Replicas of the step under test, but for the row with one.
pub(crate) const REPLICAS: usize = 8;
/// Calls that each replica may have in flight.
pub(crate) const CONCURRENCY: usize = 8;

/// How long the outages last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A few seconds: only shows that everything runs.
    Quick,
    /// One minute for ten.
    Short,
    Full,
}

impl Form {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Short => "one minute for ten",
            Self::Full => "whole",
        }
    }
}

/// The longest trouble of a quick run, in seconds.
const QUICK: u64 = 15;

/// One of the two forms' values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Of<T> {
    short: T,
    full: T,
}

impl<T: Copy> Of<T> {
    pub(crate) fn get(self, form: Form) -> T {
        match form {
            Form::Quick | Form::Short => self.short,
            Form::Full => self.full,
        }
    }
}

const fn of<T>(short: T, full: T) -> Of<T> {
    Of { short, full }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) replicas: usize,
    /// Orders a second.
    pub(crate) rate: Of<f64>,
    /// Orders that wait before the replicas start.
    pub(crate) backlog: Of<usize>,
    /// Seconds that the trouble lasts.
    pub(crate) seconds: Of<u64>,
    pub(crate) trouble: Trouble,
    pub(crate) odd: Odd,
    pub(crate) turn: Turn,
    pub(crate) pause: Pause,
}

/// What goes wrong with the gateway, or on the way to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Trouble {
    Nothing,
    /// Every request is answered 500.
    Errors,
    /// No request is answered.
    Hang,
    /// The doors of the first so many replicas.
    Doors(usize, Mode),
    /// This share of calls fails, whichever they are.
    Random(f64),
    /// Down and up in turn, so many seconds each.
    Flapping(u64),
    /// Each call takes so many times as long.
    Slow(u64),
}

/// Orders whose card the gateway fails for, each time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Odd {
    None,
    /// One of so many.
    Every(usize),
    /// The tenth order gets 403, the twentieth 429.
    Two,
}

/// What else happens while it lasts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Turn {
    None,
    /// The replica that probes is killed, twice, each time while its call is under way.
    ProberKilled,
    ServerKilled,
    WorkersKilled,
    /// No more orders come soon after it began.
    NoMoreOrders,
    /// All replicas lose their connections to the server in a pause.
    Reconnect,
    /// All replicas are told to stop in a pause, and started again.
    Drain,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pause {
    Must,
    May,
    /// Because replicas are answered.
    Never,
}

const PLAIN: Row = Row {
    name: "",
    replicas: REPLICAS,
    rate: of(25.0, 50.0),
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

/// The first orders, before anything goes wrong.
pub(crate) const WARM_UP: Duration = Duration::from_secs(5);
impl Row {
    pub(crate) fn lasts(&self, form: Form) -> Duration {
        let seconds = self.seconds.get(form);
        Duration::from_secs(if form == Form::Quick { seconds.min(QUICK) } else { seconds })
    }

    /// How long orders go on coming afterwards: where some replicas were cut off, until each of them
    /// has made a single try, because without calls nobody can tell that it is answered again.
    pub(crate) fn after(&self) -> Duration {
        match self.trouble {
            Trouble::Random(_) => Duration::ZERO,
            Trouble::Doors(count, _) if count < self.replicas => Duration::from_secs(20),
            _ => Duration::from_secs(5),
        }
    }

    /// How long what waits may take to be answered afterwards.
    pub(crate) fn patience(&self, form: Form) -> Duration {
        match self.trouble {
            // Their goodput is what is answered in time.
            Trouble::Random(_) => Duration::ZERO,
            Trouble::Nothing => Duration::from_secs(5),
            _ => Duration::from_secs(if form == Form::Full { 240 } else { 40 }),
        }
    }

    /// A guess, for the order of the rows and for the time that is left.
    pub(crate) fn expected(&self, form: Form) -> Duration {
        let catching_up = self.patience(form).min(Duration::from_secs(10));
        self.lasts(form) + WARM_UP + self.after() + catching_up + Duration::from_secs(5)
    }

    /// How much of the machine it takes: one is as many orders a second as most rows have.
    pub(crate) fn weight(&self, form: Form) -> u32 {
        (self.rate.get(form) / PLAIN.rate.get(form)).ceil().max(1.0) as u32
    }

    /// Whether calls are lost to it that somebody could have known to be lost.
    pub(crate) fn wastes(&self) -> bool {
        match self.trouble {
            Trouble::Errors | Trouble::Hang | Trouble::Doors(..) | Trouble::Flapping(_) => true,
            Trouble::Nothing | Trouble::Random(_) | Trouble::Slow(_) => false,
        }
    }

    /// Whether nobody is answered while it lasts, so that there is a first answer afterwards.
    pub(crate) fn is_outage(&self) -> bool {
        match self.trouble {
            Trouble::Errors | Trouble::Hang => true,
            Trouble::Doors(count, _) => count == self.replicas,
            Trouble::Nothing | Trouble::Random(_) | Trouble::Flapping(_) | Trouble::Slow(_) => {
                false
            }
        }
    }

    /// How often nobody is answered.
    pub(crate) fn outages(&self, form: Form) -> u64 {
        match self.trouble {
            Trouble::Flapping(each) => self.lasts(form).as_secs().div_ceil(2 * each),
            _ => 1,
        }
    }

    /// Whether holding messages is enough to lose no delivery: no process died or gave back what
    /// it had, and no other replica could have done better.
    pub(crate) fn holds_suffice(&self) -> bool {
        let died = match self.turn {
            Turn::ProberKilled | Turn::WorkersKilled | Turn::Drain => true,
            Turn::None | Turn::ServerKilled | Turn::NoMoreOrders | Turn::Reconnect => false,
        };
        let gives_back = match self.trouble {
            Trouble::Doors(count, _) => count < self.replicas,
            // More is held than there is room for.
            Trouble::Random(share) => share > 0.7,
            Trouble::Nothing
            | Trouble::Errors
            | Trouble::Hang
            | Trouble::Flapping(_)
            | Trouble::Slow(_) => false,
        };
        !died && !gives_back
    }

    /// Only a fleet that pauses has a prober, or a pause in which something can happen.
    pub(crate) fn needs_a_fleet(&self) -> bool {
        matches!(self.turn, Turn::ProberKilled | Turn::Reconnect | Turn::Drain)
    }

    /// The card of order `number`, if it is one that always fails.
    pub(crate) fn card(&self, number: usize) -> Option<&'static str> {
        match (self.odd, number) {
            (Odd::Every(every), _) => (number % every == every - 1).then_some("pm_card_broken500"),
            (Odd::Two, 10) => Some("pm_card_broken403"),
            (Odd::Two, 20) => Some("pm_card_broken429"),
            (Odd::Two | Odd::None, _) => None,
        }
    }
}
