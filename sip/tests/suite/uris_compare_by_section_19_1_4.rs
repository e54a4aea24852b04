//! The examples of RFC 3261 §19.1.4, in its order, and what they leave out.

use kaphila_sip::message::Uri;

fn same(a: &str, b: &str) -> bool {
    let (a, b) = (Uri::parse(a).unwrap(), Uri::parse(b).unwrap());
    assert_eq!(a.equivalent(&b), b.equivalent(&a), "{a} {b}");
    a.equivalent(&b)
}

#[test]
fn the_equivalent_ones() {
    for (a, b) in [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        ("sip:a%3ab@h", "sip:a%3Ab@h"),
        ("sip:[2001:DB8::1]", "sip:[2001:db8:0::1]"),
    ] {
        assert!(same(a, b), "{a} {b}");
    }
}

#[test]
fn the_different_ones() {
    for (a, b) in [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
        ("sip:a@h", "sips:a@h"),
        ("sip:a@h;maddr=192.0.2.1", "sip:a@h"),
        ("sip:a@h;user=phone", "sip:a@h"),
        ("sip:a%3Bb@h", "sip:a;b@h"),
        ("sip:h", "sip:a@h"),
    ] {
        assert!(!same(a, b), "{a} {b}");
    }
}
