//! From times to figures: percentiles by sorting, because no list here is so long that it would
//! need an approximation.

use std::time::Duration;

use serde::Serialize;

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Latency {
    /// Zeros where there are no times.
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let rank = (share * times.len() as f64).ceil() as usize;
            let time = times.get(rank.saturating_sub(1)).copied().unwrap_or_default();
            round(time.as_secs_f64() * 1_000.0)
        };
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
    }
}

/// The middle one, or the mean of the two in the middle; 0 if there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (count, middle) if count % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Three digits after the point: more would be noise.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times: Vec<_> = (1..=1_000).rev().map(Duration::from_millis).collect();
        let Latency { p50, p99, p999 } = Latency::of(times);
        assert_eq!((p50, p99, p999), (500.0, 990.0, 999.0));
        let Latency { p50, p999, .. } = Latency::of(vec![Duration::from_millis(7)]);
        assert_eq!((p50, p999), (7.0, 7.0));
        assert_eq!(Latency::of(Vec::new()).p99, 0.0);
    }

    #[test]
    fn one_bad_round_does_not_move_the_median() {
        assert_eq!(median(&[3.0, 1.0, 900.0]), 3.0);
        assert_eq!(median(&[4.0, 2.0]), 3.0);
        assert_eq!(median(&[]), 0.0);
    }
}
