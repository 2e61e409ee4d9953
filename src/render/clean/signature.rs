//! Signatures of signed URLs, passwords and tokens, blanked wherever a text is shown: whoever reads a mail or a
//! page with one could fetch what it opens.
//!
//! In: text that may hold URLs or connection strings, whole or cut, encoded or not. Out: the same with the values
//! that give access replaced. What is stored, and what programs read (JSON, CSV, SQL), keeps what came. The text
//! is read once from its begin to its end; before a value no more is looked at than a name takes.

use std::borrow::Cow;

/// What stands in the place of a value.
const BLANK: &str = "[signature]";

/// Parameters of URLs whose value gives access, in lower case: signatures, as further ones by [`is_parameter`], and
/// what stands beside them.
const PARAMETERS: [&str; 16] = [
    "sig",
    "hmac",
    "x-amz-security-token",
    "x-amz-credential",
    "x-goog-credential",
    "x-oss-security-token",
    "x-cos-security-token",
    "awsaccesskeyid",
    "access_token",
    "id_token",
    "refresh_token",
    "sas_token",
    "sastoken",
    "token",
    "api_key",
    "apikey",
];
/// Names whose value is a secret wherever they stand, as in connection strings; further ones by [`is_secret`].
const SECRETS: [&str; 7] = [
    "pwd",
    "passwd",
    "accountkey",
    "sharedaccesskey",
    "sharedaccesssignature",
    "client_secret",
    "clientsecret",
];
/// The words that may stand before what proves who asks, in the header `Authorization`.
const SCHEMES: [&str; 7] =
    ["bearer", "basic", "digest", "token", "negotiate", "sharedkey", "sharedaccesssignature"];
/// The length of the longest of them.
const LONGEST_SCHEME: usize = 21;
/// The longest name that is known, with each byte encoded twice (`%2573`), and what may stand before it.
const MOST_BEFORE: usize = 5 * 32;
/// A value without a URL around it is taken for a signature from this length on: `sig=11` is a signal.
const LEAST_BARE: usize = 16;

/// The text without the values that give access.
pub(crate) fn blank_signatures(text: &str) -> Cow<'_, str> {
    let mut blanked = String::new();
    let mut copied = 0;
    let mut at = 0;
    while at < text.len() {
        let Some((from, to)) = value_at(text, at) else {
            at += 1;
            continue;
        };
        at = to.max(at + 1);
        if from < to && &text[from..to] != BLANK {
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

/// Where a value that gives access begins and ends, if the sign at this place is the one between it and what
/// says so.
fn value_at(text: &str, at: usize) -> Option<(usize, usize)> {
    match text.as_bytes()[at] {
        b'=' => value_of_name(text, at, at + 1, false),
        b'%' => {
            let encoded = ["%3d", "%253d"].into_iter().find(|equals| starts_with(&text[at..], equals))?;
            value_of_name(text, at, at + encoded.len(), true)
        }
        b':' if ends_with(before_quote(&text[..at]), "authorization") => authorization(text, at + 1),
        b':' if text[at..].starts_with("://") => password_of_url(text, at + 3),
        b' ' if ends_with(&text[..at], "bearer") => {
            let value = shaped(&text[at + 1..]);
            let is_token =
                value.len() >= LEAST_BARE && value.bytes().any(|byte| byte.is_ascii_digit() || byte == b'.');
            is_token.then_some((at + 1, at + 1 + value.len()))
        }
        _ => None,
    }
}

/// The value behind a name and an equals sign.
fn value_of_name(text: &str, name_end: usize, value: usize, is_encoded: bool) -> Option<(usize, usize)> {
    let (before, name) = name_before(text, name_end);
    if name == "authorization" {
        return authorization(text, value);
    }
    if is_secret(&name) {
        return Some(secret_end(text, value));
    }
    let is_in_url = match before {
        Some(b'?' | b'&' | b'#') => is_parameter(&name) || name == "code",
        // It separates sentences, too.
        Some(b';') => is_parameter(&name) && name != "token",
        _ => false,
    };
    if is_in_url {
        return Some((value, value + parameter_length(&text[value..], is_encoded)));
    }
    if !is_parameter(&name) {
        return None;
    }
    let shaped = shaped(&text[value..]);
    (shaped.len() >= LEAST_BARE).then_some((value, value + shaped.len()))
}

fn is_parameter(name: &str) -> bool {
    PARAMETERS.contains(&name) || name.ends_with("signature")
}

fn is_secret(name: &str) -> bool {
    SECRETS.contains(&name) || name.ends_with("password")
}

/// The name that ends here, decoded and in lower case, and the sign before it.
fn name_before(text: &str, end: usize) -> (Option<u8>, String) {
    let bytes = text.as_bytes();
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'%');
    let length = bytes[..end].iter().rev().take(MOST_BEFORE).take_while(is_part).count();
    let begin = end - length;
    let mut before = begin.checked_sub(1).map(|at| bytes[at]);
    let mut name = decoded(&decoded(&bytes[begin..end]));
    name.make_ascii_lowercase();
    // An ampersand as JSON escapes it.
    if before == Some(b'\\') && name.starts_with(b"u0026") {
        before = Some(b'&');
        name.drain(..5);
    }
    if begin >= 5 && text.as_bytes()[..begin].ends_with(b"&amp;") {
        before = Some(b'&');
    }
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if let Some(at) = name.iter().rposition(|byte| !is_of_name(byte)) {
        before = Some(name[at]);
        name.drain(..=at);
    }
    (before, name.into_iter().map(char::from).collect::<String>())
}

/// Percent-encoding undone once; what is none stays.
fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    plain
}

