//! The order saga as processes on a real server, and what no crash, pause or repetition may break.

mod crash;
mod orders;
mod replicas;
mod zombie;
