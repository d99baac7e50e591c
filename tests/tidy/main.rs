//! House rules that a machine can check. Each failure names the file, the line, and what to do.

mod tree;

mod hazards;
mod layers;
mod names;
mod text;
