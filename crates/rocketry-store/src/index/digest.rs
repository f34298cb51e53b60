//! Check sums of an index file that follow its writes.

/// Check sums of the units in use and of the slots. Neither takes a reading of the file when keys are added: units are only ever
/// appended, and what a slot adds to the sum does not depend on the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Digest {
    /// CRC-32 of the units from the first used one on.
    pub(crate) units: u32,
    /// Sum, modulo 2^64, of a hash of number and value of each slot that is not 0.
    pub(crate) slots: u64,
}

impl Digest {
    /// Takes units that are behind those it has.
    pub(super) fn add_units(&mut self, bytes: &[u8]) {
        let mut crc = crc32fast::Hasher::new_with_initial(self.units);
        crc.update(bytes);
        self.units = crc.finalize();
    }

    /// Takes the new value of a slot for the old one.
    pub(super) const fn set_slot(&mut self, slot: u32, old: u32, new: u32) {
        self.slots = self
            .slots
            .wrapping_sub(slot_hash(slot, old))
            .wrapping_add(slot_hash(slot, new));
    }
}

/// 0 for an empty slot; else the finalizer of `MurmurHash3`, 64 bit.
const fn slot_hash(slot: u32, value: u32) -> u64 {
    if value == 0 {
        return 0;
    }
    let mut hash = (slot as u64) << 32 | value as u64;
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_sum_to_the_whole() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut whole = Digest::default();
        whole.add_units(&bytes);
        let mut pieces = Digest::default();
        for piece in bytes.chunks(60) {
            pieces.add_units(piece);
        }
        assert_eq!(whole, pieces);
        assert_eq!(whole.units, crc32fast::hash(&bytes));

        let mut at_once = Digest::default();
        at_once.set_slot(3, 0, 9);
        at_once.set_slot(1, 0, 2);
        let mut in_steps = Digest::default();
        for (slot, old, new) in [(1, 0, 1), (3, 0, 4), (1, 1, 2), (3, 4, 9)] {
            in_steps.set_slot(slot, old, new);
        }
        assert_eq!(at_once, in_steps);
        // which slot has which value matters
        let mut swapped = Digest::default();
        swapped.set_slot(3, 0, 2);
        swapped.set_slot(1, 0, 9);
        assert_ne!(at_once, swapped);
    }
}
