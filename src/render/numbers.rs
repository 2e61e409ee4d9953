//! Numbers, sizes and lengths of time as people read them.

use std::time::Duration;

/// `1,234,567`.
pub(crate) fn render_count(number: impl Into<i128>) -> String {
    let number = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `512 B`, `12.3 MiB`; what is beyond the last digit is cut off.
pub(crate) fn render_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = bytes.ilog2() / 10;
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[power as usize - 1])
}

/// `850 ms`, `1.2 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`; what is beyond is cut off.
pub(crate) fn render_duration(length: Duration) -> String {
    let seconds = length.as_secs();
    let (large, small) = match seconds {
        0 => return format!("{} ms", length.as_millis()),
        1..60 => return format!("{seconds}.{} s", length.subsec_millis() / 100),
        60..3600 => ((seconds / 60, "min"), (seconds % 60, "s")),
        3600..86_400 => ((seconds / 3600, "h"), (seconds % 3600 / 60, "min")),
        _ => ((seconds / 86_400, "d"), (seconds % 86_400 / 3600, "h")),
    };
    match small.0 {
        0 => format!("{} {}", large.0, large.1),
        _ => format!("{} {} {} {}", large.0, large.1, small.0, small.1),
    }
}

/// `1 run`, `2,000 runs`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", render_count(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let numbers = [0, 7, 999, 1000, 12_345, 1_234_567, -1, -1000, i64::MIN];
        let texts = numbers.map(render_count);
        let expected = ["0", "7", "999", "1,000", "12,345", "1,234,567", "-1", "-1,000"];
        assert_eq!(texts[..8], expected);
        assert_eq!(texts[8], "-9,223,372,036,854,775,808");
    }

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        let sizes = [0, 1023, 1024, 1536, 12_897_485, 2_040_109_466, u64::MAX].map(render_size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "12.3 MiB", "1.9 GiB", "15.9 EiB"]);
    }

    #[test]
    fn lengths_of_time_are_told_in_two_units_at_most() {
        let lengths = [0, 850, 1_250, 59_999, 60_000, 185_000, 7_800_000, 86_400_000, 274_000_000];
        let texts = lengths.map(|ms| render_duration(Duration::from_millis(ms)));
        let expected =
            ["0 ms", "850 ms", "1.2 s", "59.9 s", "1 min", "3 min 5 s", "2 h 10 min", "1 d", "3 d 4 h"];
        assert_eq!(texts, expected);
    }
}
