//! What a key or a trunk may not do is refused by its code, dials nothing, stores nothing and costs
//! nothing; what it may do goes on.

use futures_util::future::join_all;
use kaphila::store::{KeyChanges, Millis, TrunkSettings};
use serde_json::{Value, json};

use crate::support::api::{Api, Reply};
use crate::support::exchange::{Callee, Exchange};
use crate::support::program::eventually;
use crate::support::server::Server;

/// A server with carriers of one kind as its key's trunks, `trunk-0` and so on.
struct Place {
    carriers: Vec<Exchange>,
    server: Server,
    api: Api,
}

impl Place {
    async fn with(carriers: usize, callee: Callee) -> Self {
        let mut all = Vec::new();
        for _ in 0..carriers {
            all.push(Exchange::of(callee, "127.0.0.1").await);
        }
        let addresses: Vec<_> = all.iter().map(|it| it.address).collect();
        let server = Server::at(&addresses, 50, |_| {}).await;
        let api = Api::of(&server).await;
        Self { carriers: all, server, api }
    }

    async fn key(&self, changes: KeyChanges) {
        self.server.store.change_key(&self.server.auth.key_id, changes).await.unwrap();
    }

    async fn trunk(&self, at: usize, change: impl FnOnce(&mut TrunkSettings)) {
        let uri = format!("sip:{}", self.carriers[at].address);
        let mut settings = TrunkSettings::new(format!("trunk-{at}"), uri);
        change(&mut settings);
        self.server.store.put_trunk(settings, Millis::wall_clock()).await.unwrap();
    }

    /// Calls a number; more members as given.
    async fn call(&self, number: &str, more: Value) -> Reply {
        let mut body = json!({ "number": number, "record": false });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.api.post("/makecall", body).await
    }

    /// How many INVITEs have come to each carrier.
    fn dialled(&self) -> Vec<usize> {
        self.carriers.iter().map(|it| it.legs().len()).collect()
    }

    /// Is refused, and nothing is left of it.
    async fn refused(&self, number: &str, more: Value, status: u16, code: &str) -> Reply {
        let (dialled, account) = (self.dialled(), self.server.account().await);
        let reply = self.call(number, more).await;
        reply.refused(status, code, "");
        let limited = [429, 503].contains(&status);
        assert_eq!(reply.headers.contains_key("retry-after"), limited, "{reply:?}");
        let after = self.server.account().await;
        assert_eq!((after.total_calls, after.holds), (account.total_calls, account.holds));
        assert_eq!(self.dialled(), dialled, "{code}");
        reply
    }

    /// Is dialled at this carrier; what came there.
    async fn dialled_at(
        &self,
        at: usize,
        number: &str,
        more: Value,
    ) -> crate::support::exchange::Leg {
        let before = self.carriers[at].legs().len();
        let reply = self.call(number, more).await;
        assert_eq!(reply.status, 200, "{:#}", reply.body);
        assert_eq!(reply.body["trunk"], format!("trunk-{at}"));
        let legs = self.carriers[at].legs();
        assert_eq!(legs.len(), before + 1);
        legs.last().unwrap().clone()
    }

    /// Of eight calls at once two are dialled, the others are refused, and cost nothing; a second
    /// later there is room again. How many came to each carrier at first.
    async fn at_once(&self, status: u16, code: &str) -> Vec<usize> {
        let all = join_all((0..8).map(|_| self.call(NUMBER, json!({})))).await;
        let (placed, refused): (Vec<_>, Vec<_>) = all.iter().partition(|it| it.status == 200);
        assert_eq!(placed.len(), 2, "{all:?}");
        for reply in refused {
            reply.refused(status, code, "");
            assert!(reply.headers.contains_key("retry-after"), "{reply:?}");
        }
        assert_eq!(self.server.account().await.total_calls, 2);
        let dialled = self.dialled();
        let room = async || self.call(NUMBER, json!({})).await.status == 200;
        eventually(5, "the second is over", room).await;
        dialled
    }

    async fn ends(self) {
        for view in self.server.calls.active(&self.server.auth) {
            let call = json!({ "callId": view.call_id });
            // One may end by itself meanwhile.
            self.api.post("/hangup", call).await;
        }
        self.api.stop();
        self.server.ends_clean().await;
    }
}

fn list(items: &[&str]) -> Option<Vec<String>> {
    Some(items.iter().map(ToString::to_string).collect())
}

