//! One test program for the crate; each module is one behaviour, its name a sentence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and drive real sockets and clocks"
)]

mod a_backup_is_taken_and_put_back;
mod a_busy_callee_ends_the_call_and_releases_the_hold;
mod a_call_is_answered_prompted_gathered_recorded_and_hung_up;
mod a_call_is_paid_exactly_once;
mod a_crash_ends_every_open_call;
mod a_dead_trunk_or_callee_ends_a_call_in_time;
mod a_full_disk_ends_a_recording_and_not_its_call;
mod a_hang_up_while_ringing_cancels_and_charges_nothing;
mod a_key_sees_only_its_own;
mod a_killed_server_accounts_for_every_call;
mod a_locked_database_delays_rows_and_no_call;
mod a_rate_limit_is_exact;
mod a_repeated_request_gets_the_first_answer;
mod a_revoked_or_replaced_secret_dies_in_time;
mod a_shutdown_accounts_for_every_call;
mod a_trunk_that_fails_is_followed_by_the_next_one;
mod an_access_token_is_asked_for_once;
mod an_answered_call_without_rtp_ends_by_the_watchdog;
mod another_key_sees_nothing_on_any_route;
mod bad_requests_are_refused_by_name;
mod calls_that_died_with_the_process_are_ended_at_the_next_start;
mod clients_of_the_contract_work;
mod customers_of_another_service_are_taken_over;
mod dashboards_count_every_call_once;
mod dead_letters_are_listed_and_sent_again;
mod dependencies_point_one_way;
mod each_limit_of_a_key_and_a_trunk_holds;
mod each_promise_has_its_test;
mod every_act_is_in_the_audit;
mod every_answer_is_hardened_and_every_request_logged;
mod every_example_of_the_contract_holds;
mod https_is_served_and_renewed;
mod metrics_read_as_prometheus_reads_them;
mod no_secret_is_in_a_log;
mod numbers_belong_to_keys;
mod one_text_silences_google_for_no_other;
mod peers;
mod rubbish_on_every_port_harms_no_call;
mod sigterm_lets_calls_end_and_accounts_for_each;
mod slow_and_greedy_clients_harm_nobody;
mod speech_comes_from_google_or_else_from_here;
mod store_fixture;
mod support;
mod the_command_line_does_what_it_says;
mod the_database_is_away_and_nothing_of_a_live_call_is_lost;
mod the_far_end_holds_resumes_and_sends_digits_by_info;
mod the_journal_keeps_what_the_database_does_not_take;
mod the_openapi_document_is_what_is_answered;
mod webhook_receiver;
mod webhooks_arrive_in_order_whatever_fails;
mod webhooks_never_reach_our_own_network;
mod what_customers_write_stays_in_its_place;
mod what_is_old_goes_in_time;
