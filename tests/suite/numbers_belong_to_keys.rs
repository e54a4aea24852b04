//! Numbers on which trunks call in: given to keys, changed, taken away, and the calls on them in the
//! books: free, and no part of the round robin.

use kaphila::store::{
    AdminError, Answered, CallStatus, Called, Direction, Millis, NewCall, OwnNumber, Store,
    TrunkSettings,
};

use crate::store_fixture::{Database, NOW, call, end, event, key};
use crate::support::program::Site;

fn number(key_id: &str) -> OwnNumber {
    OwnNumber {
        number: "4930901820".to_owned(),
        key_id: key_id.to_owned(),
        webhook_url: Some("https://example.com/a".to_owned()),
        answer: true,
        created_at: NOW,
    }
}

async fn called(store: &Store, number: &str) -> Option<OwnNumber> {
    // Long after what was known before.
    let now = Millis::wall_clock().plus(Millis::HOUR);
    match store.called(number, now).await.unwrap() {
        Called::Own(auth, own) => {
            assert_eq!(auth.key_id, own.key_id);
            Some(own)
        }
        Called::Unknown | Called::NoNumbers => None,
    }
}

#[tokio::test]
async fn one_number_is_one_keys() {
    for database in Database::all().await {
        let store = database.open().await;
        let (_, ours) = key(&store, 5).await;
        let (_, theirs) = key(&store, 5).await;
        assert!(matches!(store.called("4930901820", NOW).await.unwrap(), Called::NoNumbers));
        store.put_number(number(&ours.key_id)).await.unwrap();
        assert_eq!(called(&store, "4930901820").await, Some(number(&ours.key_id)));
        assert!(matches!(store.called("4930901821", NOW).await.unwrap(), Called::Unknown));

        let changed = OwnNumber { webhook_url: None, answer: false, ..number(&ours.key_id) };
        store.put_number(changed.clone()).await.unwrap();
        assert_eq!(store.numbers().await.unwrap(), std::slice::from_ref(&changed));
        let taken = store.put_number(number(&theirs.key_id)).await.unwrap_err();
        assert!(matches!(taken, AdminError::NumberTaken(owner) if owner == ours.key_id));
        let nobodys = store.put_number(number("key_none")).await.unwrap_err();
        assert!(matches!(nobodys, AdminError::NumberTaken(_)));
        assert_eq!(store.numbers().await.unwrap(), [changed]);

        store.remove_number("4930901820").await.unwrap();
        assert!(matches!(
            store.remove_number("4930901820").await.unwrap_err(),
            AdminError::NotFound(_)
        ));
        let nobodys = store.put_number(number("key_none")).await.unwrap_err();
        assert!(matches!(nobodys, AdminError::NotFound(_)), "{nobodys}");
        store.put_number(number(&theirs.key_id)).await.unwrap();
        store.revoke_key(&theirs.key_id).await.unwrap();
        assert_eq!(called(&store, "4930901820").await, None, "a revoked key has no calls");
    }
}

#[tokio::test]
async fn a_call_that_comes_in_is_free_and_moves_no_round_robin() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, _) = key(&store, 0).await;
        store.put_trunk(TrunkSettings::new("a", "sip:a.example"), NOW).await.unwrap();
        let trunk = store.trunk("a").await.unwrap();
        let dialog = "call-id: x\n".to_owned();
        let incoming = NewCall {
            direction: Direction::Inbound,
            callee: "4930901820".to_owned(),
            trunk: Some((trunk.id, "a".to_owned())),
            dialog: Some(dialog.clone()),
            ..call(None)
        };
        let placed = store.place(&auth, incoming, |_| event(1, "call.incoming")).await.unwrap();
        let open = store.open_calls().await.unwrap();
        assert_eq!(
            (open[0].dialog.as_ref(), open[0].callee.as_str()),
            (Some(&dialog), "4930901820")
        );
        let answered = Answered { at: NOW.plus(1_000), trunk: None, dialog };
        assert!(store.answered(&placed.call, answered, vec![]).await.unwrap());
        assert!(store.ended(&placed.call, end(CallStatus::Completed, 9), vec![]).await.unwrap());
        let account = store.account(&auth).await.unwrap().unwrap();
        assert_eq!((account.credits, account.holds, account.total_calls), (0, 0, 1));
        assert_eq!(store.key_trunks(&auth, NOW.plus(Millis::HOUR)).await.unwrap().last, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_gives_and_takes_them() {
    let site = Site::with_trunks(&[([127, 0, 0, 1], 9).into()]).await;
    let id = site.key_id.as_str();
    let hook = "https://example.com/calls";
    site.done(&["number", "add", "+49 30 901820", "--key", id, "--webhook", hook]).await;
    site.done(&["number", "add", "4930901821", "--key", id, "--answer", "off"]).await;
    let told: serde_json::Value =
        serde_json::from_str(&site.done(&["number", "list", "--json"]).await).unwrap();
    assert_eq!((&told[0]["number"], &told[0]["webhook"]), (&"4930901820".into(), &hook.into()));
    assert_eq!((&told[1]["answer"], &told[1]["keyId"]), (&false.into(), &id.into()));
    let table = site.done(&["number", "list"]).await;
    assert!(table.contains("4930901821") && table.contains("off"), "{table}");
    site.done(&["number", "remove", "4930901821"]).await;
    for (words, status) in [
        (vec!["number", "remove", "4930901821"], 3),
        (vec!["number", "add", "12", "--key", id], 2),
        (vec!["number", "add", "4930901822", "--key", "key_none"], 3),
        (vec!["number", "add", "4930901822", "--key", id, "--webhook", "ftp://example.com"], 2),
    ] {
        let done = site.kaphila(&words).await;
        assert_eq!(done.status.code(), Some(status), "{words:?}");
    }
    let audit = site.done(&["audit"]).await;
    assert!(audit.contains("number.add") && audit.contains("number.remove"), "{audit}");
}
