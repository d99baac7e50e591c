//! The sandbox over real sockets. One binary for all of it, so that it links once.

mod carrier;
mod faults;
mod keys;
mod payment;
mod process;
mod quote;
mod support;
