//! The table of the detector's classic mode: audio in, verdict, figures and time.

use std::time::{Duration, Instant};

use kaphila_media::amd::{self, Cause, Detector, Mode, ParamError, Params, Status, Verdict};

use Status::{Human, Machine, NotSure, Unknown};

/// Frames of `frame_ms` from a text like `s200 v400`: s silence, v voice, lengths in ms.
fn frames(audio: &str, frame_ms: usize) -> Vec<Vec<i16>> {
    let mut samples = Vec::new();
    for part in audio.split(' ') {
        let (kind, ms) = part.split_at(1);
        let level = if kind == "v" { 3_000 } else { 10 };
        let length = ms.parse::<usize>().unwrap() * 8;
        samples.extend((0..length).map(|n| if n % 2 == 0 { level } else { -level }));
    }
    let frames = samples.chunks_exact(frame_ms * 8);
    frames.map(<[i16]>::to_vec).collect()
}

fn run(params: Params, audio: &str, frame_ms: usize) -> Option<Verdict> {
    let mut detector = Detector::new(Instant::now(), params);
    let frames = frames(audio, frame_ms);
    frames.iter().find_map(|frame| detector.handle_frame(frame))
}

#[test]
fn the_table() {
    let defaults = Params::default();
    let three_words = Params { maximum_number_of_words: 3, ..defaults };
    let rows = [
        (defaults, 20, "s6000", Human, "INITIALSILENCE 2500-2500", 2500),
        (defaults, 20, "v400 s3000", Human, "HUMAN 800-800", 1200),
        (defaults, 20, "s300 v500 s3000", Human, "HUMAN 800-800", 1600),
        (defaults, 20, "s200 v400 s200 v600 s2000", Human, "HUMAN 800-800", 2200),
        (defaults, 20, "s200 v300 s100 v300 s100 v300", Machine, "MAXWORDS 3-2", 1100),
        (defaults, 20, "v300 s100 v300 s100 v300 s2000", Human, "HUMAN 800-800", 1900),
        (defaults, 20, "s200 v1600", Machine, "LONGGREETING 1500-1500", 1700),
        (defaults, 20, "s200 v1480 s2000", Human, "HUMAN 800-800", 2480),
        (defaults, 20, "s200 v80 s4000", Human, "INITIALSILENCE 2500-2500", 2780),
        (defaults, 20, "s1000 v80 s2000 v80 s2000", NotSure, "TOOLONG 5000", 5000),
        (defaults, 20, "s200 v300 s40 v300 s40 v300 s2000", Human, "HUMAN 800-800", 1980),
        (defaults, 20, "s200 v400 s780 v400 s2000", Human, "HUMAN 800-800", 2580),
        (defaults, 20, "s2400 v400 s2000", Human, "HUMAN 800-800", 3600),
        (defaults, 20, "s2500 v400", Human, "INITIALSILENCE 2500-2500", 2500),
        (three_words, 20, "s200 v300 s100 v300 s100 v300 s2000", Human, "HUMAN 800-800", 2100),
        (defaults, 30, "s300 v510 s2000", Human, "HUMAN 810-800", 1620),
    ];
    for (params, frame_ms, audio, status, figures, at) in rows {
        let verdict = run(params, audio, frame_ms).unwrap();
        let got = (verdict.status, verdict.to_string(), verdict.decided_ms);
        assert_eq!(got, (status, figures.to_owned(), at), "{audio}");
        assert!(!verdict.revised);
    }
}

#[test]
fn the_limits_of_one_word() {
    let params = Params { maximum_word_length: 600, ..Params::default() };
    let verdict = run(params, "s200 v700", 20).unwrap();
    assert_eq!(verdict.status, Machine);
    assert_eq!(verdict.to_string(), "MAXWORDLENGTH 600-600");
    assert_eq!(verdict.decided_ms, 800);
}

#[test]
fn frames_of_any_length_and_mixed_lengths_give_the_same() {
    for frame_ms in [1, 2, 5, 10, 20, 40] {
        let verdict = run(Params::default(), "s200 v400 s2000", frame_ms).unwrap();
        assert_eq!((verdict.status, verdict.decided_ms), (Human, 1400), "{frame_ms}");
    }
    let mut detector = Detector::new(Instant::now(), Params::default());
    let samples = frames("s200 v400 s2000", 20).concat();
    let mut rest = &samples[..];
    let mut lengths = [7, 160, 1, 333, 80].into_iter().cycle();
    let verdict = loop {
        let (frame, after) = rest.split_at(lengths.next().unwrap());
        rest = after;
        if let Some(verdict) = detector.handle_frame(frame) {
            break verdict;
        }
    };
    assert_eq!(verdict.status, Human);
    assert!((1400..1450).contains(&verdict.decided_ms), "{verdict:?}");
    assert_eq!(detector.handle_frame(&[]), None);
}

#[test]
fn a_frame_is_silent_below_the_threshold_and_voice_from_it_on() {
    for (level, cause) in [(255, Cause::InitialSilence), (256, Cause::LongGreeting)] {
        let mut detector = Detector::new(Instant::now(), Params::default());
        let frame = [level; 160];
        let verdict = (0..300).find_map(|_| detector.handle_frame(&frame)).unwrap();
        assert_eq!(verdict.cause, cause);
    }
    let mut detector = Detector::new(Instant::now(), Params::default());
    let loudest = [i16::MIN; 160];
    let verdict = (0..300).find_map(|_| detector.handle_frame(&loudest)).unwrap();
    assert_eq!(verdict.status, Machine);
}