const NUMBER: &str = "14155550100";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_id_that_is_not_in_the_keys_list() {
    let place = Place::with(1, Callee::Busy).await;
    let from = |digits: &str| json!({ "callerId": digits });
    place.trunk(0, |it| it.caller_id = Some("13330003333".into())).await;
    let shown = |leg: &crate::support::exchange::Leg| {
        let from = leg.invite.header("From").trim_start_matches("<sip:");
        from.split('@').next().unwrap().to_owned()
    };
    // Without a list any will do; without a caller id the trunk's.
    assert_eq!(shown(&place.dialled_at(0, NUMBER, from("12220002222")).await), "12220002222");
    assert_eq!(shown(&place.dialled_at(0, NUMBER, json!({})).await), "13330003333");
    place
        .key(KeyChanges {
            caller_id: Some("11110001111".into()),
            allowed_caller_ids: list(&["12220002222", "12220002223"]),
            ..KeyChanges::default()
        })
        .await;
    for denied in ["13330003333", "1222000222", "122200022221", "+1 222 000 2224"] {
        place.refused(NUMBER, from(denied), 403, "CALLER_ID_DENIED").await;
    }
    let listed = place.dialled_at(0, NUMBER, from("+1 (222) 000-2223")).await;
    assert_eq!(shown(&listed), "12220002223");
    // Its own default is among them, asked for or not.
    assert_eq!(shown(&place.dialled_at(0, NUMBER, from("11110001111")).await), "11110001111");
    assert_eq!(shown(&place.dialled_at(0, NUMBER, json!({})).await), "11110001111");
    place.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_that_is_not_the_keys() {
    let place = Place::with(2, Callee::IsFull).await;
    let id = place.server.auth.key_id.as_str();
    place.server.store.assign_trunks(id, vec!["trunk-1".into()]).await.unwrap();
    // Not even where the key's own has no room.
    for calls in 1..=3 {
        let reply = place.call(NUMBER, json!({})).await;
        assert_eq!((reply.status.as_u16(), &reply.body["totalTrunks"]), (500, &json!(1)));
        assert_eq!(reply.body["attemptedTrunks"], json!(["trunk-1"]));
        assert_eq!(place.dialled(), [0, calls]);
    }
    place.server.store.assign_trunks(id, vec![]).await.unwrap();
    place.refused(NUMBER, json!({}), 503, "NO_TRUNKS").await;
    place.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_of_the_key() {
    let place = Place::with(1, Callee::Busy).await;
    let allow_prefixes = list(&["44", "1415"]);
    let deny_prefixes = list(&["4490"]);
    place.key(KeyChanges { allow_prefixes, deny_prefixes, ..KeyChanges::default() }).await;
    for denied in ["33123456", "1416555", "449012345", "+44 90 12345", "0044-9012345"] {
        place.refused(denied, json!({}), 403, "DESTINATION_DENIED").await;
    }
    for allowed in ["44201234", "+1 415 555 0100"] {
        place.dialled_at(0, allowed, json!({})).await;
    }
    place.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_of_a_trunk() {
    let place = Place::with(2, Callee::Busy).await;
    place.trunk(0, |it| it.deny_prefixes.0.push("44".into())).await;
    place.trunk(1, |it| it.allow_prefixes.0.extend(["44".into(), "49".into()])).await;
    for _ in 0..2 {
        place.dialled_at(1, "44201234", json!({})).await;
        place.dialled_at(0, NUMBER, json!({})).await;
    }
    place.trunk(0, |it| it.deny_prefixes.0.extend(["44".into(), "1".into()])).await;
    place.refused(NUMBER, json!({}), 403, "DESTINATION_DENIED").await;
    place.ends().await;
}

/// Denied without anything being set up, in whatever form they are written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emergency_numbers() {
    let place = Place::with(1, Callee::Busy).await;
    for number in ["112", "911", "999", "000", "110", "118", "119"] {
        let (one, rest) = number.split_at(1);
        for form in [
            number.to_owned(),
            format!("+{number}"),
            format!("00{number}"),
            format!(" {one}-({rest})."),
        ] {
            place.refused(&form, json!({}), 403, "DESTINATION_DENIED").await;
        }
    }
    let reply = place.api.post("/makecall", json!({ "number": 112 })).await;
    reply.refused(403, "DESTINATION_DENIED", "");
    place.trunk(0, |it| it.allow_star_hash = true).await;
    place.refused("112#", json!({}), 403, "DESTINATION_DENIED").await;
    // A number that begins like one is another number.
    place.dialled_at(0, "1125550100", json!({})).await;
    place.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_a_time_of_a_key() {
    let place = Place::with(1, Callee::Rings).await;
    place.key(KeyChanges { max_calls: Some(2), ..KeyChanges::default() }).await;
    let first = place.call(NUMBER, json!({})).await.body["callId"].clone();
    place.dialled_at(0, NUMBER, json!({})).await;
    place.refused(NUMBER, json!({}), 429, "CONCURRENT_CALLS").await;
    // Another key has its own.
    let other = place.api.another(&place.server, 5, 100, &["trunk-0"]).await;
    let placed = other.post("/makecall", json!({ "number": NUMBER, "record": false })).await;
    assert_eq!(placed.status, 200, "{placed:?}");
    let hung_up = other.post("/hangup", json!({ "callId": placed.body["callId"] })).await;
    assert_eq!(hung_up.status, 200);
    // One that ends makes room for one.
    assert_eq!(place.api.post("/hangup", json!({ "callId": first })).await.status, 200);
    eventually(5, "room", async || place.call(NUMBER, json!({})).await.status == 200).await;
    place.refused(NUMBER, json!({}), 429, "CONCURRENT_CALLS").await;
    place.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_a_second_of_a_key() {
    let place = Place::with(1, Callee::Busy).await;
    place.key(KeyChanges { max_cps: Some(2), ..KeyChanges::default() }).await;
    assert_eq!(place.at_once(429, "CALLS_PER_SECOND").await, [2]);
    place.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_further_on_counts_for_no_rate() {
    let place = Place::with(1, Callee::Rings).await;
    place.key(KeyChanges { max_cps: Some(2), ..KeyChanges::default() }).await;
    place.trunk(0, |it| it.max_channels = Some(1)).await;
    let first = place.call(NUMBER, json!({})).await.body["callId"].clone();
    for _ in 0..3 {
        place.refused(NUMBER, json!({}), 503, "TRUNK_LIMIT").await;
    }
    assert_eq!(place.api.post("/hangup", json!({ "callId": first })).await.status, 200);
    place.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_a_time_of_a_trunk() {
    let place = Place::with(2, Callee::Rings).await;
    place.trunk(0, |it| it.max_channels = Some(1)).await;
    place.trunk(1, |it| it.max_channels = Some(2)).await;
    for at in [0, 1, 1] {
        place.dialled_at(at, NUMBER, json!({})).await;
    }
    place.refused(NUMBER, json!({}), 503, "TRUNK_LIMIT").await;
    place.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_a_second_of_a_trunk() {
    let place = Place::with(2, Callee::Busy).await;
    for at in 0..2 {
        place.trunk(at, |it| it.max_cps = Some(1)).await;
    }
    assert_eq!(place.at_once(503, "TRUNK_LIMIT").await, [1, 1]);
    place.ends().await;
}

/// `*` and `#` are for trunks that take them; elsewhere they are malformed, which is told before
/// that a destination or a caller is denied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stars_and_hashes() {
    let place = Place::with(2, Callee::Busy).await;
    place
        .key(KeyChanges {
            deny_prefixes: list(&["*"]),
            allowed_caller_ids: list(&["12220002222"]),
            ..KeyChanges::default()
        })
        .await;
    let denied = json!({ "callerId": "13330003333" });
    let reply = place.refused("*43#", denied.clone(), 400, "INVALID_REQUEST").await;
    assert_eq!(reply.body["error"], "number must not hold * or #");
    let star = json!({ "callerId": "*31" });
    let reply = place.refused("*43#", star.clone(), 400, "INVALID_REQUEST").await;
    assert_eq!(reply.body["error"], "number must not hold * or #");
    let reply = place.refused("112", star, 400, "INVALID_REQUEST").await;
    assert_eq!(reply.body["error"], "callerId must not hold * or #");
    // Where a trunk takes them, the key's rules are next.
    place.trunk(1, |it| it.allow_star_hash = true).await;
    place.refused("*43#", denied, 403, "CALLER_ID_DENIED").await;
    place.refused("*43#", json!({}), 403, "DESTINATION_DENIED").await;
    place
        .key(KeyChanges {
            deny_prefixes: list(&[]),
            allowed_caller_ids: list(&[]),
            ..KeyChanges::default()
        })
        .await;
    for _ in 0..2 {
        let leg = place.dialled_at(1, "*43#", json!({ "callerId": "#31#1222" })).await;
        assert_eq!(leg.invite.uri().split('@').next(), Some("sip:00*43%23"));
        assert!(leg.invite.header("From").starts_with("<sip:%2331%231222@"), "{}", leg.invite);
    }
    // A disabled trunk takes nothing.
    place.server.store.disable_trunk("trunk-1", true, Millis::wall_clock()).await.unwrap();
    place.refused("*43#", json!({}), 400, "INVALID_REQUEST").await;
    place.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_of_2_kib_and_no_more() {
    let place = Place::with(1, Callee::Busy).await;
    // {"a":"…"} is 8 bytes and the text.
    let of = |bytes: usize| json!({ "metadata": { "a": "x".repeat(bytes - 8) } });
    let reply = place.refused(NUMBER, of(2_049), 400, "INVALID_REQUEST").await;
    assert!(reply.body["error"].as_str().unwrap().contains("2 KiB"));
    for bad in [json!("text"), json!(7), json!(true), json!([{}])] {
        place.refused(NUMBER, json!({ "metadata": bad }), 400, "INVALID_REQUEST").await;
    }
    let reply = place.call(NUMBER, of(2_048)).await;
    assert_eq!(reply.body["metadata"], of(2_048)["metadata"]);
    place.ends().await;
}
