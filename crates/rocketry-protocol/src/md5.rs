//! MD5 (RFC 1321), which the consistent-hash allocation is defined by. Not for anything that has to withstand an attacker.

/// The digest of `bytes`.
pub(crate) fn md5(bytes: &[u8]) -> [u8; 16] {
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - bytes.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    // little-endian words are big-endian ones with their bytes swapped
    let bits = (bytes.len() as u64)
        .wrapping_mul(8)
        .swap_bytes()
        .to_be_bytes();
    let len = padded.len() - bits.len();
    padded.truncate(len);
    padded.extend_from_slice(&bits);

    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.as_chunks::<64>().0 {
        state = mix(state, block);
    }
    let mut digest = [0; 16];
    for (out, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *out = word.swap_bytes().to_be_bytes();
    }
    digest
}

#[allow(clippy::many_single_char_names, reason = "the names of the RFC")]
fn mix(state: [u32; 4], block: &[u8; 64]) -> [u32; 4] {
    const SHIFTS: [[u32; 4]; 4] = [
        [7, 12, 17, 22],
        [5, 9, 14, 20],
        [4, 11, 16, 23],
        [6, 10, 15, 21],
    ];
    let mut words = [0; 16];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes).swap_bytes();
    }
    let [mut a, mut b, mut c, mut d] = state;
    for round in 0..64u32 {
        let (f, word) = match round / 16 {
            0 => ((b & c) | (!b & d), round),
            1 => ((d & b) | (!d & c), 5 * round + 1),
            2 => (b ^ c ^ d, 3 * round + 5),
            _ => (c ^ (b | !d), 7 * round),
        };
        let word = words.get((word % 16) as usize).copied().unwrap_or_default();
        let shift = SHIFTS
            .get((round / 16) as usize)
            .and_then(|row| row.get((round % 4) as usize))
            .copied()
            .unwrap_or_default();
        // the constants are the sine of 1, 2, 3, ... in fixed point
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the whole part of a number from 0 to 2^32"
        )]
        let constant = (f64::from(round + 1).sin().abs() * 4_294_967_296.0) as u32;
        let sum = a.wrapping_add(f).wrapping_add(constant).wrapping_add(word);
        (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(shift)));
    }
    let mut mixed = [a, b, c, d];
    for (word, before) in mixed.iter_mut().zip(state) {
        *word = word.wrapping_add(before);
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_the_rfc() {
        let hex = |text: &str| format!("{:032x}", u128::from_be_bytes(md5(text.as_bytes())));
        assert_eq!(hex(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex("abc"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
        let long = "1234567890".repeat(8);
        assert_eq!(hex(&long), "57edf4a22be3c955ac49da2e2107b67a");
        // lengths around the padding's edges
        assert_eq!(hex(&"a".repeat(55)), "ef1772b6dff9a122358552954ad0df65");
        assert_eq!(hex(&"a".repeat(56)), "3b0c8ac703f828b04c6c197006d17218");
        assert_eq!(hex(&"a".repeat(64)), "014842d480b571495a4a0363793f7367");
    }
}
