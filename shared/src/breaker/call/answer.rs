//! What a call with a fallback is made of, and what it gives back.

use crate::breaker::class::Class;

/// A call that changes nothing: its fallback is always safe.
#[derive(Debug)]
pub struct Read<Call>(pub Call);

/// A call that may have changed something although no answer came.
///
/// ```compile_fail
/// # use quadrille::breaker::call::{Breaker, Write};
/// # use quadrille::breaker::class::{Class, Classified};
/// # #[derive(Debug)] struct Lost;
/// # impl Classified for Lost { fn class(&self) -> Class { Class::Failed } }
/// fn charge() -> Write<impl Future<Output = Result<u32, Lost>>> {
///     Write(async { Err(Lost) })
/// }
/// # async fn wrong(breaker: &Breaker) {
/// // Perhaps it was charged: "use this instead" would be a lie.
/// let _ = breaker.call(charge).or_else(|| async { Ok::<_, Lost>(0) }).await;
/// # }
/// ```
///
/// Nothing was charged if nothing was sent, and of a read all of this is true:
///
/// ```
/// # use quadrille::breaker::call::{Breaker, Read, Write};
/// # use quadrille::breaker::class::{Class, Classified};
/// # #[derive(Debug)] struct Lost;
/// # impl Classified for Lost { fn class(&self) -> Class { Class::Failed } }
/// fn charge() -> Write<impl Future<Output = Result<u32, Lost>>> {
///     Write(async { Err(Lost) })
/// }
/// fn quote() -> Read<impl Future<Output = Result<u32, Lost>>> {
///     Read(async { Err(Lost) })
/// }
/// # async fn right(breaker: &Breaker) {
/// let _ = breaker.call(charge).or_else_if_not_sent(|| async { Ok::<_, Lost>(0) }).await;
/// let _ = breaker.call(quote).or_else(|| async { Ok::<_, Lost>(0) }).await;
/// # }
/// ```
#[derive(Debug)]
pub struct Write<Call>(pub Call);

/// An answer, and where it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<T> {
    Fresh(T),
    /// The event that is made of it says `degraded: true`.
    Fallback(T, Reason),
}

/// Why a fallback was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There were no answers lately; the call was not made.
    Doubting,
    /// All slots are taken, or the service asked to be left alone; the call was not made.
    Full,
    Busy,
    NotSent,
    Failed,
    /// The service said no, or that the request is wrong. Only a caller that asks for it falls back
    /// on this.
    Refused,
}

impl Reason {
    pub const ALL: [Self; 6] =
        [Self::Doubting, Self::Full, Self::Busy, Self::NotSent, Self::Failed, Self::Refused];

    /// For a metric's label: lower case, with dashes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Doubting => "doubting",
            Self::Full => "full",
            Self::Busy => "busy",
            Self::NotSent => "not-sent",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

/// What a breaker tells its listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A fallback answered.
    FellBack(Reason),
    /// The one just told was the first for a while.
    Began(Reason),
    /// A fresh answer came, and there was no fallback for a while.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError<E> {
    /// What the call came to; the fallback failed too, or could not help.
    #[error("the call failed")]
    Call(#[source] E),
    /// The call was not made, and the fallback failed.
    #[error("the call was not made, and its fallback failed: {0:?}")]
    NotCalled(Reason),
}

/// Why to fall back; not for trouble of our own.
pub(super) fn reason(class: Class) -> Option<Reason> {
    match class {
        Class::NotSent => Some(Reason::NotSent),
        Class::Failed | Class::Credentials => Some(Reason::Failed),
        Class::Busy(_) | Class::Undecided => Some(Reason::Busy),
        Class::Answered | Class::Bad => Some(Reason::Refused),
        Class::Local => None,
    }
}
