//! OPTIONS to a trunk from a socket of its own, for the command line: is somebody there?
#![allow(clippy::disallowed_methods, reason = "a driver: measures a round trip")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use kaphila_sip::endpoint::EndpointConfig;
use kaphila_sip::message::Transport;
use kaphila_sip::net::resolve::Resolver;
use kaphila_sip::net::{Sip, SipConfig, Tls};

use super::target::Target;
use crate::config;
use crate::store::{Millis, Trunk};
use crate::tls::sip::open;

/// Where the trunk is and what it said.
#[derive(Debug)]
pub struct Probe {
    /// Its address; `None` if its name leads nowhere.
    pub remote: Option<SocketAddr>,
    /// The answer, or why there is none, in words.
    pub answer: Result<Answer, String>,
}

/// An answer to OPTIONS. Any status means that somebody is there.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// From the request to it.
    pub round_trip: Duration,
}

impl Answer {
    /// What it says of the trunk's account, if that is wrong.
    #[must_use]
    pub fn refused(&self, trunk: &Trunk) -> Option<&'static str> {
        let has_account = trunk.settings.username.is_some();
        match self.status {
            401 | 407 if has_account => Some("it does not take the username, password or realm"),
            _ => None,
        }
    }
}

/// Resolves `trunk` and sends it OPTIONS; waits `timeout` for the answer.
pub async fn options(sip: &config::Sip, trunk: &Trunk, timeout: Duration) -> Probe {
    let target =
        match Target::resolve(&Resolver::new(&sip.dns_servers), Instant::now(), trunk).await {
            Ok((target, _)) => target,
            Err(error) => return Probe { remote: None, answer: Err(error.to_string()) },
        };
    Probe { remote: Some(target.remote), answer: ask(sip, &target, timeout).await }
}

async fn ask(sip: &config::Sip, target: &Target, timeout: Duration) -> Result<Answer, String> {
    let remote = target.remote;
    let any = match remote {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let config = SipConfig {
        endpoint: EndpointConfig {
            user_agent: sip.user_agent.clone(),
            seed: rand::random(),
            accept_calls: false,
            ..EndpointConfig::default()
        },
        udp: vec![SocketAddr::new(any, 0)],
        with_tls: match target.transport {
            Transport::Tls => open(sip, Millis::wall_clock()).map_err(|it| it.to_string())?.with,
            _ => Tls::default(),
        },
        public_addresses: sip.public_addresses.clone(),
        dscp: sip.dscp,
        ..SipConfig::default()
    };
    let (stack, _incoming) = Sip::start(config).map_err(|error| error.to_string())?;
    let spec = target.options(target.first_way(), timeout);
    let sent = Instant::now();
    let answer = stack.options(spec).await.map_err(|error| error.to_string())?;
    let round_trip = sent.elapsed();
    stack.shutdown().await;
    match answer {
        Ok(status) => Ok(Answer { status, round_trip }),
        Err(kaphila_sip::invite::Failure::Timeout) => {
            Err(format!("no answer to OPTIONS from {remote} within {} s", timeout.as_secs()))
        }
        Err(kaphila_sip::invite::Failure::Transport(why)) => Err(format!("{remote}: {why}")),
    }
}
