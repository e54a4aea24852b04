use super::*;

fn read_it(text: &str) -> Found {
    read(text, |name| matches!(name, "PCMU" | "PCMA"))
}

/// Written after the options' own documentation, for a carrier by address and one behind a proxy.
const FILE: &str = "\
;== what every carrier has ==
[carrier](!)
type=endpoint
context=from-carrier ; where its calls go
disallow=all
allow=ulaw,alaw,g722
direct_media=no

[one](carrier)
aors=one
from_domain=us.example
callerid=\"Shop\" <+1 917 245 2367>
rtp_symmetric=yes
send_pai=yes
t38_udptl=yes

[one]
type=aor
contact=sip:198.51.100.7:5062
qualify_frequency=20

[one]
type=identify
endpoint=one
match=198.51.100.7,203.0.113.0/24

;-- not yet
[two](carrier)
aors=two
--;
[three](carrier)
aors=three
outbound_auth=three-auth
[three]
type=aor
contact=sip:carrier.example
[three-auth]
type=auth
auth_type=userpass
username=shop
password=secret-4711
[three]
type=registration
outbound_auth=three-auth
server_uri=sip:carrier.example
client_uri=sip:shop@customers.carrier.example
expiration=600
[four]
type=registration
server_uri=sip:other.example
[udp]
type=transport
protocol=udp
bind=0.0.0.0
[acl]
type=acl
deny=0.0.0.0/0
";

#[test]
fn an_endpoint_with_its_aor_and_identify_is_a_trunk_and_the_rest_is_told_by_its_line() {
    let found = read_it(FILE);
    let trunk = TrunkSettings {
        prefix: String::new(),
        caller_id: Some("19172452367".to_owned()),
        from_domain: Some("us.example".to_owned()),
        identity: "pai".to_owned(),
        codecs: List(vec!["PCMU".to_owned(), "PCMA".to_owned()]),
        allow: List(vec!["198.51.100.7".to_owned(), "203.0.113.0/24".to_owned()]),
        learn_rtp: true,
        qualify_secs: 20,
        ..TrunkSettings::new("one", "sip:198.51.100.7:5062")
    };
    let account = TrunkSettings {
        prefix: String::new(),
        from_domain: Some("customers.carrier.example".to_owned()),
        codecs: List(vec!["PCMU".to_owned(), "PCMA".to_owned()]),
        username: Some("shop".to_owned()),
        password: Some(Password::new("secret-4711")),
        register: true,
        ..TrunkSettings::new("three", "sip:carrier.example")
    };
    assert_eq!(found.trunks, [trunk, account]);
    let lines = |notes: &[Note]| notes.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        lines(&found.notes),
        [
            "line 9: allow=g722: this codec is not built yet",
            "line 15: t38_udptl=yes is not carried over",
            "line 31: allow=g722: this codec is not built yet",
            "line 47: expiration=600 is not carried over",
            "line 55: [acl] of type `acl` is not carried over",
        ]
    );
    assert_eq!(
        lines(&found.refused),
        ["line 48: [four]: no trunk has the outbound_auth of this registration",]
    );
    assert!(!format!("{found:?}").contains("4711"), "a password is not told");
}

#[test]
fn what_cannot_be_read_or_dialled_is_refused_by_its_line() {
    for (text, says) in [
        ("x=1\n", "line 1: it stands before the first"),
        ("#include more.conf\n", "line 1: `#include more.conf`"),
        ("[a\n", "line 1: the section's ] is missing"),
        ("[a](+)\n", "line 1: [a](+)"),
        ("[a](b)\n", "line 1: there is no template b"),
        ("[a]\nnonsense\n", "line 2: `nonsense` is no option"),
        ("[a]\ntype=endpoint\n", "line 1: [a] is left out: its aor has no contact"),
        (
            "[a]\ntype=endpoint\naors=a\n[a]\ntype=aor\ncontact=tel:1\n",
            "is not a sip: or sips: URI",
        ),
        (
            "[a]\ntype=endpoint\naors=a\n[a]\ntype=aor\ncontact=sip:x\\;transport=ws\n",
            "transport=ws is not built",
        ),
        ("[a]\ntype=endpoint\nmedia_encryption=sdes\n", "SRTP is not built yet"),
        (
            "[a]\ntype=endpoint\naors=a\nauth=b\n[a]\ntype=aor\ncontact=sip:x\n",
            "digest authentication of the carrier is not built yet",
        ),
        (
            "[a]\ntype=endpoint\naors=a\noutbound_auth=b\n[a]\ntype=aor\ncontact=sip:x\n",
            "there is no auth [b]",
        ),
        (
            "[a]\ntype=endpoint\naors=a\noutbound_auth=a\n[a]\ntype=aor\ncontact=sip:x\n\
             [a]\ntype=auth\nauth_type=md5\nusername=u\nmd5_cred=0\n",
            "the password itself is needed",
        ),
    ] {
        let found = read_it(text);
        assert!(found.trunks.is_empty(), "{text}");
        let told: Vec<String> = found.refused.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|it| it.contains(says)), "{text}: {told:?}");
    }
}

#[test]
fn comments_end_where_they_say() {
    let mut inside = false;
    assert_eq!(uncommented("a=1 ; more", &mut inside), "a=1 ");
    assert_eq!(uncommented(r"a=x\;y ; z", &mut inside), "a=x;y ");
    assert_eq!(uncommented("a ;-- b --; c", &mut inside), "a  c");
    assert_eq!(uncommented("a ;-- b", &mut inside), "a ");
    assert!(inside);
    assert_eq!(uncommented("b --; c", &mut inside), " c");
    assert!(!inside);
}

proptest::proptest! {
    #[test]
    fn nothing_that_is_read_panics(
        text in r"(\[[a-c]{0,2}\]?(\([!+,a-c]{0,3}\))?\n|type ?= ?(endpoint|aor|identify)\n|(aors|contact|match|allow|callerid)=[ -~é;]{0,12}\n|[ -~é\n]{0,10}){0,12}"
    ) {
        let _ = read_it(&text);
    }
}