/// The length of a parameter's value: up to the next parameter, or where the URL ends.
fn parameter_length(rest: &str, is_encoded: bool) -> usize {
    // A backslash begins an escaped `&` in JSON.
    let is_end = |c: char| c.is_whitespace() || c.is_control() || "&;\"'<>()#\\|,".contains(c);
    let plain = rest.find(is_end).unwrap_or(rest.len());
    let ampersands = ["%26", "%2526"].into_iter().filter(|_| is_encoded);
    ampersands.filter_map(|ampersand| rest[..plain].find(ampersand)).min().unwrap_or(plain)
}

/// Where a password begins and ends: inside its quotes if it has any, else up to the next part of the connection
/// string.
fn secret_end(text: &str, value: usize) -> (usize, usize) {
    let rest = &text[value..];
    for quote in ["\\\"", "\"", "'"] {
        if rest.starts_with(quote) {
            let from = value + quote.len();
            return (from, text[from..].find(quote).map_or(text.len(), |length| from + length));
        }
    }
    let is_end = |c: char| c.is_whitespace() || c.is_control() || "&;\"'<>".contains(c);
    (value, value + rest.find(is_end).unwrap_or(rest.len()))
}

/// What proves who asks, behind `Authorization:`, with or without the word for its kind.
fn authorization(text: &str, from: usize) -> Option<(usize, usize)> {
    let skip = |at: usize| {
        let rest = &text[at..];
        at + rest.len() - rest.trim_start_matches([' ', '\t', '"', '\'', '\\']).len()
    };
    let end = |at: usize| {
        let is_end = |c: char| c.is_whitespace() || c.is_control() || "\"'<>,;\\".contains(c);
        at + text[at..].find(is_end).unwrap_or(text.len() - at)
    };
    let word = skip(from);
    let letters = text.as_bytes()[word..].iter().take(LONGEST_SCHEME + 1);
    let word_end = word + letters.take_while(|byte| byte.is_ascii_alphabetic()).count();
    if SCHEMES.iter().any(|scheme| text[word..word_end].eq_ignore_ascii_case(scheme)) {
        let value = skip(word_end);
        return Some((value, end(value)));
    }
    let token = shaped(&text[word..]);
    (token.len() >= LEAST_BARE).then_some((word, word + token.len()))
}

