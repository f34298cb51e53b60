//! Small changes to known inputs: enough to reach the error paths of a decoder without coverage feedback.

/// Longest input: a decoder's limits are tested with lying lengths, not with long inputs.
const MAX_BYTES: usize = 1 << 16;
/// Most changes to one input.
const MAX_CHANGES: usize = 6;
/// Words that lengths and counts are compared with.
const WORDS: [i32; 12] = [
    0,
    1,
    -1,
    4,
    21,
    22,
    127,
    255,
    i16::MAX as i32,
    1 << 24,
    i32::MAX,
    i32::MIN,
];

/// The source of changed inputs; the same seed gives the same inputs.
pub(super) struct Mutator {
    random: fastrand::Rng,
}

impl Mutator {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// One of `seeds`, changed.
    pub(super) fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.random.choice(seeds).cloned().unwrap_or_default();
        for _ in 0..self.random.usize(1..=MAX_CHANGES) {
            self.change(&mut input, seeds);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.random.usize(0..=input.len());
        let end = at + self.random.usize(0..=(input.len() - at).min(64));
        match self.random.u8(0..10) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => {
                let part: Vec<_> = input.get(at..end).map(<[u8]>::to_vec).unwrap_or_default();
                insert(input, at, &part);
            }
            3 => {
                let mut bytes = vec![0; self.random.usize(1..=8)];
                self.random.fill(&mut bytes);
                insert(input, at, &bytes);
            }
            4 => {
                let other = self.random.choice(seeds).cloned().unwrap_or_default();
                let from = self.random.usize(0..=other.len());
                insert(input, at, other.get(from..).unwrap_or_default());
            }
            5 | 6 => {
                let word = self.random.choice(WORDS).unwrap_or_default().to_be_bytes();
                let wider = self.random.choice([0, 2, 3]).unwrap_or(0); // a length word of 4, 2 or 1 bytes
                for (byte, new) in input.iter_mut().skip(at).zip(word.iter().skip(wider)) {
                    *byte = *new;
                }
            }
            7 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.random.u8(..);
                }
            }
            8 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self
                        .random
                        .choice([
                            0, 1, 2, b'"', b'{', b'}', b',', b':', b'\\', 0x7F, 0x80, 0xFF,
                        ])
                        .unwrap_or(0);
                }
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.random.u8(0..8);
                }
            }
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_inputs() {
        let seeds = [b"some seed".to_vec(), b"another".to_vec()];
        let run = || {
            let mut mutator = Mutator::new(7);
            (0..1000)
                .map(|_| mutator.mutate(&seeds))
                .collect::<Vec<_>>()
        };
        let inputs = run();
        assert_eq!(inputs, run());
        let distinct: std::collections::HashSet<_> = inputs.iter().collect();
        assert!(
            distinct.len() > 800,
            "only {} different inputs",
            distinct.len()
        );
    }
}
