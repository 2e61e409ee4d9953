//! Text that came from outside, made fit to be shown: no secret in it, on one line, and not too long.

use std::sync::{PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// Characters shown of a message that came from outside.
pub(super) const MESSAGE_CHARS: usize = 300;
/// Characters shown of a code, a target, a correlation id, or of a body that is no JSON.
pub(super) const WORD_CHARS: usize = 100;
/// What stands in the place of a secret.
const REDACTED: &str = "[secret]";

/// The secrets known to this process, so that none is ever shown.
#[derive(Debug, Default)]
pub(super) struct Secrets(RwLock<Vec<SecretString>>);

impl Secrets {
    /// Remembers a secret, in the forms in which it could be echoed.
    pub(super) fn add(&self, secret: &str) {
        let json = Value::from(secret).to_string();
        let forms = [
            secret.to_owned(),
            clean(secret),
            url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
            json[1..json.len() - 1].to_owned(),
        ];
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for form in forms {
            if !form.is_empty() && !known.iter().any(|secret| secret.expose_secret() == form) {
                known.push(form.into());
            }
        }
        // The longest first: a secret that begins with another is replaced whole.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
    }

    /// The longest form's length in bytes: what may be missing where a body was cut inside a secret.
    pub(super) fn longest(&self) -> usize {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.first().map_or(0, |secret| secret.expose_secret().len())
    }

    /// The text with each known secret replaced.
    fn redact(&self, text: String) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().fold(text, |text, secret| {
            if text.contains(secret.expose_secret()) {
                text.replace(secret.expose_secret(), REDACTED)
            } else {
                text
            }
        })
    }

    /// Foreign text made fit to be shown: on one line, without control characters, bidirectional
    /// marks and secrets, and only then cut to `limit` characters.
    pub(super) fn show(&self, text: &str, limit: usize) -> String {
        // Twice: without its invisible characters the text may hold a secret that was sent in pieces.
        let text = self.redact(clean(&self.redact(text.to_owned())));
        cut(&text, limit)
    }

    /// The beginning of a body in an unexpected form; of HTML only its text.
    pub(super) fn show_body(&self, body: &str) -> Option<String> {
        let body = self.redact(body.trim_start_matches('\u{feff}').trim().to_owned());
        let text = if body.starts_with('<') { text_of_html(&body) } else { body };
        Some(self.show(&text, WORD_CHARS)).filter(|text| !text.is_empty())
    }
}

/// The text between the tags of a page, without its scripts and styles.
fn text_of_html(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        let name = tag.get(..6).unwrap_or_default().to_ascii_lowercase();
        let end = match name.as_str() {
            "script" => "</script",
            _ if name.starts_with("style") => "</style",
            _ if name.starts_with("!--") => "-->",
            _ => ">",
        };
        // Byte positions hold: lower-casing ASCII changes no length.
        rest = match tag.to_ascii_lowercase().find(end) {
            Some(at) if end.starts_with("</") => &tag[at..],
            Some(at) => &tag[at + end.len()..],
            None => "",
        };
        if end.starts_with("</") {
            rest = rest.split_once('>').map_or("", |(_, after)| after);
        }
    }
    text.push_str(rest);
    text
}

/// Text on one line: runs of blanks become one space; control and bidirectional characters and those
/// without width are dropped.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            _ if character.is_whitespace() => {
                if !cleaned.is_empty() && !cleaned.ends_with(' ') {
                    cleaned.push(' ');
                }
            }
            _ if character.is_control() => {}
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {}
            '\u{feff}' => {}
            _ => cleaned.push(character),
        }
    }
    cleaned.truncate(cleaned.trim_end().len());
    cleaned
}

/// The first `limit` characters, with a mark where more followed.
pub(super) fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
