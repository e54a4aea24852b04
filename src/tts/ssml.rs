//! Marked-up text (SSML): told from plain text, and read by engines that know none.
//!
//! What people send is not always well formed. Nothing of it is an error here: what is no tag and
//! no entity is text. Start at [`plain`].

/// The longest name or number of an entity, `&CounterClockwiseContourIntegral;` left aside.
const MAX_ENTITY: usize = 10;

/// What XML defines, and what people know from HTML: a name and its character, side by side.
const ENTITIES: &str = "\
    lt < gt > amp & quot \" apos ' \
    cent ¢ pound £ yen ¥ euro € sect § copy © reg ® trade ™ deg ° plusmn ± micro µ middot · \
    frac14 ¼ frac12 ½ frac34 ¾ times × divide ÷ iexcl ¡ iquest ¿ laquo « raquo » \
    hellip … ndash – mdash — lsquo ‘ rsquo ’ ldquo “ rdquo ” bull • \
    agrave à aacute á acirc â atilde ã auml ä aring å aelig æ ccedil ç egrave è eacute é ecirc ê \
    euml ë igrave ì iacute í icirc î iuml ï ntilde ñ ograve ò oacute ó ocirc ô otilde õ ouml ö \
    oslash ø ugrave ù uacute ú ucirc û uuml ü yacute ý yuml ÿ szlig ß oelig œ \
    Agrave À Aacute Á Acirc Â Atilde Ã Auml Ä Aring Å AElig Æ Ccedil Ç Egrave È Eacute É Ecirc Ê \
    Euml Ë Igrave Ì Iacute Í Icirc Î Iuml Ï Ntilde Ñ Ograve Ò Oacute Ó Ocirc Ô Otilde Õ Ouml Ö \
    Oslash Ø Ugrave Ù Uacute Ú Ucirc Û Uuml Ü Yacute Ý OElig Œ";

/// Whether a text is marked up: it begins with `<speak`, well formed or not.
pub(super) fn is_ssml(text: &str) -> bool {
    let prolog = text.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>"));
    let text = prolog.map_or(text, |(_, rest)| rest.trim_start());
    text.strip_prefix("<speak")
        .is_some_and(|rest| rest.starts_with(|c: char| matches!(c, '>' | '/') || c.is_whitespace()))
}

/// What a marked-up text says, for engines that know no SSML.
pub(super) fn plain(ssml: &str) -> String {
    let mut said = String::with_capacity(ssml.len());
    let mut rest = ssml;
    while let Some((before, markup)) = rest.split_once('<') {
        decode(before, &mut said);
        // A tag may part words: `one<break/>two`.
        said.push(' ');
        rest = if let Some(comment) = markup.strip_prefix("!--") {
            comment.split_once("-->").map_or(comment, |(_, after)| after)
        } else if let Some(verbatim) = markup.strip_prefix("![CDATA[") {
            let (verbatim, after) = verbatim.split_once("]]>").unwrap_or((verbatim, ""));
            said.push_str(verbatim);
            after
        } else {
            after_tag(markup)
        };
    }
    decode(rest, &mut said);
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What follows the tag whose `<` stands before this. All of it (the `<` goes unsaid) where it is no
/// tag: `a < b`, or one that does not end before the next begins.
fn after_tag(markup: &str) -> &str {
    if !markup.starts_with(|c: char| c.is_alphabetic() || matches!(c, '/' | '!' | '?')) {
        return markup;
    }
    let mut quote = None;
    for (at, c) in markup.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '>') => return markup.get(at + 1..).unwrap_or_default(),
            (None, '<') => return markup,
            (None, _) => {}
        }
    }
    // A quote that does not end: the tag ends as if there were none.
    match (quote, markup.find(['<', '>'])) {
        (Some(_), Some(at)) if markup.get(at..).is_some_and(|it| it.starts_with('>')) => {
            markup.get(at + 1..).unwrap_or_default()
        }
        _ => markup,
    }
}

