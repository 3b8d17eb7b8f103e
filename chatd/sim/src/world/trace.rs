//! A digest of everything that happened, in order.

use std::fmt;

/// Digest by FNV-1a, folded over numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceDigest {
    digest: u64,
    steps: u64,
}

impl Default for TraceDigest {
    fn default() -> Self {
        Self { digest: 0xcbf2_9ce4_8422_2325, steps: 0 }
    }
}

impl TraceDigest {
    /// Notes that one more thing happened.
    pub fn note(&mut self, numbers: &[u64]) {
        self.steps += 1;
        for number in numbers {
            self.digest = (self.digest ^ number).wrapping_mul(0x0000_0100_0000_01b3);
            self.digest ^= self.digest >> 29;
        }
    }

    /// Notes one more thing that happened, as text.
    pub fn note_text(&mut self, text: &str) {
        self.note(&[u64::from(crc32fast::hash(text.as_bytes())), text.len() as u64]);
    }

    /// Returns the number of things that happened.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

impl fmt::Display for TraceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.digest)
    }
}
