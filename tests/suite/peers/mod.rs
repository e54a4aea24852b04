//! The whole program against telephones and carriers that we did not write: SIPp, baresip,
//! Kamailio and dnsmasq.
//!
//! Each test runs the real `kaphila serve` and its peers at loopback addresses of their own, so
//! that all of them may run at once.

mod baresip;
mod capture;
mod dnsmasq;
mod kamailio;
mod ladder;
mod node;
mod rtp;
mod sipp;
mod tone;

mod a_call_over_ipv6;
mod a_carrier_with_accounts_is_registered_at_and_called_through;
mod a_carriers_call_comes_in;
mod a_hang_up_meets_what_is_under_way;
mod a_name_leads_where_its_dns_says;
mod a_telephone_hears_and_is_heard;
mod a_trunk_is_dialled_over_tcp_and_tls;
mod a_trunk_that_does_not_answer_comes_last;
mod answering_machines_are_told_from_people;
mod carriers_of_the_library_are_called;
mod digits_of_a_carrier_are_heard_once_each;
mod every_final_answer_means_what_the_reference_says;
mod keys_are_tones_where_no_events_are_agreed;
mod provisional_answers_come_in_any_order;
mod requests_within_a_call_are_answered;
mod route_sets_are_followed;
mod what_is_sent_again_is_taken_once;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tempfile::TempDir;

/// How long anything is waited for: a slow machine, never a design.
const PATIENCE: Duration = Duration::from_secs(30);

/// An address of loopback that nobody else uses: the process and a counter are in it.
fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., middle, low] = std::process::id().to_be_bytes();
    IpAddr::from([127, middle % 127 + 1, low, NEXT.fetch_add(1, Ordering::Relaxed)])
}

/// SIP's port at an address of one's own; of IPv6 there is one loopback address only, so that a
/// port must be found.
fn sip_at(ip: IpAddr) -> SocketAddr {
    let port = if ip.is_ipv4() {
        5060
    } else {
        UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap().port()
    };
    SocketAddr::new(ip, port)
}

/// A folder for one test; in memory where the system has such a place: a disk that stands still for
/// a second makes a peer stutter, and it is the peer that is measured then.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Whether a peer's program is installed; if not, says so where `scripts/test` counts it.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// The end of a program's log, for a failing test's last words.
fn tail(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let from = text.len().saturating_sub(8_000);
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[from..].to_owned()
}
