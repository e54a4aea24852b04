//! re-INVITE from the carrier: hold, resume, a codec we do not speak; INFO with a digit.

use crate::support::carrier::{Carrier, Message};
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_and_info_in_a_dialog() {
    let mut carrier = Carrier::on("127.0.0.1").await;
    let mut server = Server::start(&[&carrier], 1).await;
    let answer = server.place(server.request());
    let invite = carrier.expect("INVITE").await;
    carrier.accept(&invite).await;
    carrier.expect("ACK").await;
    answer.await.unwrap().unwrap();
    server.event("call.initiated").await;
    server.event("call.answered").await;
    let version = |message: &Message| {
        let line = message.body().lines().find(|line| line.starts_with("o=")).unwrap().to_owned();
        let mut words = line.split(' ').map(str::to_owned).skip(1);
        (words.next().unwrap(), words.next().unwrap().parse::<u64>().unwrap())
    };

    let held = carrier.offer(&invite, 2, "RTP/AVP 0 101", "a=sendonly\r\n").await;
    assert_eq!(held.uri(), "200", "{held:?}");
    assert!(held.body().contains("a=recvonly"), "{}", held.body());
    let (id, first) = version(&invite);
    assert_eq!(version(&held), (id.clone(), first + 1), "o= id constant, version one higher");
    let resumed = carrier.offer(&invite, 3, "RTP/AVP 0 101", "").await;
    assert!(!resumed.body().contains("a=recvonly"), "{}", resumed.body());
    assert_eq!(version(&resumed), (id, first + 2));
    let foreign = carrier.offer(&invite, 4, "RTP/AVP 18", "").await;
    assert_eq!(foreign.uri(), "488");

    let type_and_body = ("application/dtmf-relay", "Signal=7\r\nDuration=120\r\n");
    let info = carrier.request("INFO", &invite, 5, type_and_body).await;
    assert_eq!(info.uri(), "200");
    let digit = server.event("dtmf.received").await;
    assert_eq!((&digit["digit"], &digit["method"]), (&"7".into(), &"info".into()));
    carrier.bye(&invite).await;
    carrier.expect("SIP/2.0").await;
    server.event("call.ended").await;
    server.ends_clean().await;
}
