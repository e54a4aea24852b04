//! The `kaphila` program.
#![forbid(unsafe_code)]

fn main() {}
