//! Shares of a whole in human-readable notation: `0.01`.

use serde_json::{Value, json};

/// Number of steps between none and all; the smallest share that can be expressed is one millionth.
const WHOLE: u32 = 1_000_000;

/// Share of a whole from none (0) to all (1), in steps of one millionth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ratio(u32);

impl Ratio {
    pub const ALL: Self = Self(WHOLE);

    /// Parses a decimal number from 0 to 1.
    ///
    /// # Errors
    /// Returns a description of the accepted numbers.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Also excludes NaN, which no range contains.
        let number = text.parse().ok().filter(|number: &f64| (0.0..=1.0).contains(number));
        let number = number.ok_or("write a number from 0 (none) to 1 (all), such as 0.01")?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 1")]
        Ok(Self((number * f64::from(WHOLE)).round() as u32))
    }

    /// Returns the share as a JSON number that [`parse`](Self::parse) reads back.
    #[must_use]
    pub fn show(self) -> Value {
        json!(f64::from(self.0) / f64::from(WHOLE))
    }

    /// Returns `true` for this share of all values of `drawn`; a number drawn uniformly is held with that probability.
    #[must_use]
    pub fn holds(self, drawn: u32) -> bool {
        // Cannot overflow: `drawn` is below 2^32 and `WHOLE` is a million.
        u64::from(drawn) * u64::from(WHOLE) < u64::from(self.0) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back() {
        for text in ["0.01", "0.0", "1.0", "0.5", "0.000001"] {
            let ratio = Ratio::parse(text).unwrap();
            assert_eq!(Ratio::parse(&ratio.show().to_string()), Ok(ratio));
        }
        assert_eq!(Ratio::parse("0.01").unwrap().show().to_string(), "0.01");
        assert_eq!(Ratio::parse("1"), Ok(Ratio::ALL));
        assert_eq!(Ratio::parse("1e-2"), Ratio::parse("0.01"));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "-0.1", "1.1", "1%", "NaN", "inf"] {
            assert!(Ratio::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn it_holds_its_part_of_what_is_drawn() {
        let hundredth = Ratio::parse("0.01").unwrap();
        let step = 1 << 16;
        let held = (0..u32::MAX).step_by(step).filter(|drawn| hundredth.holds(*drawn)).count();
        assert_eq!(held, 656, "a hundredth of 65,536");
        assert!(!Ratio::default().holds(0) && Ratio::ALL.holds(u32::MAX));
    }
}
