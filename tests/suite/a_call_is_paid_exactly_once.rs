//! Money: holds, deductions, releases (`semantics.md`, "Credits"; quality R3).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use kaphila::store::{AdminError, Answered, CallRef, CallStatus, NewSecrets, PlaceError, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::store_fixture::{Database, NOW, call, end, event, key};

async fn balance(store: &Store, secrets: &NewSecrets) -> (i64, i64) {
    let (key, _) = store.key(&secrets.key_id).await.unwrap();
    let sums = store.ledger_sums(&secrets.key_id).await.unwrap();
    assert_eq!((key.credits, key.holds), sums, "the ledger adds up to the balance");
    assert!(key.credits >= key.holds && key.holds >= 0, "{key:?}");
    sums
}

fn answered() -> Answered {
    Answered { at: NOW.plus(5_000), trunk: None, dialog: "dialog".into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_500_at_once_with_credit_for_10_exactly_10_are_placed() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 10).await;
        let tries = (0..500).map(|_| {
            let (store, auth) = (store.clone(), auth.clone());
            tokio::spawn(async move {
                store.place(&auth, call(None), |_| event(1, "call.initiated")).await
            })
        });
        let mut placed = 0;
        for tried in tries.collect::<Vec<_>>() {
            match tried.await.unwrap() {
                Ok(_) => placed += 1,
                Err(PlaceError::InsufficientCredits) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(placed, 10);
        assert_eq!(balance(&store, &secrets).await, (10, 10));
        assert_eq!(store.open_calls().await.unwrap().len(), 10);
    }
}

#[tokio::test]
async fn an_answer_costs_one_credit_and_any_other_end_none() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 2).await;
        let first = store.place(&auth, call(None), |_| event(1, "x")).await.unwrap();
        assert_eq!(first.credits, 2, "the balance before the deduction");
        let second = store.place(&auth, call(None), |_| event(1, "x")).await.unwrap();
        assert_eq!(balance(&store, &secrets).await, (2, 2));
        assert!(store.answered(&first.call, answered(), vec![]).await.unwrap());
        assert_eq!(balance(&store, &secrets).await, (1, 1));
        assert!(store.ended(&second.call, end(CallStatus::Busy, 3), vec![]).await.unwrap());
        assert_eq!(balance(&store, &secrets).await, (1, 0));
        assert!(store.ended(&first.call, end(CallStatus::Completed, 9), vec![]).await.unwrap());
        assert_eq!(balance(&store, &secrets).await, (1, 0));
        let key = store.account(&auth).await.unwrap().unwrap();
        assert_eq!((key.total_calls, key.successful_calls), (2, 1));
    }
}

#[tokio::test]
async fn what_is_repeated_changes_nothing() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 5).await;
        let placed = store.place(&auth, call(Some("http://a/")), |_| event(1, "i")).await.unwrap();
        assert!(store.answered(&placed.call, answered(), vec![event(2, "a")]).await.unwrap());
        assert!(!store.answered(&placed.call, answered(), vec![event(2, "a")]).await.unwrap());
        let completed = end(CallStatus::Completed, 9);
        assert!(store.ended(&placed.call, completed.clone(), vec![event(3, "e")]).await.unwrap());
        let failed = end(CallStatus::Failed, 99);
        assert!(!store.ended(&placed.call, failed, vec![event(3, "other")]).await.unwrap());
        assert!(!store.ended(&placed.call, completed, vec![event(3, "e")]).await.unwrap());
        assert!(!store.answered(&placed.call, answered(), vec![]).await.unwrap());
        assert_eq!(balance(&store, &secrets).await, (4, 0));
        let row = store.call(&auth, placed.call.call_id()).await.unwrap().unwrap();
        assert_eq!((row.status, row.ended_at), (CallStatus::Completed, Some(NOW.plus(9_000))));
        let events = store.due_events(NOW.plus(1_000_000), 100).await.unwrap();
        let names: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
        assert_eq!(names, ["i", "a", "e"]);
    }
}

#[tokio::test]
async fn an_end_that_knows_of_an_answer_nobody_could_write_deducts() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 5).await;
        let placed = store.place(&auth, call(None), |_| event(1, "i")).await.unwrap();
        let mut ended = end(CallStatus::Completed, 9);
        ended.answered_at = Some(NOW.plus(2_000));
        assert!(store.ended(&placed.call, ended, vec![]).await.unwrap());
        assert_eq!(balance(&store, &secrets).await, (4, 0));
    }
}

#[tokio::test]
async fn a_write_that_fails_half_way_leaves_nothing_and_harms_no_other() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 50).await;
        // Placed at once, they share transactions; the eighth fails after its hold was taken.
        let tries = (0..20).map(|n| {
            store.place(&auth, call(Some("http://a/")), move |_| {
                assert_ne!(n, 7, "this one is meant to fail");
                event(1, "call.initiated")
            })
        });
        let placed = futures_util::future::join_all(tries).await;
        for (n, placed) in placed.iter().enumerate() {
            assert_eq!(placed.is_ok(), n != 7, "{n}: {placed:?}");
        }
        assert_eq!(balance(&store, &secrets).await, (50, 19));
        assert_eq!(store.open_calls().await.unwrap().len(), 19);
        assert_eq!(store.due_events(NOW, 100).await.unwrap().len(), 19);
        assert_eq!(store.account(&auth).await.unwrap().unwrap().total_calls, 19);
    }
}

