//! Whether the process is to stop, and why: a value that is passed on, never a global.

use tokio::sync::watch;

/// Why a worker stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A signal asked for it: finish what is in hand.
    Asked,
    /// The time to finish is over: give back what is in hand.
    LetGo,
    /// Something is wrong with the broker's streams or with us: let go of everything at once.
    Halt(String),
}

/// The side that asks the process to stop.
#[derive(Debug, Clone)]
pub(crate) struct Stopper(watch::Sender<Option<Stop>>);

/// The side that hears it.
#[derive(Debug, Clone)]
pub(crate) struct Shutdown(watch::Receiver<Option<Stop>>);

pub(crate) fn shutdown() -> (Stopper, Shutdown) {
    let (sender, receiver) = watch::channel(None);
    (Stopper(sender), Shutdown(receiver))
}

impl Stopper {
    /// A stop can only become more urgent; the first `Halt` is kept.
    pub(crate) fn stop(&self, stop: Stop) {
        self.0.send_if_modified(|current| {
            let more_urgent = match (&*current, &stop) {
                (None, _) | (Some(Stop::Asked), Stop::LetGo) => true,
                (Some(Stop::Asked | Stop::LetGo), Stop::Halt(_)) => true,
                (Some(_), _) => false,
            };
            if more_urgent {
                *current = Some(stop);
            }
            more_urgent
        });
    }
}

impl Shutdown {
    /// Resolves once the process is to stop.
    pub(crate) async fn asked(&mut self) -> Stop {
        match self.0.wait_for(Option::is_some).await {
            Ok(stop) => stop.clone().unwrap_or(Stop::Asked),
            Err(_) => Stop::Asked,
        }
    }

    /// Resolves once the process must let go of everything.
    pub(crate) async fn let_go(&mut self) -> Stop {
        let gone = |stop: &Option<Stop>| matches!(stop, Some(Stop::LetGo | Stop::Halt(_)));
        match self.0.wait_for(gone).await {
            Ok(stop) => stop.clone().unwrap_or(Stop::LetGo),
            Err(_) => Stop::LetGo,
        }
    }
}
