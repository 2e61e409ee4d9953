//! Where values begin and end in JSON that may be anything: too deep, too wide, broken in one place.
//!
//! In: text. Out: the pieces of its outermost level as they were sent, and the [`Shape`] of any text. One
//! pass over the bytes that never recurses and allocates nothing but the list of pieces, so that neither
//! 30 KB of brackets nor 80,000 names cost more than their bytes. Only the outermost level is held to the
//! grammar: what is wrong inside a piece is told by whoever reads that piece, and hides no other.

use std::borrow::Cow;

/// Text whose outermost level is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Malformed {
    /// Which byte of the text.
    pub at: usize,
    what: &'static str,
    /// Whether the text ended before its value did.
    pub is_cut_short: bool,
}

/// How large a text is by other measures than bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How deep objects and lists stand in each other.
    pub depth: usize,
    /// Members of objects and elements of lists, counted by the commas between them and the brackets
    /// around them: never fewer than there are, but for one in the outermost.
    pub values: usize,
    pub objects: usize,
}

/// Reads along a text, value by value.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// At the start of a text.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// What comes next after white space; `None` at the end.
    pub(super) fn next_byte(&mut self) -> Option<u8> {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        self.peek()
    }

    fn malformed(&self, what: &'static str) -> Malformed {
        if self.at < self.text.len() {
            Malformed { at: self.at, what, is_cut_short: false }
        } else {
            Malformed { at: self.at, what: "it ends early,", is_cut_short: true }
        }
    }

    /// Steps over one of these bytes, after white space, and gives it.
    pub(super) fn take(&mut self, bytes: &[u8], expected: &'static str) -> Result<u8, Malformed> {
        match self.next_byte() {
            Some(byte) if bytes.contains(&byte) => {
                self.at += 1;
                Ok(byte)
            }
            _ => Err(self.malformed(expected)),
        }
    }

    /// Steps over an object's or a list's end if it comes next: it holds nothing, or nothing more.
    pub(super) fn take_if(&mut self, byte: u8) -> bool {
        let is_next = self.next_byte() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// The end of a string whose opening quote is at `at`.
    fn end_of_string(&self, at: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let mut at = at + 1;
        loop {
            match bytes.get(at)? {
                b'"' => return Some(at + 1),
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
    }

    /// A member's name. One that is not Unicode, or has a bad escape, is given as it was sent.
    pub(super) fn name(&mut self) -> Result<Cow<'a, str>, Malformed> {
        if self.next_byte() != Some(b'"') {
            return Err(self.malformed("expected a name"));
        }
        let Some(end) = self.end_of_string(self.at) else {
            self.at = self.text.len();
            return Err(self.malformed("expected a name"));
        };
        let quoted = &self.text[self.at..end];
        self.at = end;
        let inner = &quoted[1..quoted.len() - 1];
        Ok(if inner.contains('\\') {
            serde_json::from_str(quoted).map_or(Cow::Borrowed(inner), Cow::Owned)
        } else {
            Cow::Borrowed(inner)
        })
    }

    /// Steps over one value, whatever is in it, and gives its text and shape.
    pub(crate) fn value(&mut self) -> Result<(&'a str, Shape), Malformed> {
        let mut shape = Shape::default();
        let bytes = self.text.as_bytes();
        self.next_byte();
        let begin = self.at;
        let mut depth = 0_usize;
        // Which of the open brackets are braces: the innermost is the lowest bit.
        let mut braces = 0_u128;
        loop {
            let Some(&byte) = bytes.get(self.at) else { return Err(self.malformed("expected a value")) };
            match byte {
                b'"' => match self.end_of_string(self.at) {
                    Some(end) => self.at = end,
                    None => {
                        self.at = bytes.len();
                        return Err(self.malformed("expected the end of a text"));
                    }
                },
                b'{' | b'[' => {
                    depth += 1;
                    shape.depth = shape.depth.max(depth);
                    shape.values += 1;
                    shape.objects += usize::from(byte == b'{');
                    braces = braces << 1 | u128::from(byte == b'{');
                    self.at += 1;
                }
                b'}' | b']' => {
                    // `braces` has 128 bits, so the kinds of brackets are compared down to that depth only; a run
                    // that is deeper is set aside as a reject whatever its brackets are.
                    let is_other = shape.depth <= 128 && (braces & 1 == 1) != (byte == b'}');
                    if depth == 0 || is_other {
                        return Err(self.malformed("unexpected bracket"));
                    }
                    depth -= 1;
                    braces >>= 1;
                    self.at += 1;
                }
                _ if depth > 0 => {
                    shape.values += usize::from(byte == b',');
                    self.at += 1;
                    continue;
                }
                b',' | b':' => return Err(self.malformed("expected a value")),
                // A number, true, false or null.
                _ => {
                    let rest = bytes[self.at..].iter();
                    let length = rest.take_while(|byte| !b" \n\r\t,:\"[]{}".contains(byte)).count();
                    self.at += length;
                }
            }
            if depth == 0 {
                return Ok((&self.text[begin..self.at], shape));
            }
        }
    }
}

/// The shape of a text that is one value.
pub(crate) fn shape(text: &str) -> Result<Shape, Malformed> {
    let mut scanner = Scanner::new(text);
    let (_, shape) = scanner.value()?;
    match scanner.next_byte() {
        None => Ok(shape),
        Some(_) => Err(scanner.malformed("expected nothing more")),
    }
}

/// The values that stand one after another in a text.
pub(crate) fn values(text: &str) -> impl Iterator<Item = Result<&str, Malformed>> {
    let mut scanner = Scanner::new(text);
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over || scanner.next_byte().is_none() {
            return None;
        }
        let value = scanner.value().map(|(value, _)| value);
        is_over = value.is_err();
        Some(value)
    })
}