#[test]
fn a_silent_line_counts_as_told() {
    let params = Params { initial_silence_status: Machine, ..Params::default() };
    let verdict = run(params, "s3000", 20).unwrap();
    assert_eq!((verdict.status, verdict.cause), (Machine, Cause::InitialSilence));
}

#[test]
fn no_audio_at_all_is_unknown_when_the_analysis_time_is_over() {
    let start = Instant::now();
    let mut detector = Detector::new(start, Params::default());
    let due = detector.poll_timeout().unwrap();
    assert_eq!(due, start + Duration::from_millis(5000));
    assert_eq!(detector.handle_timeout(due - Duration::from_millis(1)), None);
    let verdict = detector.handle_timeout(due).unwrap();
    assert_eq!((verdict.status, verdict.cause), (Unknown, Cause::NoAudio));
    assert_eq!((verdict.decided_ms, verdict.confidence), (5000, 0.0));
    assert_eq!(detector.poll_timeout(), None);
    assert_eq!(detector.handle_timeout(due), None);
}

#[test]
fn the_clock_ends_the_analysis_when_audio_is_short() {
    let start = Instant::now();
    let mut detector = Detector::new(start, Params::default());
    for frame in frames("s1000", 20) {
        assert_eq!(detector.handle_frame(&frame), None);
    }
    let verdict = detector.handle_timeout(start + Duration::from_secs(5)).unwrap();
    assert_eq!(verdict.status, NotSure);
    assert_eq!(verdict.to_string(), "TOOLONG 5000");
}

#[test]
fn a_hang_up_before_the_verdict_is_one() {
    let start = Instant::now();
    let mut detector = Detector::new(start, Params::default());
    detector.handle_frame(&[3_000; 160]);
    let verdict = detector.handle_hangup(start + Duration::from_millis(700)).unwrap();
    assert_eq!((verdict.status, verdict.cause), (NotSure, Cause::Hangup));
    assert_eq!((verdict.decided_ms, verdict.confidence), (700, 0.0));
    assert_eq!(detector.handle_hangup(start), None);
    assert_eq!(detector.handle_frame(&[3_000; 160]), None);
}

#[test]
fn the_figures_tell_what_was_measured() {
    let verdict = run(Params::default(), "s200 v400 s200 v600 s2000", 20).unwrap();
    let figures = verdict.figures;
    assert_eq!((figures.measured, figures.limit), (800, Some(800)));
    assert_eq!((figures.silence_ms, figures.run_ms), (800, 0));
    assert_eq!((figures.total_voice_ms, figures.words), (1000, 2));
    assert!((0.0..=1.0).contains(&verdict.confidence));
}

#[test]
fn speech_that_goes_on_after_human_is_one_revision() {
    // A greeting that draws breath: "Hello." – "You have reached …"
    let mut detector = Detector::new(Instant::now(), Params::default());
    let verdicts: Vec<_> = frames("s200 v400 s1000 v2000 s300 v1500 s200 v9000", 20)
        .iter()
        .filter_map(|frame| detector.handle_frame(frame))
        .collect();
    assert_eq!(verdicts.len(), 2);
    assert_eq!((verdicts[0].status, verdicts[0].revised), (Human, false));
    assert_eq!((verdicts[1].status, verdicts[1].revised), (Machine, true));
    assert_eq!(verdicts[1].to_string(), "LONGGREETING 3000-3000");
    assert_eq!(verdicts[1].decided_ms, 200 + 400 + 1000 + 2000 + 300 + 1000);
}

#[test]
fn a_person_who_speaks_in_turns_is_not_revised() {
    let mut detector = Detector::new(Instant::now(), Params::default());
    let audio = "s200 v400 s1000 v2000 s900 v2000 s900 v2000 s900 v2000 s900 v4000";
    let frames = frames(audio, 20);
    let verdicts = frames.iter().filter_map(|frame| detector.handle_frame(frame));
    assert_eq!(verdicts.count(), 1);
}

#[test]
fn parameters_out_of_range_and_modes_not_built_are_refused_by_name() {
    assert_eq!(Params::default().check(), Ok(()));
    let broken = Params { greeting: 0, ..Params::default() };
    assert_eq!(broken.check().unwrap_err().to_string(), "greeting must be 1 to 60000");
    let broken = Params { silence_threshold: 32_768, ..Params::default() };
    assert!(matches!(
        broken.check(),
        Err(ParamError::OutOfRange { name: "silence_threshold", .. })
    ));
    assert_eq!("classic".parse(), Ok(Mode::Classic));
    assert_eq!("enhanced".parse::<Mode>(), Err(ParamError::NotBuilt("enhanced")));
    assert_eq!("clever".parse::<Mode>(), Err(ParamError::UnknownMode));
}

#[test]
fn a_recording_is_analysed_to_its_end() {
    let start = Instant::now();
    let verdicts = |audio| {
        let samples = frames(audio, 20).concat();
        amd::analyse(start, Params::default(), &samples)
    };
    let texts =
        |audio| -> Vec<String> { verdicts(audio).iter().map(ToString::to_string).collect() };
    assert_eq!(texts("s200 v400 s900"), ["HUMAN 800-800"]);
    assert_eq!(texts("s200 v400 s100"), ["HANGUP 700"]);
    let corrected = texts("s200 v400 s900 v4000");
    assert_eq!(corrected, ["HUMAN 800-800", "LONGGREETING 3000-3000"]);
}
