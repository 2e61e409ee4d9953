//! Signatures of signed URLs, blanked wherever a text is shown: whoever reads a mail or a page with one could
//! fetch what it opens.
//!
//! In: text that may hold URLs, whole or cut, encoded or not. Out: the same with the values of the parameters
//! that give access replaced. What is stored, and what programs read (JSON, CSV, SQL), keeps what came.

use std::borrow::Cow;

/// What stands in the place of a value.
const BLANK: &str = "[signature]";

/// Parameters whose value gives access, in lower case: Azure's, Amazon's and Google's signatures, and tokens.
const PARAMETERS: [&str; 15] = [
    "sig",
    "signature",
    "x-amz-signature",
    "x-amz-security-token",
    "x-amz-credential",
    "x-goog-signature",
    "x-goog-credential",
    "awsaccesskeyid",
    "access_token",
    "sas_token",
    "sastoken",
    "token",
    "api_key",
    "apikey",
    "code",
];

/// What stands before a parameter's name in a URL, in a URL inside JSON, in HTML, and in an encoded URL.
const BEFORE: [&str; 7] = ["?", "&", "&amp;", "\\u0026", "%26", "%3f", "%3F"];

/// What stands between a name and its value.
const EQUALS: [&str; 3] = ["=", "%3d", "%3D"];

/// The text without the values of parameters that give access.
pub(crate) fn blank_signatures(text: &str) -> Cow<'_, str> {
    // Most texts hold no parameter at all.
    if !text.contains('=') && !text.contains("%3") {
        return Cow::Borrowed(text);
    }
    let mut blanked = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some((from, to)) = next_value(text, at) {
        at = to.max(from + 1);
        if &text[from..to] != BLANK && from < to {
            blanked.push_str(&text[copied..from]);
            blanked.push_str(BLANK);
            copied = to;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    blanked.push_str(&text[copied..]);
    Cow::Owned(blanked)
}

/// Where the next value that gives access begins and ends, from this place on.
fn next_value(text: &str, from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        // Only these can end what stands before a name.
        let found = text.get(at..)?.find(['?', '&', ';', '6', 'f', 'F'])?;
        let name_at = at + found + 1;
        at = name_at;
        if !BEFORE.iter().any(|before| text[..name_at].ends_with(before)) {
            continue;
        }
        let Some(value_at) = value_of_parameter(text, name_at) else { continue };
        return Some((value_at, value_end(text, value_at)));
    }
}

/// Where the value of a parameter that gives access begins, if its name stands here.
fn value_of_parameter(text: &str, name_at: usize) -> Option<usize> {
    let rest = &text.as_bytes()[name_at..];
    PARAMETERS.iter().find_map(|name| {
        let is_name = rest.get(..name.len())?.eq_ignore_ascii_case(name.as_bytes());
        let after = name_at + name.len();
        let equals = EQUALS.iter().find(|equals| is_name && text[after..].starts_with(**equals))?;
        Some(after + equals.len())
    })
}

/// Where a value ends: at the next parameter, or where the URL does.
fn value_end(text: &str, value_at: usize) -> usize {
    let rest = &text[value_at..];
    // A backslash begins an escaped `&` in JSON.
    let is_end = |c: char| c.is_whitespace() || c.is_control() || "&;\"'<>()#\\|,".contains(c);
    let plain = rest.find(is_end).unwrap_or(rest.len());
    value_at + rest[..plain].find("%26").unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_signature_is_blanked_in_every_dress_and_nothing_else_is() {
        for (text, expected) in [
            (
                "put https://a.blob.core.windows.net/c/f?sv=2020-08-04&se=2026&sig=aB%2Bc%2F9%3D&sp=r failed",
                "put https://a.blob.core.windows.net/c/f?sv=2020-08-04&se=2026&sig=[signature]&sp=r failed",
            ),
            ("'https://h/f?sig=abc'", "'https://h/f?sig=[signature]'"),
            ("https://h/f?SIG=abc", "https://h/f?SIG=[signature]"),
            ("https://h/f?a=1&amp;sig=abc&amp;b=2", "https://h/f?a=1&amp;sig=[signature]&amp;b=2"),
            (
                r#"{"url":"https://h/f?a=1\u0026sig=abc\u0026b"}"#,
                r#"{"url":"https://h/f?a=1\u0026sig=[signature]\u0026b"}"#,
            ),
            (
                "u=https%3A%2F%2Fh%2Ff%3Fsig%3Dabc%26sp%3Dr",
                "u=https%3A%2F%2Fh%2Ff%3Fsig%3D[signature]%26sp%3Dr",
            ),
            ("https://h/f?X-Amz-Signature=0ff&x=1", "https://h/f?X-Amz-Signature=[signature]&x=1"),
            ("https://h/f?access_token=abc.def", "https://h/f?access_token=[signature]"),
            // Cut in the middle of the value.
            ("https://h/f?se=1&sig=ab", "https://h/f?se=1&sig=[signature]"),
            // Two in one text.
            ("?sig=a ?sig=b", "?sig=[signature] ?sig=[signature]"),
            ("the process ended with sig=11", "the process ended with sig=11"),
            ("https://h/f?signal=1&design=2&sig=", "https://h/f?signal=1&design=2&sig="),
            ("design&sign=1", "design&sign=1"),
            ("", ""),
        ] {
            assert_eq!(blank_signatures(text), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_blanked_once_and_for_all(text in r"[?&;=%36fFsigd\\u0 ä\[\]a-c-]{0,60}|(\?sig=|&sig=|%26sig%3d|[a-z&\u{e4}%]){0,12}") {
            let blanked = blank_signatures(&text).into_owned();
            prop_assert_eq!(&blank_signatures(&blanked), &blanked);
        }

        #[test]
        fn no_letter_of_a_signature_is_left(signature in "[A-Za-z0-9+/=]{1,44}") {
            let url = format!("https://h/f?a=1&sig={signature}&b=2");
            prop_assert_eq!(blank_signatures(&url), "https://h/f?a=1&sig=[signature]&b=2");
        }
    }
}
