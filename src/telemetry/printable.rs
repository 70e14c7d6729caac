//! Text from outside, so that a line shows what it says and nothing else.
//!
//! Lines repeat what others have written: paths, ids, what Zoho answered, keys of a configuration. On a terminal or in
//! a viewer some characters act instead of showing: controls move the cursor, others change the direction of what stands
//! beside them, have no width, or end the line. They are written as JSON escapes, in text as in JSON.

use std::borrow::Cow;
use std::io::Write as _;
use std::ops::RangeInclusive;

/// Letters of scripts that run from right to left, with the parts of their blocks that are not assigned yet: beside one,
/// digits and punctuation are shown in another order than they are written in.
const RIGHT_TO_LEFT: [RangeInclusive<char>; 5] = [
    '\u{590}'..='\u{8ff}',
    '\u{fb1d}'..='\u{fdff}',
    '\u{fe70}'..='\u{feff}',
    '\u{10800}'..='\u{10fff}',
    '\u{1e800}'..='\u{1efff}',
];

/// Letters that nothing is drawn for.
const INVISIBLE: [char; 5] = ['\u{115f}', '\u{1160}', '\u{2800}', '\u{3164}', '\u{ffa0}'];

/// Whether a character can be written as it is: it shows itself, in its place.
pub(crate) fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    // The standard library escapes what has no glyph of its own: controls, format characters, separators, what is not
    // assigned, private use, and marks that are drawn over another character.
    character.escape_debug().len() == 1
        && !INVISIBLE.contains(&character)
        && !RIGHT_TO_LEFT.iter().any(|block| block.contains(&character))
}

/// Appends the JSON escape of a character.
pub(crate) fn escape(character: char, to: &mut Vec<u8>) {
    for unit in character.encode_utf16(&mut [0; 2]) {
        let _ = write!(to, r"\u{unit:04x}");
    }
}

/// What of a text is layout, and stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Nothing: it is one line.
    Line,
    /// Nothing but sequences for colours, which are ours: who formatted the text has escaped those of others.
    ColouredLine,
    /// Line feeds and tabs.
    Lines,
    /// All of these.
    ColouredLines,
}

/// The text with everything escaped that is neither printable nor layout.
pub(crate) fn printable(text: &str, layout: Layout) -> Cow<'_, str> {
    let has_lines = matches!(layout, Layout::Lines | Layout::ColouredLines);
    let has_colours = matches!(layout, Layout::ColouredLine | Layout::ColouredLines);
    let stays = |character| is_printable(character) || has_lines && matches!(character, '\n' | '\t');
    if text.bytes().all(|byte| byte.is_ascii() && stays(char::from(byte))) {
        return Cow::Borrowed(text);
    }
    let mut to = Vec::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let colour = if has_colours { colour_at_start(rest) } else { 0 };
        let length = colour.max(character.len_utf8());
        if colour > 0 || stays(character) {
            to.extend_from_slice(&rest.as_bytes()[..length]);
        } else {
            escape(character, &mut to);
        }
        rest = &rest[length..];
    }
    Cow::Owned(String::from_utf8_lossy(&to).into_owned())
}

/// How long the sequence is with which a text begins, if it is one that sets colours (ECMA-48 section 8.3.117).
fn colour_at_start(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\u{1b}[") else { return 0 };
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit() && byte != b';');
    end.filter(|end| rest.as_bytes()[*end] == b'm').map_or(0, |end| "\u{1b}[".len() + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What must not reach a terminal, said independently of the function: by the names of the Unicode standard.
    fn acts_on_a_terminal(character: char) -> bool {
        let code = u32::from(character);
        character.is_control()
            || matches!(code, 0x61c | 0x200e | 0x200f | 0x202a..=0x202e | 0x2066..=0x2069) // bidi controls
            || matches!(code, 0x200b..=0x200d | 0x2060..=0x2064 | 0xfeff | 0xad | 0x34f | 0x180e) // no width
            || matches!(code, 0x2028 | 0x2029) // line and paragraph separator
            || matches!(code, 0xfe00..=0xfe0f | 0xe0100..=0xe01ef) // variation selectors
            || matches!(code, 0xe0000..=0xe007f) // tags
            || matches!(code, 0xfff9..=0xfffb) // interlinear annotation
            || matches!(code, 0x5d0..=0x5ea | 0x621..=0x64a) // Hebrew and Arabic letters
            || code & 0xfffe == 0xfffe // the last two of each plane are no characters
            || matches!(code, 0xfdd0..=0xfdef)
    }

    #[test]
    fn of_all_of_unicode_only_what_shows_itself_is_printable() {
        for character in '\0'..=char::MAX {
            assert!(!(is_printable(character) && acts_on_a_terminal(character)), "{character:?}");
        }
        for character in [' ', '~', 'é', 'ß', 'Ω', 'Ж', '中', '한', 'か', 'ก', '€', '→', '😀']
        {
            assert!(is_printable(character), "{character:?}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_printable_afterwards_and_says_the_same(text in any::<String>()) {
            let line = printable(&text, Layout::Line);
            prop_assert!(line.chars().all(is_printable), "{line:?}");
            let quoted = format!("\"{}\"", printable(&text.replace(['"', '\\'], ""), Layout::Line));
            let read: String = serde_json::from_str(&quoted).unwrap();
            prop_assert_eq!(read, text.replace(['"', '\\'], ""));
            let lines = printable(&text, Layout::Lines);
            prop_assert_eq!(lines.matches('\n').count(), text.matches('\n').count());
        }
    }

    #[test]
    fn only_colours_stay_of_sequences_and_only_where_they_are_ours() {
        let text = "\u{1b}[1;31mred\u{1b}[0m \u{1b}[2J \u{9b}31m \u{1b}[ \u{1b}";
        let escaped = r"[2J \u009b31m \u001b[ \u001b";
        assert_eq!(
            printable(text, Layout::ColouredLine),
            format!("\u{1b}[1;31mred\u{1b}[0m \\u001b{escaped}")
        );
        assert_eq!(printable(text, Layout::Lines), format!("\\u001b[1;31mred\\u001b[0m \\u001b{escaped}"));
    }

    #[test]
    fn line_feeds_stay_where_there_are_several_lines() {
        assert_eq!(printable("a\n\tb\r\n", Layout::Lines), "a\n\tb\\u000d\n");
        assert_eq!(printable("a\nb", Layout::Line), r"a\u000ab");
        assert!(matches!(printable("plain", Layout::Line), Cow::Borrowed("plain")));
        assert_eq!(printable("\u{10ffff}é", Layout::Line), r"\udbff\udfffé");
    }
}
