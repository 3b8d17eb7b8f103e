//! Causes behind errors, and their messages in one line.

use std::error::Error;
use std::iter::successors;

/// Returns the causes behind an error, the nearest first.
pub fn causes_of(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    successors(error.source(), next_cause)
}

fn next_cause<'e>(cause: &&'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    (*cause).source()
}

/// Returns the message of an error and those of its causes in one line. A message that the line already contains is
/// left out, because some errors repeat the message of their cause.
#[must_use]
pub fn message_with_causes(error: &dyn Error) -> String {
    causes_of(error).map(ToString::to_string).fold(error.to_string(), |line, message| match line.contains(&message) {
        true => line,
        false => format!("{line}: {message}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn causes_come_from_the_nearest_to_the_innermost_and_repetitions_are_left_out() {
        let refused = Layer("connection refused", None);
        let repeated = Layer("cannot connect", Some(Box::new(refused)));
        let error = Layer("no answer: cannot connect", Some(Box::new(repeated)));
        assert_eq!(message_with_causes(&error), "no answer: cannot connect: connection refused");
        assert_eq!(causes_of(&error).last().map(ToString::to_string).as_deref(), Some("connection refused"));
        assert_eq!(message_with_causes(&Layer("alone", None)), "alone");
    }
}
