//! What the INVITEs to each trunk came to, counted since the start, for `/metrics`.
//!
//! It knows counters. It refuses to know calls. Start at [`Traffic`].

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Seconds to the first sign of a telephone: what callers notice lies between one and five.
const DELAYS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0];

/// A trunk.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Trunk {
    trunk: String,
}

/// A trunk and a final answer: `none` where none came.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Final {
    trunk: String,
    code: String,
}

/// The counters of all trunks. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Traffic {
    invites: Family<Trunk, Counter>,
    finals: Family<Final, Counter>,
    delays: Family<Trunk, Histogram, fn() -> Histogram>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            invites: Family::default(),
            finals: Family::default(),
            delays: Family::new_with_constructor(|| Histogram::new(DELAYS)),
        }
    }
}

impl Traffic {
    /// An INVITE was sent; its repetitions do not count.
    pub fn invited(&self, trunk: &str) {
        self.invites.get_or_create(&of(trunk)).inc();
    }

    /// The first answer above 100, so long after its INVITE: the post-dial delay.
    pub fn rang(&self, trunk: &str, after: Duration) {
        self.delays.get_or_create(&of(trunk)).observe(after.as_secs_f64());
    }

    /// The final answer, or that none came.
    pub fn ended(&self, trunk: &str, code: Option<u16>) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.finals.get_or_create(&Final { trunk: trunk.to_owned(), code }).inc();
    }

    /// Puts them into a registry.
    pub fn register(&self, registry: &mut Registry) {
        let help = "INVITEs sent to a trunk";
        registry.register("trunk_invites", help, self.invites.clone());
        let help = "Final answers of a trunk; none: silence, no connection";
        registry.register("trunk_finals", help, self.finals.clone());
        let help = "From INVITE to the first answer above 100";
        registry.register_with_unit(
            "trunk_post_dial_delay",
            help,
            Unit::Seconds,
            self.delays.clone(),
        );
    }
}

fn of(trunk: &str) -> Trunk {
    Trunk { trunk: trunk.to_owned() }
}
