//! The machine, read as ladders: what happens, and what is to be done.
#![allow(clippy::disallowed_methods, reason = "a virtual clock begins somewhere")]

mod dialling;
mod ending;
mod failing_over;
mod gathering;
mod ladder;
mod receiving;
mod talking;
