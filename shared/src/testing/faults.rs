//! One fault at one call to the outside world: the way a law makes a scripted fake fail.
//!
//! A fake passes everything it does through [`Faults::call`]. A fault before the call is a lost
//! request; a fault after it is a lost answer: the effect has happened, and the caller does not
//! know.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

/// Where in a call the fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The request is lost.
    Before,
    /// The answer is lost.
    After,
}

/// A call that failed because a test wanted it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this call was made to fail")]
pub struct Injected;

/// The line to the outside world; clones share the line and its count of calls.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Line>);

#[derive(Debug, Default)]
struct Line {
    script: Mutex<Script>,
    paused: Notify,
    resumed: Notify,
}

#[derive(Debug, Default)]
struct Script {
    calls: u32,
    fault: Option<(u32, When, Fault)>,
    struck: bool,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Fail,
    Pause,
}

impl Faults {
    /// A line that works.
    pub fn none() -> Self {
        Self::default()
    }

    /// The `call`-th call (from 1) fails.
    pub fn failing(call: u32, when: When) -> Self {
        Self::with((call, when, Fault::Fail))
    }

    /// The `call`-th call (from 1) stops there until [`Faults::resume`]; others pass it by.
    pub fn pausing(call: u32, when: When) -> Self {
        Self::with((call, when, Fault::Pause))
    }

    fn with(fault: (u32, When, Fault)) -> Self {
        let script = Mutex::new(Script { fault: Some(fault), ..Script::default() });
        Self(Arc::new(Line { script, ..Line::default() }))
    }

    /// Lets `act` happen in the outside world, or fails around it.
    ///
    /// # Errors
    /// [`Injected`] at the call that is to fail; `act` has happened if it fails after.
    pub async fn call<T>(&self, act: impl FnOnce() -> T) -> Result<T, Injected> {
        let call = {
            let mut script = self.script();
            script.calls += 1;
            script.calls
        };
        self.strike(call, When::Before).await?;
        let done = act();
        self.strike(call, When::After).await?;
        Ok(done)
    }

    async fn strike(&self, call: u32, when: When) -> Result<(), Injected> {
        let fault = {
            let mut script = self.script();
            match script.fault {
                Some((at, then, fault)) if at == call && then == when => {
                    script.struck = true;
                    fault
                }
                Some(_) | None => return Ok(()),
            }
        };
        match fault {
            Fault::Fail => Err(Injected),
            Fault::Pause => {
                self.0.paused.notify_one();
                self.0.resumed.notified().await;
                Ok(())
            }
        }
    }

    /// Whether the fault has struck yet.
    pub fn struck(&self) -> bool {
        self.script().struck
    }

    /// Waits until a call has paused.
    pub async fn paused(&self) {
        self.0.paused.notified().await;
    }

    /// Lets the paused call go on; may be called before it pauses.
    pub fn resume(&self) {
        self.0.resumed.notify_one();
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().expect("no code panics while it holds the lock")
    }
}
