//! Spans of time and sizes as they are written: "10s", "1h30m", "256KiB".

use std::time::Duration;

const SPANS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// `None` unless the text is one or more of number and unit.
pub(crate) fn parse_span(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut millis = 0u64;
    while !rest.is_empty() || text.is_empty() {
        let (number, unit, behind) = number_and_unit(rest)?;
        millis = millis.checked_add(number.checked_mul(factor(&SPANS, unit)?)?)?;
        rest = behind;
    }
    Some(Duration::from_millis(millis))
}

/// In bytes. `None` unless the text is a whole number and a unit.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit, behind) = number_and_unit(text)?;
    if !behind.is_empty() {
        return None;
    }
    number.checked_mul(factor(&SIZES, unit)?)
}

fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = text.split_at(digits);
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, behind) = rest.split_at(letters);
    Some((number.parse().ok()?, unit, behind))
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// The shortest text with one unit that `parse_span` reads back.
pub(crate) fn render_span(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    render(&SPANS, millis, "0s")
}

pub(super) fn render_size(bytes: u64) -> String {
    render(&SIZES, bytes, "0B")
}

fn render(units: &[(&str, u64)], amount: u64, zero: &str) -> String {
    let whole = units.iter().rev().find(|(_, factor)| amount != 0 && amount.is_multiple_of(*factor));
    whole.map_or_else(|| zero.to_owned(), |(name, factor)| format!("{}{name}", amount / factor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_read() {
        for (text, millis) in [("250ms", 250), ("10s", 10_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("0s", 0)] {
            assert_eq!(parse_span(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "10", "s", "10 s", "1.5s", "-1s", "10S", "10s5", "99999999999999999999s", "9999999999999999d"]
        {
            assert_eq!(parse_span(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [("0B", 0), ("256KiB", 262_144), ("1MiB", 1_048_576)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "256", "256kb", "1KiB1B", "KiB", "99999999999999GiB"] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_read_back(millis in 0u64..10_000_000_000, bytes in 0u64..10_000_000_000) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(parse_span(&render_span(span)), Some(span));
            prop_assert_eq!(parse_size(&render_size(bytes)), Some(bytes));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = (parse_span(&text), parse_size(&text));
        }
    }
}
