//! One test program for the crate; each module is one behaviour, its name a sentence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and drive real sockets and clocks"
)]

mod a_call_is_paid_exactly_once;
mod a_crash_ends_every_open_call;
mod a_key_sees_only_its_own;
mod store_fixture;
mod webhook_receiver;
mod webhooks_arrive_in_order_whatever_fails;
mod webhooks_never_reach_our_own_network;
