//! One test program for the crate; each module is one behaviour, its name a sentence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, in its helpers too"
)]

mod a_branch_left_by_timer_b_is_still_ended;
mod a_call_that_comes_in_rings_and_is_accepted_or_refused;
mod a_client_of_rfc_2543_is_served;
mod a_new_invite_lets_a_hang_up_go_that_waits_for_the_ack;
mod a_request_too_large_for_udp_goes_over_tcp;
mod a_response_to_another_request_is_not_the_calls;
mod a_trunk_stays_registered;
mod an_ack_waits_until_its_owner_has_noted_the_answer;
mod an_answered_call_is_acked_and_ended_by_either_side;
mod an_invite_that_cannot_be_sent_is_refused_by_name;
mod bounds_hold;
mod calls_go_over_tcp_and_tls;
mod cancel_waits_for_a_provisional;
mod challenges_are_answered_within_their_dialog;
mod connections_are_used_while_they_live;
mod credentials_go_to_the_trunk_alone;
mod crossing_byes_both_get_answers;
mod digest;
mod digits_by_info_are_told_and_other_bodies_refused;
mod each_repeated_200_gets_its_ack;
mod fuzz_seeds_stay_found;
mod ladder;
mod late_200_after_cancel_gets_ack_and_bye;
mod legs_left_by_a_crash_are_cancelled_or_hung_up;
mod messages_of_rfc_4475_end_as_it_says;
mod nobody_puts_a_header_into_a_message;
mod offers_of_the_far_end_are_answered_one_at_a_time;
mod one_stream_gives_each_message_once;
mod options_ask_whether_a_trunk_is_there;
mod provisionals_are_reliable_where_asked;
mod random_operations_leave_nothing_over;
mod refusals_are_acked_as_often_as_they_come;
mod requests_from_strangers_get_one_small_answer_and_leave_nothing;
mod requests_in_a_dialog_follow_the_record_route;
mod requests_that_cannot_be_served_are_refused_by_name;
mod rsip_reads_the_same_where_it_can;
mod sessions_are_refreshed_or_end;
mod simulation;
mod slow_and_greedy_connections_harm_nobody;
mod the_driver_carries_calls_over_loopback;
mod the_first_forked_200_wins_and_the_others_get_ack_and_bye;
mod twenty_percent_loss_each_way_and_both_ends_agree;
mod uris_compare_by_section_19_1_4;
mod values_read_as_the_rfcs_say;
mod what_is_written_reads_the_same;
