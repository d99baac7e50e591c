//! The durable consumers that follow from a flow table.

use super::{Flow, Row};

/// What a durable consumer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Runs the step.
    Forward,
    /// Takes the step's effect back.
    Undo,
    /// Closes a saga that was undone.
    Closing,
    /// Turns a saga around because a client asks for it.
    Cancel,
    /// Turns a saga around because its time is over, or that of the step it names. It reads the log
    /// one deadline behind the present, so that much is always left to deliver.
    Deadline(Option<&'static str>),
    /// Runs the step again on what it has parked, and asks again for a cancellation.
    Released,
}

/// One durable consumer of the flow's stream, or of the stream of parked messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// `book-hotel`, `book-hotel-undo`, `confirm-trip-closing`.
    pub name: String,
    /// `TRIPS`, or `TRIPS_PARKED`.
    pub stream: String,
    pub worker: &'static str,
    pub role: Role,
    /// Subject filters, never empty, and no two of them match one subject.
    pub filters: Vec<String>,
}

impl Flow {
    /// The durables of one worker; of every worker for `None`. Empty for a name that has no row.
    pub fn durables(&self, worker: Option<&str>) -> Vec<Durable> {
        let wanted = |step: &&Row| worker.is_none_or(|name| name == step.worker);
        self.steps.iter().filter(wanted).flat_map(|step| self.durables_of(step)).collect()
    }

    fn durables_of(&self, step: &'static Row) -> Vec<Durable> {
        let worker = step.worker;
        let durable = |suffix: &str, role, filters: Vec<String>| Durable {
            name: format!("{worker}{suffix}"),
            stream: match role {
                Role::Released => self.parked_stream(),
                Role::Forward | Role::Undo | Role::Closing | Role::Cancel | Role::Deadline(_) => {
                    self.stream.to_owned()
                }
            },
            worker,
            role,
            filters,
        };
        let mut durables = vec![durable("", Role::Forward, vec![self.filter(step.on)])];
        if step.undo.is_some() {
            let next = self.undone_before(worker).and_then(|next| next.undo);
            let slots = std::iter::once(self.turns.slot).chain(next.map(|undo| undo.slot));
            durables.push(durable(
                "-undo",
                Role::Undo,
                slots.map(|slot| self.filter(slot)).collect(),
            ));
        }
        if step.cancelled.is_some() {
            let first = self.undoable().next().and_then(|first| first.undo);
            let filters = first.map(|undo| self.filter(undo.slot)).into_iter().collect();
            durables.push(durable("-closing", Role::Closing, filters));
        }
        if let (Some(_), Some(_)) = (step.cancelled, step.within) {
            let filter = self.filter(self.opens.slot);
            durables.push(durable("-deadline", Role::Deadline(None), vec![filter]));
        }
        if step.cancelled.is_some() {
            durables.extend(self.undoable().filter(|timed| timed.within.is_some()).map(|timed| {
                let (role, filter) = (Role::Deadline(Some(timed.worker)), self.filter(timed.on));
                durable(&format!("-deadline-{}", timed.worker), role, vec![filter])
            }));
        }
        let mut released = vec![self.released_filter(worker)];
        if let Some(cancels) = step.cancels {
            let cancel = durable("-cancel", Role::Cancel, vec![self.filter(cancels.asked.slot)]);
            released.push(self.released_filter(&cancel.name));
            durables.push(cancel);
        }
        durables.push(durable("-released", Role::Released, released));
        durables
    }

    /// The filter that matches what comes back to `durable`: `released.trips.book-hotel.*`.
    fn released_filter(&self, durable: &str) -> String {
        format!("released.{}.{durable}.*", self.subjects)
    }
}