/// The password before the host of a URL.
fn password_of_url(text: &str, from: usize) -> Option<(usize, usize)> {
    let is_end = |c: char| c.is_whitespace() || c.is_control() || "/?#\"'<>\\".contains(c);
    let authority = text[from..].split(is_end).next()?;
    let (user, _) = authority.rsplit_once('@')?;
    let colon = user.find(':')?;
    Some((from + colon + 1, from + user.len()))
}

/// The beginning of a text that may be a signature: Base64 of both alphabets, hexadecimal, or percent-encoded.
fn shaped(text: &str) -> &str {
    let is_other = |c: char| !c.is_ascii_alphanumeric() && !"+/=-_.~%".contains(c);
    &text[..text.find(is_other).unwrap_or(text.len())]
}

fn before_quote(text: &str) -> &str {
    text.strip_suffix(['"', '\'']).map_or(text, |text| text.strip_suffix('\\').unwrap_or(text))
}

fn starts_with(text: &str, beginning: &str) -> bool {
    text.as_bytes()
        .get(..beginning.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(beginning.as_bytes()))
}

fn ends_with(text: &str, ending: &str) -> bool {
    let begin = text.len().checked_sub(ending.len());
    begin.is_some_and(|begin| text.as_bytes()[begin..].eq_ignore_ascii_case(ending.as_bytes()))
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
            ("code=5 token=abc; hmac=sha256;code=5", "code=5 token=abc; hmac=sha256;code=5"),
            ("code=FailedToExportTheWholeFile", "code=FailedToExportTheWholeFile"),
            // Of other platforms, by other separators, without a URL around them, with an encoded name.
            ("?q-signature=0ff&a=1", "?q-signature=[signature]&a=1"),
            ("?x-oss-signature=0ff", "?x-oss-signature=[signature]"),
            ("?hmac=0ff", "?hmac=[signature]"),
            ("https://h/f?a=1;sig=abc;b=2", "https://h/f?a=1;sig=[signature];b=2"),
            ("https://h/f?%73ig=abc&a=1", "https://h/f?%73ig=[signature]&a=1"),
            ("https://h/#access_token=a.b&x=1", "https://h/#access_token=[signature]&x=1"),
            ("u=h%253Fa%253D1%2526sig%253Dabc%2526b", "u=h%253Fa%253D1%2526sig%253D[signature]%2526b"),
            ("sig=aB%2Bc9KzQ8signature", "sig=[signature]"),
            ("it was put with sig=aB+c9KzQ8/signature== there", "it was put with sig=[signature] there"),
            ("https://me:hush@h:1/x", "https://me:[signature]@h:1/x"),
            ("https://me@h:1/x https://h:1/@", "https://me@h:1/x https://h:1/@"),
            ("AccountName=a;AccountKey=b+c==;E=f", "AccountName=a;AccountKey=[signature];E=f"),
            ("SharedAccessKeyName=n;SharedAccessKey=k=", "SharedAccessKeyName=n;SharedAccessKey=[signature]"),
            (
                "SharedAccessSignature=sv=1&sig=abc;X=1",
                "SharedAccessSignature=[signature]&sig=[signature];X=1",
            ),
            ("Server=s;Pwd=h,u(s)h;Db=d", "Server=s;Pwd=[signature];Db=d"),
            ("db_password=\"two words\" x", "db_password=\"[signature]\" x"),
            (r#"{"a":"password=\"x y\" z"}"#, r#"{"a":"password=\"[signature]\" z"}"#),
            ("password= nothing", "password= nothing"),
            ("Authorization: Bearer abc", "Authorization: Bearer [signature]"),
            (r#"{"authorization":"Basic dTpw"}"#, r#"{"authorization":"Basic [signature]"}"#),
            ("the header is Bearer eyJhbGciOi.eyJzdWI", "the header is Bearer [signature]"),
            (
                "Authorization: missing; a bearer token is needed",
                "Authorization: missing; a bearer token is needed",
            ),
            ("https://h/f?signal=1&design=2&sig=", "https://h/f?signal=1&design=2&sig="),
            ("design&sign=1", "design&sign=1"),
            ("", ""),
        ] {
            assert_eq!(blank_signatures(text), expected);
        }
    }

    /// Each way to write a secret that is known, with `SECRET` in its place.
    const WAYS: [&str; 20] = [
        "https://h/f?a=1&sig=SECRET&b=2",
        "https://h/f?a=1;sig=SECRET;b=2",
        "https://h/f?a=1&amp;signature=SECRET&amp;b=2",
        r"https://h/f?a=1\u0026sig=SECRET\u0026b=2",
        "u=https%3A%2F%2Fh%2Ff%3Fsig%3DSECRET%26b%3D2",
        "https://h/f?%73%69%67=SECRET&b=2",
        "https://h/f?q-signature=SECRET&b=2",
        "https://h/f?X-OSS-Signature=SECRET",
        "https://h/f?hmac=SECRET",
        "https://h/f?X-Amz-Credential=SECRET",
        "https://h/f#access_token=SECRET&b=2",
        "https://h/f?code=SECRET",
        "sig=0123456789abcdefSECRET end",
        "put sig=0123456789abcdefSECRET end",
        "AccountName=a;AccountKey=SECRET;b=2",
        "Endpoint=sb://h/;SharedAccessKey=SECRET",
        "x Password=SECRET;b=2",
        "pwd='SECRET' x",
        "Authorization: Bearer SECRET",
        "Authorization: Basic SECRET",
    ];

    #[test]
    fn a_long_text_is_read_once() {
        // Each of these, repeated, has a sign at every few bytes that could begin a look at all that is left.
        for piece in [
            "=",
            "%3d",
            "a=",
            "sig=",
            "://",
            "://a:b",
            "password=\"",
            "authorization:",
            "bearer ",
            "%2573",
            "a-_",
        ] {
            let text = piece.repeat(300_000 / piece.len());
            let began = std::time::Instant::now();
            blank_signatures(&text);
            assert!(began.elapsed().as_secs() < 5, "{piece}: {:?}", began.elapsed());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_blanked_once_and_for_all(text in r"[?&;=%36fFsigd\\u0 ä\[\]a-c-]{0,60}|(\?sig=|&sig=|%26sig%3d|[a-z&\u{e4}%]){0,12}") {
            let blanked = blank_signatures(&text).into_owned();
            prop_assert_eq!(&blank_signatures(&blanked), &blanked);
        }

        #[test]
        fn any_pieces_are_blanked_once_and_for_all(pieces in prop::collection::vec(
            prop::sample::select(vec![
                "sig", "password", "pwd", "AccountKey", "hmac", "code", "authorization", "bearer", "basic", "=", "%3d",
                "%253D", "?", "&", "&amp;", "\\u0026", ";", "#", ":", "://", "@", " ", "\"", "\\\"", "'", "\\", "%26",
                "%2526", "%", "/", "0123456789abcdef", "a", "x.1", "[signature]", "\u{e4}", "\n", ",",
            ]), 0..24))
        {
            let text: String = pieces.concat();
            let blanked = blank_signatures(&text).into_owned();
            prop_assert_eq!(&blank_signatures(&blanked), &blanked, "{:?}", text);
        }

        #[test]
        fn no_way_to_write_a_secret_shows_a_letter_of_it(secret in "[A-Za-z0-9+/_.~-]{3,44}={0,2}") {
            for way in WAYS {
                let (before, after) = way.split_once("SECRET").unwrap();
                let before = before.trim_end_matches("0123456789abcdef");
                let shown = blank_signatures(&way.replace("SECRET", &secret)).into_owned();
                prop_assert_eq!(shown, format!("{before}{BLANK}{after}"), "{}", way);
            }
        }

        #[test]
        fn no_letter_of_a_signature_is_left(signature in "[A-Za-z0-9+/=]{1,44}") {
            let url = format!("https://h/f?a=1&sig={signature}&b=2");
            prop_assert_eq!(blank_signatures(&url), "https://h/f?a=1&sig=[signature]&b=2");
        }
    }
}