#[tokio::test]
async fn credit_can_be_taken_but_not_what_calls_hold() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 3).await;
        store.place(&auth, call(None), |_| event(1, "i")).await.unwrap();
        let taken = store.credit_key(&secrets.key_id, -3, "too much", NOW).await;
        assert!(matches!(taken, Err(AdminError::BelowHolds)));
        assert_eq!(store.credit_key(&secrets.key_id, -2, "refund", NOW).await.unwrap(), 1);
        let refused = store.place(&auth, call(None), |_| event(1, "i")).await;
        assert!(matches!(refused, Err(PlaceError::InsufficientCredits)));
        assert_eq!(store.credit_key(&secrets.key_id, 50, "paid", NOW).await.unwrap(), 51);
        assert_eq!(balance(&store, &secrets).await, (51, 1));
    }
}

/// R3: random operations from a printed seed, on a store whose process dies again and again (its
/// runtime is dropped with transactions under way). `KAPHILA_TEST_OPERATIONS` sets how many.
#[test]
fn random_operations_and_crashes_keep_the_ledger_and_the_balance_together() {
    let operations = std::env::var("KAPHILA_TEST_OPERATIONS");
    let operations: usize = operations.ok().and_then(|n| n.parse().ok()).unwrap_or(4_000);
    const EPOCHS: usize = 20;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let database = Database::sqlite();
    let setup = tokio::runtime::Runtime::new().unwrap();
    let secrets = setup.block_on(async {
        let store = database.open().await;
        let (_, secrets) = key(&store, 1_000).await;
        store.close().await;
        secrets
    });
    let placed: Arc<Mutex<Vec<CallRef>>> = Arc::default();
    for epoch in 0..EPOCHS {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = database.open().await;
            store.close_open_calls(NOW, |_, _| vec![]).await.unwrap();
            let (_, holds) = balance(&store, &secrets).await;
            assert_eq!(holds, 0, "epoch {epoch}: every hold of the dead process is settled");
            let auth = store.authenticate(&secrets.key, NOW).await.unwrap().unwrap();
            let mut tasks = Vec::new();
            for worker in 0..8 {
                let mut rng = StdRng::seed_from_u64(seed ^ ((epoch * 8 + worker) as u64));
                let (store, auth, placed) = (store.clone(), auth.clone(), placed.clone());
                let (secrets, n) = (secrets.clone(), operations / EPOCHS / 8);
                tasks.push(tokio::spawn(async move {
                    for _ in 0..n {
                        random_operation(&store, &auth, &secrets, &placed, &mut rng).await;
                    }
                }));
            }
            // All but the last few are waited for: those die half-way.
            for task in tasks.drain(..6) {
                task.await.unwrap();
            }
        });
        runtime.shutdown_background();
    }
    setup.block_on(async {
        let store = database.open().await;
        store.close_open_calls(NOW, |_, _| vec![]).await.unwrap();
        assert!(store.open_calls().await.unwrap().is_empty());
        let (_, holds) = balance(&store, &secrets).await;
        assert_eq!(holds, 0);
        let auth = store.authenticate(&secrets.key, NOW).await.unwrap().unwrap();
        let refs = std::mem::take(&mut *placed.lock().unwrap());
        let mut ids = HashMap::new();
        for call in &refs {
            let row = store.call(&auth, call.call_id()).await.unwrap();
            assert!(row.is_some_and(|row| row.status.is_terminal()), "{}", call.call_id());
            *ids.entry(call.call_id().to_owned()).or_insert(0) += 1;
        }
        assert!(ids.values().all(|n| *n == 1), "ids are unique");
        assert!(!refs.is_empty());
    });
}

async fn random_operation(
    store: &Store,
    auth: &kaphila::store::Authenticated,
    secrets: &NewSecrets,
    placed: &Mutex<Vec<CallRef>>,
    rng: &mut StdRng,
) {
    let some = {
        let placed = placed.lock().unwrap();
        let recent = placed.len().min(200);
        (recent > 0).then(|| placed[placed.len() - 1 - rng.random_range(0..recent)].clone())
    };
    match (rng.random_range(0..10), some) {
        (0..4, _) | (_, None) => match store.place(auth, call(None), |_| event(1, "i")).await {
            Ok(new) => placed.lock().unwrap().push(new.call),
            Err(PlaceError::InsufficientCredits) => {}
            Err(error) => panic!("{error}"),
        },
        (4..6, Some(call)) => {
            store.answered(&call, answered(), vec![]).await.unwrap();
        }
        (6..9, Some(call)) => {
            let status = CallStatus::ALL[rng.random_range(2..7)];
            store.ended(&call, end(status, 9), vec![]).await.unwrap();
        }
        (_, _) => {
            let credits = rng.random_range(-20..20);
            match store.credit_key(&secrets.key_id, credits, "random", NOW).await {
                Ok(_) | Err(AdminError::BelowHolds) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}