/// Adds a text without tags, its entities as characters.
fn decode(text: &str, said: &mut String) {
    let mut rest = text;
    while let Some((before, entity)) = rest.split_once('&') {
        said.push_str(before);
        let named = entity.split_once(';').filter(|(name, _)| name.len() <= MAX_ENTITY);
        rest = match named.and_then(|(name, after)| Some((character(name)?, after))) {
            Some((character, after)) => {
                said.push(character);
                after
            }
            None => {
                said.push('&');
                entity
            }
        };
    }
    said.push_str(rest);
}

/// The character of an entity: `amp`, `#39`, `#x27`. What cannot be said is a space.
fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(number) => u32::from_str_radix(number, 16),
            None => number.parse(),
        };
        let character = char::from_u32(code.ok()?).filter(|c| !c.is_control());
        return Some(character.unwrap_or(' '));
    }
    if name == "nbsp" {
        return Some(' ');
    }
    let mut pairs = ENTITIES.split_whitespace();
    while let (Some(known), Some(character)) = (pairs.next(), pairs.next()) {
        if known == name {
            return character.chars().next();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_up_is_not_read_aloud() {
        assert_eq!(plain("<speak>one<break time=\"1s\"/>two</speak>"), "one two");
        assert_eq!(plain("<speak>one<sub alias='a > b'>two</sub></speak>"), "one two");
        assert_eq!(plain("<?xml version=\"1.0\"?><speak>a<!-- b > c -->d</speak>"), "a d");
        assert_eq!(plain("<speak><![CDATA[1 < 2 &amp; 3]]></speak>"), "1 < 2 &amp; 3");
    }

    #[test]
    fn entities_are_their_characters() {
        assert_eq!(plain("<speak>A &amp; B &lt; C</speak>"), "A & B < C");
        assert_eq!(plain("<speak>It&#39;s Bob&#x27;s &#X41;</speak>"), "It's Bob's A");
        assert_eq!(plain("<speak>caff&egrave;&nbsp;5&euro; &Uuml;ber</speak>"), "caffè 5€ Über");
        // Decoded once; what cannot be said is a space; what is none stays.
        assert_eq!(plain("<speak>&amp;lt; &amp;#39;</speak>"), "&lt; &#39;");
        assert_eq!(plain("<speak>a&#0;b&#xD800;c&#27;d</speak>"), "a b c d");
        assert_eq!(
            plain("<speak>R&D; AT&T &; &#; &#xyz; &bogus;</speak>"),
            "R&D; AT&T &; &#; &#xyz; &bogus;"
        );
        let mut pairs = ENTITIES.split_whitespace();
        while let Some(name) = pairs.next() {
            assert!(name.is_ascii() && name.len() <= MAX_ENTITY, "{name}");
            assert_eq!(pairs.next().map(|it| it.chars().count()), Some(1), "{name}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_said_all_the_same() {
        for (text, said) in [
            ("<speak>5 < 6 and 7 > 6</speak>", "5 6 and 7 > 6"),
            ("<speak>no end", "no end"),
            ("<speak>no <b>end", "no end"),
            ("<speak>one <unclosed</speak>", "one unclosed"),
            ("<speak>a <break time=\"1s/>b</speak>", "a b"),
            ("<speak>a <!-- b</speak>", "a b"),
            ("<speak>a <![CDATA[b", "a b"),
            ("<speak>a <", "a"),
            ("<speak", "speak"),
        ] {
            assert_eq!(plain(text), said, "{text}");
        }
    }

    #[test]
    fn mark_up_is_told_from_text() {
        for marked in [
            "<speak>a</speak>",
            "<speak>no end",
            "<speak version=\"1.1\">a</speak>",
            "<speak\n>a</speak>",
            "<?xml version=\"1.0\"?>\n<speak>a</speak>",
        ] {
            assert!(is_ssml(marked), "{marked}");
        }
        for text in ["Press 1 <speak>", "<speakers>", "<speak", "speak", "<?xml", ""] {
            assert!(!is_ssml(text), "{text}");
        }
    }
}
