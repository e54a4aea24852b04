//! One test program for the crate; each module is one behaviour, its name a sentence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod bounds_hold;
mod fuzz_seeds_stay_found;
mod messages_of_rfc_4475_end_as_it_says;
mod nobody_puts_a_header_into_a_message;
mod one_stream_gives_each_message_once;
mod random_operations_leave_nothing_over;
mod rsip_reads_the_same_where_it_can;
mod simulation;
mod twenty_percent_loss_each_way_and_both_ends_agree;
mod uris_compare_by_section_19_1_4;
mod values_read_as_the_rfcs_say;
mod what_is_written_reads_the_same;
