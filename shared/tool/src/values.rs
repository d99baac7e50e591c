//! What the value of a flag may be: parsers whose errors say what is expected, with an example.

use std::ops::RangeInclusive;
use std::str::FromStr;

use jiff::{Span, SpanRelativeTo, Timestamp};

/// A whole number within a range; `expected` goes into the error: `a port such as 8080`.
pub fn whole<T>(
    range: RangeInclusive<T>,
    expected: &'static str,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("expected {expected}"))
    }
}

/// A sequence of the log.
///
/// # Errors
/// When it is no whole number of one or more.
pub fn sequence(text: &str) -> Result<u64, String> {
    whole(1..=u64::MAX, "a sequence of the log such as 4711")(text)
}

/// How many rows are shown, at most.
///
/// # Errors
/// When it is no whole number of one or more.
pub fn rows(text: &str) -> Result<usize, String> {
    whole(1..=usize::MAX, "a number such as 50, 1 or more")(text)
}

/// A moment: RFC 3339, or how long ago it was by the clock of this machine.
///
/// # Errors
/// When it is neither, or in the future by a sign.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let ago = text.parse().ok().and_then(|ago: Span| {
        let ago = ago.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        let moment = Timestamp::now().checked_sub(ago).ok()?;
        (!ago.is_negative()).then_some(moment)
    });
    ago.ok_or_else(|| {
        "expected a time such as 2026-01-02T12:00:00Z, or how long ago, such as 2m, 1h or 3d"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago_it_was() {
        let time = "2026-01-02T12:00:00Z";
        assert_eq!(moment(time).unwrap().to_string(), time);
        assert_eq!(moment("2026-01-02T13:00:00+01:00").unwrap().to_string(), time);
        for (text, ago) in [("2m", 120), ("1h", 3_600), ("3d", 259_200), ("1h 30m", 5_400)] {
            let seen = Timestamp::now().duration_since(moment(text).unwrap());
            let more = seen - SignedDuration::from_secs(ago);
            assert!(more.abs().as_secs() < 10, "{text}: {seen}");
        }
        for wrong in ["", "x", "2", "-2m", "1 month", "2026-01-02", "999999d ago"] {
            let said = moment(wrong).unwrap_err();
            assert!(said.contains("2026-01-02T12:00:00Z") && said.contains("3d"), "{said}");
        }
    }

    #[test]
    fn a_number_out_of_range_is_told_with_what_is_expected() {
        assert_eq!(rows("1"), Ok(1));
        assert!(rows("0").unwrap_err().contains("1 or more"));
        let port = whole(1..=u16::MAX, "a port such as 8080");
        assert_eq!(port("80"), Ok(80));
        for wrong in ["0", "65536", "-1", "x", ""] {
            assert_eq!(port(wrong).unwrap_err(), "expected a port such as 8080");
        }
    }
}
