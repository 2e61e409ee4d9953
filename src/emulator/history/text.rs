//! Moments and ids as the platform writes them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

/// A moment as the platform writes it: UTC, up to seven fraction digits, trailing zeros trimmed.
#[must_use]
pub fn stamp(time: DateTime<Utc>) -> String {
    let mut text = String::with_capacity(28);
    push_stamp(&mut text, time);
    text
}

pub(super) fn push_stamp(text: &mut String, time: DateTime<Utc>) {
    let year = u32::try_from(time.year()).unwrap_or(1);
    push_digits(text, year, 4);
    for (mark, part) in [
        ('-', time.month()),
        ('-', time.day()),
        ('T', time.hour()),
        (':', time.minute()),
        (':', time.second()),
    ] {
        text.push(mark);
        push_digits(text, part, 2);
    }
    // A leap second's nanoseconds pass a thousand million; the platform has none.
    let mut ticks = time.nanosecond() / 100 % 10_000_000;
    let mut width = 7;
    if ticks > 0 {
        while ticks.is_multiple_of(10) {
            ticks /= 10;
            width -= 1;
        }
        text.push('.');
        push_digits(text, ticks, width);
    }
    text.push('Z');
}

fn push_digits(text: &mut String, number: u32, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        text.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}

/// A version 4 UUID of these bits.
pub(super) fn uuid(bits: u128) -> String {
    let mut text = String::with_capacity(36);
    push_uuid(&mut text, bits);
    text
}

pub(super) fn push_uuid(text: &mut String, bits: u128) {
    let bits = bits & !(0xf << 76) | 0x4 << 76;
    let bits = bits & !(0x3 << 62) | 0x2 << 62;
    for nibble in (0..32).rev() {
        let digit = ((bits >> (nibble * 4)) & 0xf) as u32;
        text.push(char::from_digit(digit, 16).unwrap_or('0'));
        if matches!(nibble, 24 | 20 | 16 | 12) {
            text.push('-');
        }
    }
}

/// A connection's id: base64url of its iModel's GUID and another, each in .NET's byte order, as the published
/// samples decode.
pub(super) fn connection_id(imodel_id: &str, inner: &str) -> String {
    let mut bytes = dotnet_bytes(imodel_id);
    bytes.extend(dotnet_bytes(inner));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A GUID's bytes as .NET stores them: the first three groups little-endian.
fn dotnet_bytes(guid: &str) -> Vec<u8> {
    let digits: Vec<u32> = guid.chars().filter_map(|digit| digit.to_digit(16)).collect();
    let mut bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, &digit| byte * 16 + digit as u8)).collect();
    // A GUID has sixteen bytes; a shorter text would be a mistake in this file.
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn times_are_written_as_the_platform_writes_them() {
        assert_eq!(stamp(at("2023-09-14T12:00:09.801086Z")), "2023-09-14T12:00:09.801086Z");
        assert_eq!(stamp(at("2023-09-14T12:00:06.8727565Z")), "2023-09-14T12:00:06.8727565Z");
        assert_eq!(stamp(at("2023-09-14T12:00:06.0000001Z")), "2023-09-14T12:00:06.0000001Z");
        assert_eq!(stamp(at("2023-09-14T12:00:00Z")), "2023-09-14T12:00:00Z");
    }

    #[test]
    fn a_connection_id_decodes_to_its_imodel() {
        // The published pair: VRZHoBhrnkGrAev0-_-d_x... is a0471655-6b18-419e-ab01-ebf4fbff9dff.
        let bytes = dotnet_bytes("a0471655-6b18-419e-ab01-ebf4fbff9dff");
        assert!(URL_SAFE_NO_PAD.encode(bytes).starts_with("VRZHoBhrnkGrAev0-_-d_"));
    }
}
