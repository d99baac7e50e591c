//! The order saga as processes on a real server, and what must hold after any crash, pause or
//! repetition.

mod crash;
mod imports;
mod orders;
mod quotes;
mod replicas;
mod shelf;
mod zombie;
