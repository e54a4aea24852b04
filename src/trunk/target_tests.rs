use super::*;
use crate::store::TrunkSettings;

#[allow(clippy::disallowed_methods, reason = "the time does not matter here")]
async fn target(change: impl FnOnce(&mut TrunkSettings)) -> Result<Target, TargetError> {
    let mut settings = TrunkSettings::new("t", "sip:127.0.0.2:5070");
    change(&mut settings);
    let trunk = Trunk {
        id: TrunkId(1),
        settings,
        disabled: false,
        created_at: Millis(0),
        updated_at: Millis(0),
    };
    let found = Target::resolve(&Resolver::new(&[]), Instant::now(), &trunk).await;
    found.map(|(target, _)| target)
}

fn number(text: &str) -> Number {
    Number::parse(text).unwrap()
}

fn headers(addressing: &Addressing) -> Vec<String> {
    let line = |(name, value): &(HeaderName, HeaderValue)| {
        format!("{}: {}", name.as_str(), value.as_str())
    };
    addressing.headers.iter().map(line).collect()
}

#[tokio::test]
async fn the_number_is_dialled_behind_the_prefix_at_the_trunk() {
    let target = target(|_| {}).await.unwrap();
    assert_eq!(target.remote, "127.0.0.2:5070".parse().unwrap());
    assert_eq!(target.local, IpAddr::from([127, 0, 0, 1]));
    let addressing = target.addressing(&number("4420"), Some("4930"), None);
    assert_eq!(addressing.request_uri.to_string(), "sip:004420@127.0.0.2:5070");
    assert_eq!(addressing.to.to_string(), "<sip:004420@127.0.0.2:5070>");
    assert_eq!(addressing.from.to_string(), "<sip:4930@127.0.0.1>");
    assert!(addressing.headers.is_empty());
}

#[tokio::test]
async fn a_trunks_own_ways() {
    let target = target(|it| {
        it.prefix = "9".to_owned();
        it.from_domain = Some("pbx.example.com".to_owned());
        it.identity = "pai".to_owned();
        it.codecs.0 = vec!["pcma".to_owned()];
        it.allow.0 = vec!["192.0.2.0/24".to_owned()];
    });
    let target = target.await.unwrap();
    assert_eq!(target.codecs, ["pcma"]);
    assert!(target.peers.iter().any(|it| it.contains([192, 0, 2, 7].into())));
    assert!(target.peers.iter().any(|it| it.contains([127, 0, 0, 2].into())));
    let addressing = target.addressing(&number("*43#"), Some("4930"), None);
    assert_eq!(addressing.request_uri.to_string(), "sip:9*43%23@127.0.0.2:5070");
    assert_eq!(addressing.from.to_string(), "<sip:4930@pbx.example.com>");
    assert_eq!(headers(&addressing), ["P-Asserted-Identity: <sip:4930@pbx.example.com>"]);
}

#[tokio::test]
async fn remote_party_id_and_nobody() {
    let target = target(|it| it.identity = "rpid".to_owned()).await.unwrap();
    let named = target.addressing(&number("4420"), Some("4930"), None);
    assert_eq!(
        headers(&named),
        ["Remote-Party-ID: <sip:4930@127.0.0.1>;party=calling;screen=yes;privacy=off"]
    );
    let nobody = target.addressing(&number("4420"), None, None);
    let from = nobody.from.to_string();
    assert!(from.contains("Anonymous") && from.contains("<sip:anonymous@anonymous.invalid>"));
    assert!(headers(&nobody).is_empty());
}

#[tokio::test]
async fn numbers_are_written_as_the_trunk_wants_them() {
    let target = target(|it| {
        it.strip_digits = 2;
        it.prefix = "0".to_owned();
        it.caller_prefix = "+".to_owned();
        it.identity = "pai".to_owned();
    });
    let target = target.await.unwrap();
    let addressing = target.addressing(&number("4930123456"), Some("14155550100"), None);
    assert_eq!(addressing.request_uri.to_string(), "sip:030123456@127.0.0.2:5070");
    assert_eq!(addressing.from.to_string(), "<sip:+14155550100@127.0.0.1>");
    assert_eq!(headers(&addressing), ["P-Asserted-Identity: <sip:+14155550100@127.0.0.1>"]);
    assert_eq!(target.strip, 2);
    let short = Target { strip: 3, ..target };
    let addressing = short.addressing(&number("112"), None, None);
    assert_eq!(addressing.request_uri.to_string(), "sip:0112@127.0.0.2:5070", "whole");
}

/// RFC 3323 §4.1.1.3, RFC 3325 §9.3, and the draft of Remote-Party-ID.
#[tokio::test]
async fn a_private_caller_is_told_to_the_trunk_alone() {
    let private = async |identity: &str| {
        let identity = identity.to_owned();
        let target = target(|it| (it.privacy, it.identity) = (true, identity)).await.unwrap();
        let addressing = target.addressing(&number("4420"), Some("4930"), None);
        let from = addressing.from.to_string();
        assert!(from.ends_with("<sip:anonymous@anonymous.invalid>"), "{from}");
        headers(&addressing)
    };
    let asserted = "P-Asserted-Identity: <sip:4930@127.0.0.1>";
    assert_eq!(private("pai").await, [asserted, "Privacy: id"]);
    let remote = "Remote-Party-ID: <sip:4930@127.0.0.1>;party=calling;screen=yes;privacy=full";
    assert_eq!(private("rpid").await, [remote, "Privacy: id"]);
    assert_eq!(private("none").await, ["Privacy: id"]);
}

