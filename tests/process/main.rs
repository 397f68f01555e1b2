//! Proof on real processes: `hence serve` under kill -9, restarts, pauses, cuts and bad input.
//!
//! Every test runs in a child of this binary with a network namespace of its own. So each has the addresses 127.0.0.2,
//! .3, .4 port 8090 to itself. Packet filters cut links for real, and nothing outlives the child. Where a namespace
//! cannot be had, the tests that need one are reported as ignored. The rest runs one at a time on the plain loopback.
//! `process/driver.rs` says which test runs when.

mod access;
mod addresses;
mod bad_batches;
mod bad_input;
mod bad_lists;
mod bad_metadata;
mod bounds;
mod browsers;
mod budgets;
mod causes;
mod chaos;
mod client;
mod client_bulk;
mod client_exports;
mod client_files;
mod client_large;
mod client_signals;
mod cluster;
mod collected;
mod command;
mod compose;
mod concern;
mod contract;
mod cut_off;
mod cuts;
mod driver;
mod duplicates;
mod frames;
mod health;
mod judged;
mod kubernetes;
mod late;
mod leavers;
mod lone;
mod lookups;
mod lost_answers;
mod lost_writes;
mod machines;
mod membership;
mod memory;
mod moves;
mod name_server;
mod network;
mod newcomer;
mod observed;
mod odd_http;
mod outputs;
mod page;
mod pauses;
mod proxies;
mod readme;
mod rolls;
mod rotations;
mod secrets;
mod slow_clients;
mod slow_links;
mod strangers;
mod tls;
mod tutorial;
mod up;
mod upgrades;
mod watch_limits;
mod watches;

use driver::{Needs, Pace, Test};
use std::process::ExitCode;

