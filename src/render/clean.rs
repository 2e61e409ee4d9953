//! Untrusted text made fit to be shown.
//!
//! In: what the platform, a file or the user's own SQL gave. Out: the same text without what steers a
//! terminal, hides text or opens what a signed URL guards. Programs' formats (JSON, CSV) keep what came.

mod signature;

use std::borrow::Cow;

pub(crate) use signature::blank_signatures;

/// Untrusted text for people: control characters, bidirectional and zero-width ones dropped, line ends and
/// tabs made blanks, and the signatures of signed URLs blanked.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| replacement(c) == Some(c)) {
        return blank_signatures(text);
    }
    // What is dropped may have stood inside a signature's name.
    let kept: String = text.chars().filter_map(replacement).collect();
    Cow::Owned(blank_signatures(&kept).into_owned())
}

/// What stands in the place of a character, if anything.
pub(super) fn replacement(c: char) -> Option<char> {
    match c {
        '\n' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
        // Soft hyphen, Arabic letter mark, Mongolian vowel separator; zero-width blanks and joiners,
        // directional marks; embeddings and overrides; isolates and other invisible ones; the byte order
        // mark; annotations; tags.
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => None,
        c if c.is_control() => None,
        c => Some(c),
    }
}

/// Untrusted text as one line of Markdown that shows it and does nothing else.
///
/// Signs that mark something up get a backslash, `<`, `>` and `&` are named. What GitHub makes a link or a
/// mention of without any mark is broken up: `http://` and `www.` by a backslash, `@name` and `#1` by a
/// word joiner, which is not seen.
pub(crate) fn escape_markdown(text: &str) -> String {
    const WORD_JOINER: char = '\u{2060}';
    let text = clean(text);
    let mut escaped = String::with_capacity(text.len() + 8);
    for (at, c) in text.char_indices() {
        let rest = &text[at + c.len_utf8()..];
        let is_name_next = rest.starts_with(|next: char| next.is_alphanumeric() || matches!(next, '-' | '_'));
        // Inside a word an underscore marks nothing up, and column names are full of them.
        let is_inside = escaped.ends_with(|c: char| c.is_ascii_alphanumeric())
            && rest.starts_with(|next: char| next.is_ascii_alphanumeric());
        match c {
            '_' if is_inside => escaped.push(c),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '!' | '|' | '~' | '$' | '^' | '=' => {
                escaped.extend(['\\', c]);
            }
            '#' => {
                escaped.extend(['\\', c]);
                if is_name_next {
                    escaped.push(WORD_JOINER);
                }
            }
            '@' => {
                escaped.push(c);
                if is_name_next {
                    escaped.push(WORD_JOINER);
                }
            }
            ':' if rest.starts_with('/') => escaped.push_str("\\:"),
            '.' if ends_with_www(&escaped) => escaped.push_str("\\."),
            c => escaped.push(c),
        }
    }
    escaped
}

fn ends_with_www(text: &str) -> bool {
    let start = text.len().saturating_sub(3);
    text.get(start..).is_some_and(|end| end.eq_ignore_ascii_case("www"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(clean("\x1b[31mred\x1b[0m\x07\u{9b}2J\x7f"), "[31mred[0m2J");
        assert_eq!(clean("a\r\nb\tc\u{2028}d"), "a b c d");
        assert_eq!(clean("ab\u{202e}gpj.exe\u{2066}\u{200b}\u{200f}\u{feff}\u{61c}"), "abgpj.exe");
    }

    #[test]
    fn ordinary_text_of_any_script_is_left_alone() {
        for text in ["", "Straße 5", "日本語", "مشروع", "é👍🏽", "a\u{301}"] {
            assert!(matches!(clean(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn cleaned_text_holds_nothing_that_steers_a_terminal(
            parts in prop::collection::vec(prop_oneof![
                any::<String>(),
                any::<char>().prop_map(String::from),
                (0_u32..0x20).prop_filter_map("no char", char::from_u32).prop_map(String::from),
                (0x7f_u32..0xa0).prop_filter_map("no char", char::from_u32).prop_map(String::from),
                (0x2000_u32..0x2070).prop_filter_map("no char", char::from_u32).prop_map(String::from),
            ], 0..20),
        ) {
            let text = parts.concat();
            let cleaned = clean(&text);
            for c in cleaned.chars() {
                let code = u32::from(c);
                prop_assert!(code >= 0x20 && !(0x7f..0xa0).contains(&code), "{code:x}");
                prop_assert!(!(0x200b..=0x200f).contains(&code) && !(0x2028..=0x202e).contains(&code), "{code:x}");
                prop_assert!(!(0x2060..=0x206f).contains(&code) && code != 0xfeff && code != 0x61c, "{code:x}");
            }
            // What is left stands in the order it came in, blanks aside.
            let mut rest = text.chars();
            prop_assert!(cleaned.chars().filter(|&c| c != ' ').all(|c| rest.any(|other| other == c)));
            prop_assert_eq!(clean(&cleaned), cleaned.as_ref());
        }
    }
}
