//! Medians and spreads of a few values.

/// A median, with the least and the greatest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ValueSpread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) greatest: f64,
}

impl ValueSpread {
    /// Returns the spread of `values`, or `None` if there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied();
        let last = sorted.len().checked_sub(1)?;
        let median = f64::midpoint(at(last / 2)?, at(last.div_ceil(2))?);
        Some(Self { least: at(0)?, median, greatest: at(last)? })
    }

    pub(crate) fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { least: f(self.least), median: f(self.median), greatest: f(self.greatest) }
    }
}

/// Formats a value with three significant digits, or as a whole number if that has more, without an exponent: `29,512`,
/// `4.72`, `0.0461`.
pub(crate) fn format_figure(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value.abs() >= 100.0 {
        return group_thousands(value.round());
    }
    let decimals = if value == 0.0 { 0 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 6) };
    format!("{value:.*}", usize::try_from(decimals).unwrap_or_default())
}

fn group_thousands(value: f64) -> String {
    let plain = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (n, digit) in plain.chars().enumerate() {
        if n > 0 && (plain.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_of_two_their_mean() {
        assert_eq!(ValueSpread::of([]), None);
        assert_eq!(ValueSpread::of([3.0, 1.0, 2.0]), Some(ValueSpread { least: 1.0, median: 2.0, greatest: 3.0 }));
        assert_eq!(ValueSpread::of([4.0, 1.0, 2.0, 9.0]).unwrap().median, 3.0);
    }

    #[test]
    fn figures_have_three_digits() {
        for (value, text) in [
            (29_512.4, "29,512"),
            (1_000_000.0, "1,000,000"),
            (142.0, "142"),
            (4.719, "4.72"),
            (0.04613, "0.0461"),
            (0.0, "0"),
        ] {
            assert_eq!(format_figure(value), text);
        }
        assert_eq!(format_figure(f64::INFINITY), "–");
    }
}
