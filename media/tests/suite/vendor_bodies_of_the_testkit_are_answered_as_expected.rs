//! The bodies that vendors send, where the test kit lies beside the project.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use kaphila_media::sdp::{Agreed, Codec, Direction, Negotiation, SdpError};

use crate::sdp_support::{body, callee, lines};

/// What we make of a body.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// Codec with its payload type, telephone-event's, our direction, packet length.
    Taken(Codec, u8, Option<u8>, Direction, u8),
    /// 488.
    Refused(SdpError),
}

use Codec::{Pcma, Pcmu};
use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
use Outcome::{Refused, Taken};

fn expected() -> Vec<(&'static str, Outcome)> {
    let savp = || Refused(SdpError::Profile("RTP/SAVP".to_owned()));
    vec![
        ("cisco_cucm_offer.sdp", Taken(Pcmu, 0, Some(101), SendRecv, 20)),
        ("cisco_cucm_hold.sdp", Taken(Pcmu, 0, None, Inactive, 20)),
        ("cisco_cucm_srtp.sdp", savp()),
        ("cisco_ios_gw.sdp", Taken(Pcmu, 0, Some(101), SendRecv, 20)),
        ("cisco_ios_comedia.sdp", Taken(Pcmu, 0, None, SendRecv, 20)),
        ("sonus_g729_only.sdp", Refused(SdpError::NoCommonCodec)),
        ("ribbon_rtcp_attr.sdp", Taken(Pcmu, 0, Some(101), SendRecv, 20)),
        ("sonus_siprec.sdp", Taken(Pcmu, 0, None, RecvOnly, 20)),
        ("audiocodes_gw.sdp", Taken(Pcma, 8, Some(101), SendRecv, 20)),
        ("audiocodes_fmtp_list.sdp", Taken(Pcmu, 0, Some(101), RecvOnly, 20)),
        ("audiocodes_lf_only.sdp", Taken(Pcma, 8, Some(101), SendRecv, 20)),
        ("sbc_savp_icelite.sdp", savp()),
        ("skype_business.sdp", Taken(Pcmu, 0, Some(101), SendRecv, 20)),
        ("teams_sbc_savp.sdp", savp()),
        ("broadworks_label_empty.sdp", Taken(Pcmu, 0, Some(101), SendRecv, 20)),
        ("twilio_offer.sdp", Taken(Pcmu, 0, Some(101), SendRecv, 20)),
        ("twilio_srtp.sdp", savp()),
        ("twilio_maxptime150.sdp", Taken(Pcmu, 0, Some(101), SendRecv, 20)),
        ("asterisk_answer.sdp", Taken(Pcmu, 0, Some(101), SendRecv, 20)),
        ("asterisk_many.sdp", Taken(Pcmu, 0, Some(101), SendRecv, 20)),
        ("freeswitch_13.sdp", Taken(Pcmu, 0, Some(101), SendRecv, 20)),
        ("freeswitch_ptime30.sdp", Taken(Pcma, 8, Some(99), SendRecv, 30)),
        ("linphone.sdp", Taken(Pcmu, 0, Some(100), SendRecv, 20)),
        ("linphone_avpf.sdp", Taken(Pcmu, 0, Some(100), SendRecv, 20)),
        ("opal_ekiga2.sdp", Taken(Pcmu, 0, Some(101), SendRecv, 20)),
        ("polycom.sdp", Taken(Pcma, 8, Some(96), SendRecv, 20)),
        ("huawei_t38.sdp", Taken(Pcma, 8, Some(101), SendRecv, 20)),
        ("ims_volte.sdp", Refused(SdpError::NoCommonCodec)),
        ("zoiper_many_crypto.sdp", savp()),
        ("mrcp.sdp", Taken(Pcmu, 0, None, SendOnly, 20)),
    ]
}

#[test]
fn each_has_its_outcome() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/testkit/sdp");
    let Ok(table) = fs::read_to_string(folder.join("sdp.tsv")) else {
        println!("skipped: {} bodies, no test kit beside the repository", expected().len());
        return;
    };
    let mut files = BTreeSet::new();
    for (file, outcome) in expected() {
        let row = table.lines().find(|row| row.split('\t').next() == Some(file));
        let role = row.and_then(|row| row.split('\t').nth(1)).unwrap();
        let bytes = fs::read(folder.join(file)).unwrap();
        assert_eq!(run(role, &bytes), outcome, "{file}");
        files.insert(file);
    }
    for row in table.lines().skip(1) {
        let file = row.split('\t').next().unwrap();
        assert!(files.contains(file), "{file} is in the kit and not here");
    }
}

fn run(role: &str, bytes: &[u8]) -> Outcome {
    let mut ours = callee();
    let agreed = match role {
        "answer" => {
            ours.offer();
            ours.handle_answer(bytes)
        }
        "reoffer" => {
            ours.handle_offer(&body(&["m=audio 4000 RTP/AVP 0"])).unwrap();
            answered(&mut ours, bytes)
        }
        _ => answered(&mut ours, bytes),
    };
    match agreed {
        Ok(agreed) => Taken(
            agreed.send,
            agreed.send_pt,
            agreed.event_send.map(|event| event.pt),
            agreed.direction,
            agreed.ptime_ms,
        ),
        Err(refusal) => Refused(refusal),
    }
}

/// Our answer has a line for each stream of the offer, one of them on, under the same profile.
fn answered(ours: &mut Negotiation, offer: &[u8]) -> Result<Agreed, SdpError> {
    let (answer, agreed) = ours.handle_offer(offer)?;
    let streams = |text: String| -> Vec<Vec<String>> {
        let streams = text.lines().filter(|line| line.starts_with("m="));
        let words = |line: &str| line.split(' ').map(str::to_owned).collect();
        streams.map(words).collect()
    };
    let theirs = streams(String::from_utf8_lossy(offer).into_owned());
    let ours = streams(lines(&answer).join("\n"));
    assert_eq!(ours.len(), theirs.len());
    assert_eq!(ours.iter().filter(|stream| stream[1] != "0").count(), 1);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!((&ours[0], &ours[2]), (&theirs[0], &theirs[2]));
    }
    Ok(agreed)
}