/// Every test: the busy ones first, then the timed ones, which are nearly idle and share the machine.
const TESTS: &[Test] = &[
    Test::new("sessions_under_faults", Pace::Busy, Needs::PacketFilter, chaos::sessions),
    Test::new("command_line_and_settings", Pace::Busy, Needs::Nothing, command::settings),
    Test::new("variables_that_are_no_settings", Pace::Busy, Needs::Nothing, command::variables),
    Test::new("signals_that_end_nothing", Pace::Busy, Needs::Nothing, command::harmless_signals),
    Test::new("no_descriptors_is_said_seldom", Pace::Busy, Needs::Nothing, command::no_descriptors),
    Test::new("unusable_addresses_at_start", Pace::Busy, Needs::Nothing, addresses::refused_at_start),
    Test::new("unusable_addresses_in_the_view", Pace::Busy, Needs::Nothing, addresses::refused_in_the_view),
    Test::new("loopback_among_others", Pace::Busy, Needs::Nothing, addresses::loopback_is_told),
    Test::new("spellings_of_one_address", Pace::Busy, Needs::PacketFilter, addresses::spellings_are_one_member),
    Test::new("names_with_a_final_dot", Pace::Busy, Needs::PacketFilter, addresses::final_dots),
    Test::new("terminate_ends_with_zero", Pace::Busy, Needs::Nothing, command::terminate),
    Test::new("terminate_under_load", Pace::Busy, Needs::Nothing, command::terminate_under_load),
    Test::new("health_command", Pace::Busy, Needs::Nothing, command::health),
    Test::new("health_finds_its_process", Pace::Busy, Needs::PacketFilter, health::finds_its_process),
    Test::new("roll_to_another_format", Pace::Busy, Needs::PacketFilter, upgrades::roll),
    Test::new("roll_within_tls_judged", Pace::Busy, Needs::PacketFilter, upgrades::roll_judged),
    Test::new("no_common_format", Pace::Busy, Needs::PacketFilter, upgrades::no_common_format),
    Test::new("formats_of_a_member_that_is_down", Pace::Busy, Needs::PacketFilter, upgrades::member_down),
    Test::new("access_scope_by_scope", Pace::Busy, Needs::PacketFilter, access::scopes),
    Test::new("access_file_is_read_again", Pace::Busy, Needs::PacketFilter, access::read_again),
    Test::new("access_withdrawn_from_watches", Pace::Busy, Needs::PacketFilter, access::withdrawn),
    Test::new("tls_cluster", Pace::Busy, Needs::PacketFilter, tls::cluster),
    Test::new("metrics_that_are_named", Pace::Busy, Needs::Nothing, observed::named_metrics),
    Test::new("metrics_of_lag", Pace::Timed, Needs::PacketFilter, observed::lag),
    Test::new("traces_in_the_log", Pace::Busy, Needs::Nothing, observed::traces),
    Test::new("traces_to_a_collector", Pace::Busy, Needs::PacketFilter, collected::spans),
    Test::new("traces_to_a_collector_in_trouble", Pace::Busy, Needs::PacketFilter, collected::troubles),
    Test::new("judged_over_https", Pace::Busy, Needs::PacketFilter, judged::over_https),
    Test::new("judged_with_a_token", Pace::Busy, Needs::PacketFilter, judged::with_a_token),
    Test::new("kubernetes_stateful_set", Pace::Busy, Needs::Program("openssl"), kubernetes::stateful_set),
    Test::new("compose_with_secrets", Pace::Busy, Needs::Program("openssl"), compose::with_secrets),
    Test::new("tls_half_handshakes", Pace::Busy, Needs::PacketFilter, tls::half_handshakes),
    Test::new("tls_strangers", Pace::Busy, Needs::PacketFilter, tls::strangers),
    Test::new("tls_and_secrets_rotate_under_load", Pace::Busy, Needs::PacketFilter, tls::rotation),
    Test::new("tls_and_secrets_rotate_to_broken_files", Pace::Busy, Needs::PacketFilter, rotations::broken),
    Test::new("tls_and_secrets_change_over", Pace::Busy, Needs::PacketFilter, tls::changeover),
    Test::new("secrets_seal_tokens", Pace::Busy, Needs::PacketFilter, secrets::tokens),
    Test::new("secrets_seal_tokens_everywhere", Pace::Busy, Needs::PacketFilter, secrets::everywhere),
    Test::new("secrets_that_are_gone_seal_nothing", Pace::Busy, Needs::PacketFilter, secrets::gone),
    Test::new("secrets_keep_strangers_out", Pace::Busy, Needs::PacketFilter, secrets::strangers),
    Test::new("trust_settings_are_checked", Pace::Busy, Needs::Nothing, secrets::settings),
    Test::new("secrets_leave_no_core_dump", Pace::Busy, Needs::PacketFilter, secrets::no_core_dump),
    Test::new("up_within_tls", Pace::Busy, Needs::PacketFilter, tls::up),
    Test::new("readme_five_minutes", Pace::Busy, Needs::Nothing, readme::five_minutes),
    Test::new("readme_embedding", Pace::Busy, Needs::Nothing, readme::embedding),
    Test::new("up_tour", Pace::Busy, Needs::Nothing, up::tour),
    Test::new("client_commands", Pace::Busy, Needs::Nothing, client::commands),
    Test::new("client_garbage", Pace::Busy, Needs::Nothing, client::garbage),
    Test::new("client_unreachable", Pace::Busy, Needs::Nothing, client::unreachable),
    Test::new("client_sessions", Pace::Busy, Needs::Nothing, client::sessions),
    Test::new("client_survives", Pace::Busy, Needs::Nothing, client::survives),
    Test::new("client_trusted", Pace::Busy, Needs::PacketFilter, client::trusted),
    Test::new("client_readme", Pace::Busy, Needs::Nothing, client::readme),
    Test::new("client_lists", Pace::Busy, Needs::Nothing, client_bulk::lists),
    Test::new("client_watches", Pace::Busy, Needs::Nothing, watches::command),
    Test::new("client_exports", Pace::Busy, Needs::Nothing, client_bulk::exports),
    Test::new("client_exports_under_load", Pace::Busy, Needs::Nothing, client_exports::under_load),
    Test::new("client_imports", Pace::Busy, Needs::Nothing, client_bulk::imports),
    Test::new("client_imports_cut_off", Pace::Busy, Needs::Nothing, client_bulk::cut_off),
    Test::new("client_bulk_rates", Pace::Busy, Needs::Nothing, client_bulk::rates),
    Test::new("client_lost_answers", Pace::Busy, Needs::Nothing, lost_answers::commands),
    Test::new("client_bench", Pace::Busy, Needs::Nothing, client_bulk::bench),
    Test::new("client_large_values", Pace::Busy, Needs::Nothing, client_large::values_of_any_length),
    Test::new("client_large_tokens", Pace::Busy, Needs::Nothing, client_large::tokens),
    Test::new("client_large_heads", Pace::Busy, Needs::Nothing, client_large::heads),
    Test::new("client_files_of_exports", Pace::Busy, Needs::Nothing, client_files::exports),
    Test::new("client_files_of_ended_exports", Pace::Busy, Needs::Nothing, client_files::interrupted_exports),
    Test::new("client_files_of_sessions", Pace::Busy, Needs::Nothing, client_files::sessions),
    Test::new("client_files_without_end", Pace::Busy, Needs::Nothing, client_files::endless),
    Test::new("client_ended_benches", Pace::Busy, Needs::Nothing, client_signals::benches),
    Test::new("client_ended_watches", Pace::Busy, Needs::Nothing, client_signals::watches),
    Test::new("browsers_unset", Pace::Busy, Needs::Nothing, browsers::unset),
    Test::new("browsers_origins", Pace::Busy, Needs::Nothing, browsers::origins),
    Test::new("browsers_cookies", Pace::Busy, Needs::Nothing, browsers::cookies),
    Test::new("browsers_queries", Pace::Busy, Needs::Nothing, browsers::queries),
    Test::new("page_in_a_browser", Pace::Busy, Needs::Program("chromedriver"), page::shows),
    Test::new("page_of_up", Pace::Busy, Needs::Program("chromedriver"), page::orders),
    Test::new("tutorial_word_for_word", Pace::Busy, Needs::Program("chromedriver"), tutorial::word_for_word),
    Test::new("contract_table", Pace::Busy, Needs::Nothing, contract::table),
    Test::new("contract_table_during_cuts", Pace::Busy, Needs::PacketFilter, contract::table_during_cuts),
    Test::new("bad_requests_change_nothing", Pace::Busy, Needs::Nothing, bad_input::requests),
    Test::new("bad_batches_change_nothing", Pace::Busy, Needs::Nothing, bad_batches::batches),
    Test::new("bad_lists_change_nothing", Pace::Busy, Needs::Nothing, bad_lists::lists),
    Test::new("bad_watches_change_nothing", Pace::Busy, Needs::Nothing, watches::bad),
    Test::new("watch_follows", Pace::Busy, Needs::Nothing, watches::follow),
    Test::new("watch_resumes_elsewhere", Pace::Busy, Needs::Nothing, watches::resume),
    Test::new("watch_begins_anew", Pace::Busy, Needs::Nothing, watches::reset),
    Test::new("watch_of_lost_writes", Pace::Busy, Needs::PacketFilter, watches::lost),
    Test::new("watch_waits_for_its_past", Pace::Busy, Needs::Nothing, watches::waits),
    Test::new("watch_limits", Pace::Busy, Needs::Nothing, watch_limits::limits),
    Test::new("watch_crowd", Pace::Busy, Needs::Nothing, watch_limits::crowd),
    Test::new("watch_of_a_thousand", Pace::Busy, Needs::Nothing, watch_limits::thousand),
    Test::new("watch_ends_with_its_replica", Pace::Busy, Needs::Nothing, watches::ends),
    Test::new("watch_polls", Pace::Busy, Needs::Nothing, watches::polls),
    Test::new("log_that_is_not_taken", Pace::Busy, Needs::Nothing, outputs::serve),
    Test::new("terminal_that_is_not_taken", Pace::Busy, Needs::Nothing, outputs::up),
    Test::new("commands_that_are_not_heard", Pace::Busy, Needs::Nothing, outputs::commands),
    Test::new("log_lines_that_clients_cause", Pace::Busy, Needs::Nothing, outputs::caused_by_clients),
    Test::new("behind_nginx", Pace::Busy, Needs::Program("nginx"), proxies::behind_nginx),
    Test::new("behind_nginx_with_a_cache", Pace::Busy, Needs::Program("nginx"), proxies::behind_nginx_with_a_cache),
    Test::new("behind_haproxy", Pace::Busy, Needs::Program("haproxy"), proxies::behind_haproxy),
    Test::new("behind_varnish", Pace::Busy, Needs::Program("varnishd"), proxies::behind_varnish),
    Test::new(
        "behind_varnish_as_it_comes",
        Pace::Busy,
        Needs::Program("varnishd"),
        proxies::behind_varnish_as_it_comes,
    ),
    Test::new("odd_http_is_answered", Pace::Busy, Needs::Nothing, odd_http::requests),
    Test::new("bad_metadata_changes_nothing", Pace::Busy, Needs::Nothing, bad_metadata::requests),
    Test::new("bad_frames_change_nothing", Pace::Busy, Needs::Nothing, frames::bad_frames),
    Test::new("replayed_frames_change_nothing", Pace::Busy, Needs::Nothing, frames::replayed_frames),
    Test::new("slow_clients_are_ended", Pace::Busy, Needs::Nothing, slow_clients::slow),
    Test::new("strangers_leave_frames_unfinished", Pace::Busy, Needs::Nothing, strangers::unfinished_frames),
    Test::new("strangers_trickle", Pace::Busy, Needs::Nothing, strangers::trickled_frames),
    Test::new("strangers_in_floods", Pace::Busy, Needs::Nothing, strangers::floods),
    Test::new("strangers_that_say_they_are_members", Pace::Busy, Needs::Nothing, strangers::impostors),
    Test::new("strangers_around_a_newcomer", Pace::Busy, Needs::Nothing, strangers::newcomer_in_a_flood),
    Test::new("newcomer_under_load", Pace::Busy, Needs::Nothing, newcomer::under_load),
    Test::new("ten_thousand_idle_connections", Pace::Busy, Needs::Nothing, slow_clients::idle),
    Test::new("memory_filled", Pace::Busy, Needs::Nothing, memory::filled),
    Test::new("memory_filled_with_little", Pace::Busy, Needs::Nothing, memory::filled_with_little),
    Test::new("memory_filled_by_batches", Pace::Busy, Needs::Nothing, memory::filled_by_batches),
    Test::new("memory_dead_member", Pace::Busy, Needs::Nothing, memory::dead_member),
    Test::new("memory_paused_member", Pace::Busy, Needs::Nothing, memory::paused_member),
    Test::new("memory_uploads", Pace::Busy, Needs::Nothing, memory::uploads),
    Test::new("memory_slow_readers", Pace::Busy, Needs::Nothing, memory::readers),
    Test::new("memory_within_tls", Pace::Busy, Needs::PacketFilter, memory::within_tls),
    Test::new("memory_smaller_member", Pace::Busy, Needs::Nothing, memory::smaller_member),
    Test::new("tokens_stay_short_enough", Pace::Timed, Needs::Nothing, bounds::tokens),
    Test::new("views_are_bounded", Pace::Timed, Needs::Nothing, bounds::views),
    Test::new("cut_refused_twenty_times", Pace::Timed, Needs::PacketFilter, cuts::refused),
    Test::new("cut_silent_twenty_times", Pace::Timed, Needs::PacketFilter, cuts::silent),
    Test::new("cut_longer_than_suspicion", Pace::Timed, Needs::PacketFilter, cuts::long),
    Test::new("cut_beside_a_gap", Pace::Timed, Needs::PacketFilter, cuts::beside_a_gap),
    Test::new("cut_off_unreachable", Pace::Timed, Needs::Machines, cut_off::unreachable),
    Test::new("cut_off_denied", Pace::Timed, Needs::Machines, cut_off::denied),
    Test::new("cut_off_lost", Pace::Timed, Needs::Machines, cut_off::lost),
    Test::new("cut_off_unplugged", Pace::Timed, Needs::Machines, cut_off::unplugged),
    Test::new("cut_off_down", Pace::Timed, Needs::Machines, cut_off::down),
    Test::new("cut_off_gone", Pace::Timed, Needs::Machines, cut_off::gone),
    Test::new("public_case", Pace::Timed, Needs::Machines, cut_off::public_case),
    Test::new("cut_then_prefer_wait", Pace::Timed, Needs::PacketFilter, cuts::prefer_wait),
    Test::new("half_closed_clients_are_answered", Pace::Timed, Needs::PacketFilter, leavers::half_closed),
    Test::new("leavers_free_their_places", Pace::Timed, Needs::Nothing, leavers::gone),
    Test::new("slow_links_large_values", Pace::Timed, Needs::PacketFilter, slow_links::large_values),
    Test::new("slow_links_slowest", Pace::Timed, Needs::PacketFilter, slow_links::slowest),
    Test::new("slow_links_reset", Pace::Timed, Needs::PacketFilter, slow_links::reset),
    Test::new("slow_links_ended", Pace::Timed, Needs::PacketFilter, slow_links::ended),
    Test::new("slow_links_slower_than_a_piece", Pace::Timed, Needs::PacketFilter, slow_links::slower_than_a_piece),
    Test::new("slow_links_reset_often", Pace::Timed, Needs::Machines, slow_links::reset_often),
    Test::new("slow_links_another_goes_on", Pace::Timed, Needs::PacketFilter, slow_links::another_goes_on),
    Test::new("slow_links_newcomer", Pace::Timed, Needs::PacketFilter, slow_links::newcomer),
    Test::new("slow_links_two_at_once", Pace::Timed, Needs::PacketFilter, slow_links::two_at_once),
    Test::new("slow_links_overload", Pace::Timed, Needs::PacketFilter, slow_links::overload),
    Test::new("slow_links_overload_of_large", Pace::Timed, Needs::PacketFilter, slow_links::overload_of_large),
    Test::new("concern_of_three", Pace::Timed, Needs::Nothing, concern::of_three),
    Test::new("concern_leavers_free_their_places", Pace::Timed, Needs::Nothing, concern::leavers),
    Test::new("budget_first_data", Pace::Timed, Needs::Nothing, budgets::first_data),
    Test::new("budget_visible", Pace::Timed, Needs::Nothing, budgets::visible),
    Test::new("budget_killed_and_restarted", Pace::Timed, Needs::Nothing, budgets::killed_and_restarted),
    Test::new("budget_only_one_connected", Pace::Timed, Needs::PacketFilter, budgets::only_one_connected),
    Test::new("pause_two_seconds", Pace::Timed, Needs::Nothing, pauses::two_seconds),
    Test::new("pause_eight_seconds", Pace::Timed, Needs::Nothing, pauses::eight_seconds),
    Test::new("all_isolated_and_healed", Pace::Timed, Needs::PacketFilter, membership::all_isolated),
    Test::new("operator_removes_and_adds", Pace::Timed, Needs::Nothing, membership::operator),
    Test::new("restart_under_the_same_address", Pace::Timed, Needs::Nothing, membership::restarts),
    Test::new("fourth_replica_lists_itself", Pace::Timed, Needs::Nothing, membership::fourth),
    Test::new("lost_with_its_only_holder", Pace::Timed, Needs::PacketFilter, lost_writes::with_its_only_holder),
    Test::new("lost_with_the_whole_cluster", Pace::Timed, Needs::Nothing, lost_writes::with_the_whole_cluster),
    Test::new("leaving_loses_nothing", Pace::Timed, Needs::PacketFilter, lost_writes::not_with_one_that_leaves),
    Test::new("missing_links_are_told_once", Pace::Timed, Needs::PacketFilter, causes::told_once),
    Test::new("missing_links_are_told_again", Pace::Timed, Needs::Nothing, causes::told_again),
    Test::new("missing_links_of_large_packets", Pace::Timed, Needs::PacketFilter, causes::large_packets),
    Test::new("two_processes_one_reached", Pace::Timed, Needs::Nothing, duplicates::one_is_reached),
    Test::new("two_processes_either_reached", Pace::Timed, Needs::Nothing, duplicates::either_is_reached),
    Test::new("one_process_never_reached", Pace::Timed, Needs::Nothing, duplicates::nobody_is_reached),
    Test::new("one_process_behind_a_firewall", Pace::Timed, Needs::PacketFilter, duplicates::nothing_passes),
    Test::new("two_clusters_of_one_given_name", Pace::Timed, Needs::Nothing, duplicates::named_clusters_merge),
    Test::new("two_clusters_of_one_name", Pace::Timed, Needs::Nothing, duplicates::clusters_merge),
    Test::new("ready_not_of_another_version", Pace::Timed, Needs::Nothing, rolls::to_another_version),
    Test::new("ready_not_in_another_cluster", Pace::Timed, Needs::Nothing, rolls::to_another_cluster),
    Test::new("ready_not_in_a_late_network", Pace::Timed, Needs::Nothing, rolls::in_a_late_network),
    Test::new("names_slow_to_look_up", Pace::Timed, Needs::PacketFilter, lookups::slow),
    Test::new("names_never_looked_up", Pace::Timed, Needs::PacketFilter, lookups::silent),
    Test::new("names_with_several_addresses", Pace::Timed, Needs::PacketFilter, lookups::several_addresses),
    Test::new("names_that_move", Pace::Timed, Needs::PacketFilter, moves::under_load),
    Test::new("names_from_a_service", Pace::Timed, Needs::PacketFilter, moves::from_a_service),
    Test::new("names_over_tcp", Pace::Timed, Needs::PacketFilter, moves::over_tcp),
    Test::new("names_without_the_own", Pace::Timed, Needs::PacketFilter, moves::not_among_them),
    Test::new("ready_in_a_rolling_restart", Pace::Timed, Needs::Nothing, late::rolling_restart),
    Test::new("ready_after_two_at_once", Pace::Timed, Needs::Nothing, late::two_at_once),
    Test::new("ready_after_the_stated_time", Pace::Timed, Needs::Nothing, late::stated_time),
    Test::new("start_in_any_order", Pace::Timed, Needs::Nothing, membership::any_order),
];

fn main() -> ExitCode {
    driver::main(TESTS)
}