/// The members of an object, each value as it was sent; `None` if the text is no object.
pub(crate) fn members(text: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    let mut scanner = Scanner::new(text);
    scanner.take(b"{", "expected an object").ok()?;
    let mut members = Vec::new();
    if scanner.take_if(b'}') {
        return Some(members);
    }
    loop {
        let name = scanner.name().ok()?;
        scanner.take(b":", "expected a colon").ok()?;
        members.push((name, scanner.value().ok()?.0));
        if scanner.take(b",}", "expected a comma or a brace").ok()? == b'}' {
            return Some(members);
        }
    }
}

/// The elements of a list, each as it was sent; `None` if the text is no list.
pub(crate) fn elements(text: &str) -> Option<Vec<&str>> {
    let mut scanner = Scanner::new(text);
    scanner.take(b"[", "expected a list").ok()?;
    let mut elements = Vec::new();
    if scanner.take_if(b']') {
        return Some(elements);
    }
    loop {
        elements.push(scanner.value().ok()?.0);
        if scanner.take(b",]", "expected a comma or a bracket").ok()? == b']' {
            return Some(elements);
        }
    }
}

/// Bytes as text. A byte that is no UTF-8 is written as `\x` and two hexadecimal digits, which no JSON reads:
/// so what it stands in is set aside exactly, and what stands beside it is read.
pub(crate) fn text_of(bytes: Vec<u8>) -> String {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return text,
        Err(error) => error.into_bytes(),
    };
    let mut text = String::with_capacity(bytes.len() + 64);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if chunk.invalid().is_empty() {
            continue;
        }
        escape_last_backslash(&mut text);
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// A backslash that would escape what is appended is written as its byte, `\x5c`.
pub(crate) fn escape_last_backslash(text: &mut String) {
    let backslashes = text.bytes().rev().take_while(|byte| *byte == b'\\').count();
    if backslashes % 2 == 1 {
        text.pop();
        text.push_str("\\x5c");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn pieces_are_given_as_they_were_sent() {
        let text = r#" { "a" : [1 , {"b":"]}"}] , "\u0062":-1.5e3,"c":{} , "d":"\"," } "#;
        let members = members(text).unwrap();
        let told: Vec<(&str, &str)> = members.iter().map(|(name, value)| (&**name, *value)).collect();
        let expected = [("a", r#"[1 , {"b":"]}"}]"#), ("b", "-1.5e3"), ("c", "{}"), ("d", r#""\",""#)];
        assert_eq!(told, expected);
        assert_eq!(elements("[ [] , 1,\"x\" ]").unwrap(), ["[]", "1", "\"x\""]);
        assert_eq!(elements("[]").unwrap().len(), 0);
        let values: Vec<_> = values("{} [1]\n2 \"x\"").map(Result::unwrap).collect();
        assert_eq!(values, ["{}", "[1]", "2", "\"x\""]);
    }

    #[test]
    fn what_is_broken_between_pieces_is_told_with_its_place() {
        for (text, told, is_cut_short) in [
            ("[1", "it ends early, at byte 2", true),
            ("[\"", "it ends early, at byte 2", true),
            ("", "it ends early, at byte 0", true),
            ("[}", "unexpected bracket at byte 1", false),
            ("{]", "unexpected bracket at byte 1", false),
            ("]", "unexpected bracket at byte 0", false),
            ("1 2", "expected nothing more at byte 2", false),
        ] {
            let malformed = shape(text).unwrap_err();
            assert_eq!(
                (malformed.to_string().as_str(), malformed.is_cut_short),
                (told, is_cut_short),
                "{text}"
            );
        }
        for text in ["[1 2]", "[1,]x", "[,]", "[1", "{}", ""] {
            assert_eq!(elements(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_as_deep_as_it_is_long_is_only_measured() {
        let deep = format!("{}{}", "[{\"\":".repeat(2_000_000), "1");
        assert!(shape(&deep).unwrap_err().is_cut_short);
        let deep = format!("{}1{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(shape(&deep).unwrap(), Shape { depth: 1_000_000, values: 1_000_000, objects: 0 });
    }

    #[test]
    fn a_byte_that_is_no_utf8_is_kept_where_it_stands_and_is_never_read() {
        for (bytes, text) in [
            (&b"{\"a\":\"\xff\"}"[..], r#"{"a":"\xff"}"#),
            // A backslash before it would be read as escaping the one that is written for it.
            (b"{\"a\":\"\\\xc3\"}", r#"{"a":"\x5c\xc3"}"#),
            (b"{\"a\":\"\\\\\xe2\x82\"}", r#"{"a":"\\\xe2\x82"}"#),
        ] {
            assert_eq!(text_of(bytes.to_vec()), text);
            assert!(serde_json::from_str::<&RawValue>(text).is_err(), "{text}");
        }
        assert_eq!(text_of("{\"a\":\"é\"}".into()), "{\"a\":\"é\"}");
    }

    proptest! {
        #[test]
        fn whatever_serde_json_reads_is_split_at_the_same_places(text in r#"[\[\]{}":,0-2a\\ ]{0,24}"#) {
            if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(&text) {
                let list: Vec<&str> = list.into_iter().map(RawValue::get).collect();
                prop_assert_eq!(elements(&text), Some(list));
            }
            if serde_json::from_str::<&RawValue>(&text).is_ok() {
                prop_assert!(shape(&text).is_ok(), "{}", text);
            }
        }
    }
}