#[tokio::test]
async fn a_redirect_replaces_the_request_uri_and_the_address() {
    let target = target(|_| {}).await.unwrap();
    let way = target.first_way();
    let at = |text| Target::redirected(way, &Uri::parse(text).unwrap()).remote.to_string();
    assert_eq!(target.ways(&mut rand::rng()), [way]);
    assert_eq!(at("sip:other@127.0.0.2:5080"), "127.0.0.2:5080");
    assert_eq!(at("sip:other@127.0.0.3"), "127.0.0.3:5060");
    assert_eq!(at("sip:other@trunk.example:5062"), "127.0.0.2:5062");
    let redirect = Uri::parse("sip:other@127.0.0.2:5080").unwrap();
    let addressing = target.addressing(&number("4420"), None, Some(&redirect));
    assert_eq!(addressing.request_uri, redirect);
    assert_eq!(addressing.to.to_string(), "<sip:004420@127.0.0.2:5070>");
}

/// The account is proved to the trunk's own addresses, and stands where no caller does.
#[tokio::test]
async fn an_account_is_bound_to_its_trunk() {
    let target = target(|it| {
        it.username = Some("alice@carrier.example".to_owned());
        it.password = Some(crate::store::Password::new("wonderland"));
        it.register = true;
        it.allow.0 = vec!["192.0.2.0/24".to_owned()];
    });
    let target = target.await.unwrap();
    let credentials = target.credentials.clone().unwrap();
    assert!(credentials.belong_to([127, 0, 0, 2].into()));
    assert!(credentials.belong_to([192, 0, 2, 9].into()));
    assert!(!credentials.belong_to([198, 51, 100, 1].into()));
    assert!(!format!("{target:?}").contains("wonderland"));
    let from = |caller| target.addressing(&number("4420"), caller, None).from.to_string();
    assert_eq!(from(None), "<sip:alice@127.0.0.2>");
    assert_eq!(from(Some("4930")), "<sip:4930@127.0.0.2>");
    let spec = target.registration().unwrap();
    assert_eq!(spec.registrar.to_string(), "sip:127.0.0.2:5070");
    assert_eq!(spec.aor.to_string(), "<sip:alice@127.0.0.2>");
    assert_eq!(spec.contact_user, "alice");
    let plain = self::target(|it| it.register = true).await.unwrap();
    assert!(plain.registration().is_none(), "without an account");
}

#[tokio::test]
async fn a_trunk_is_dialled_over_what_its_uri_asks_for() {
    use Transport::{Tcp, Tls, Udp};
    // The URI; where and over what, the name to prove, Request-URI and To, large ones over TCP.
    let cases = [
        ("sip:127.0.0.2", "127.0.0.2:5060", Udp, None, "sip:0044@127.0.0.2", None, true),
        (
            "sip:127.0.0.2;transport=udp",
            "127.0.0.2:5060",
            Udp,
            None,
            "sip:0044@127.0.0.2",
            None,
            false,
        ),
        (
            "sip:localhost:5070;transport=TCP",
            ":5070",
            Tcp,
            None,
            "sip:0044@localhost:5070;transport=TCP",
            Some("sip:0044@localhost:5070"),
            false,
        ),
        (
            "sip:localhost;transport=tls",
            ":5061",
            Tls,
            Some("localhost"),
            "sip:0044@localhost;transport=tls",
            Some("sip:0044@localhost"),
            false,
        ),
        ("sips:[::1]", "[::1]:5061", Tls, Some("::1"), "sips:0044@[::1]", None, false),
    ];
    for (uri, remote, transport, name, request_uri, to, large) in cases {
        if std::net::UdpSocket::bind("[::1]:0").is_err() && uri.contains("::1") {
            continue;
        }
        let target = target(|it| it.uri = uri.to_owned()).await.unwrap();
        assert!(target.remote.to_string().ends_with(remote), "{uri}: {}", target.remote);
        assert_eq!(target.transport, transport, "{uri}");
        assert_eq!(target.tls_name.as_deref(), name, "{uri}");
        assert_eq!(target.large_over_tcp, large, "{uri}");
        let addressing = target.addressing(&number("044"), None, None);
        let dialled = addressing.request_uri.to_string();
        assert_eq!(dialled, request_uri.replace("0044", "00044"), "{uri}");
        let to = to.unwrap_or(request_uri).replace("0044", "00044");
        assert_eq!(addressing.to.to_string(), format!("<{to}>"), "{uri}");
    }
}

#[tokio::test]
async fn a_redirect_changes_the_transport_but_never_leaves_tls() {
    let asked = Uri::parse("sip:1@127.0.0.3;transport=tcp").unwrap();
    let udp = target(|_| {}).await.unwrap();
    let redirected = |target: &Target| {
        let way = Target::redirected(target.first_way(), &asked);
        (way.remote.to_string(), way.transport)
    };
    assert_eq!(redirected(&udp), ("127.0.0.3:5060".to_owned(), Transport::Tcp));
    let tls = target(|it| it.uri = "sips:127.0.0.2".to_owned()).await.unwrap();
    assert_eq!(redirected(&tls), ("127.0.0.3:5061".to_owned(), Transport::Tls));
}

#[tokio::test]
async fn what_cannot_be_dialled_says_why() {
    let with = |uri: &'static str| target(move |it| it.uri = uri.to_owned());
    assert!(matches!(with("tel:123").await, Err(TargetError::Uri(_))));
    assert!(matches!(with("nonsense").await, Err(TargetError::Uri(_))));
    let sctp = with("sip:127.0.0.2;transport=sctp").await;
    assert_eq!(sctp.unwrap_err(), TargetError::Transport("sctp".to_owned()));
    assert!(matches!(with("sips:127.0.0.2;transport=udp").await, Err(TargetError::Insecure(_))));
    let unknown = with("sip:does-not-exist.invalid").await;
    assert!(matches!(unknown, Err(TargetError::Unresolved { .. })));
}
