//! What a row is: what goes wrong, for whom, for how long, and what it may cost.

use std::time::Duration;

use super::door::Mode;

/// Replicas of the step under test, but for the row with one.
pub(crate) const REPLICAS: usize = 8;
/// Calls that each replica may have in flight.
pub(crate) const CONCURRENCY: usize = 8;
/// Orders a second, where nothing else is wanted: a quarter and a half of the model's, because two
/// cores have to carry several rows at once.
pub(super) const USUAL_RATE: Of<f64> = of(25.0, 50.0);

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

pub(super) const fn of<T>(short: T, full: T) -> Of<T> {
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

/// The first orders, before anything goes wrong.
pub(crate) const WARM_UP: Duration = Duration::from_secs(5);
impl Row {
    pub(crate) fn lasts(&self, form: Form) -> Duration {
        let seconds = self.seconds.get(form);
        Duration::from_secs(if form == Form::Quick { seconds.min(QUICK) } else { seconds })
    }

    /// How long orders go on coming afterwards: where some replicas were cut off, until each of
    /// them has made a single try, because without calls nobody can tell that it is answered again.
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
        (self.rate.get(form) / USUAL_RATE.get(form)).ceil().max(1.0) as u32
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
