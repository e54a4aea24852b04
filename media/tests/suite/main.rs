//! One test program for the crate; each module is one behaviour, its name a sentence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "only the clock makes an Instant: it is the zero of a test's own time"
)]

mod a_recording_begun_in_mid_call_has_what_came_since;
mod a_sound_file_is_decoded_once_and_shared;
mod amd_classic_mode_is_exact_to_the_frame;
mod sdp_answers_take_one_stream_and_mirror_the_offer;
mod sdp_hold_resume_and_change_follow_the_peer;
mod sdp_offers_and_their_answers_settle_the_session;
mod sdp_parsing_never_panics;
mod sdp_support;
mod seeds_of_the_fuzzers_never_panic;
mod sound_files_of_every_kind_play_at_8_khz_mono;
mod vendor_bodies_of_the_testkit_are_answered_as_expected;

mod a_thousand_calls_leave_nothing_behind;
mod an_answered_call_sends_without_a_pause_and_hears_its_peer;
mod recordings_are_true_on_disk_whatever_the_disk_does;

mod a_digit_is_heard_once_whatever_the_network_does;
mod both_sides_of_a_recording_stay_on_the_wall_clock;
mod hold_silences_us_and_the_watchdog;
mod jitter_loss_and_drift_leave_every_frame_in_its_place;
mod keys_come_and_go_as_tones;
mod reports_tell_loss_jitter_and_round_trip;
mod session_support;
mod strangers_are_neither_heard_nor_recorded;
mod the_answer_starts_recording_and_detection;
mod what_is_played_is_recorded_by_the_peer_at_its_level;
mod what_we_send_is_one_line_of_time_whatever_plays;
mod whatever_comes_the_session_lives_on;
