//! One test program for the crate; each module is one behaviour, its name a sentence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod random_operations_leave_nothing_over;
mod simulation;
mod twenty_percent_loss_each_way_and_both_ends_agree;
