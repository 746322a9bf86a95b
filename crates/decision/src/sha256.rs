//! SHA-256 (FIPS 180-4) of a value, in memory that the caller lends: it takes no stack.

use crate::value::Value;

/// Words of memory that a digest takes: the schedule's last 16 words, and the hash's eight.
pub const SCRATCH: usize = SCHEDULE + STATE;
const SCHEDULE: usize = 16;
const STATE: usize = 8;

/// Bytes of a block.
const BLOCK: usize = 64;

const INITIAL: [u32; STATE] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

#[rustfmt::skip]
static ROUNDS: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// A word of the digest in `scratch`, one of four, in big-endian order.
#[inline]
#[must_use]
pub fn word(scratch: &[u32; SCRATCH], i: usize) -> u64 {
    let half = |i: usize| u64::from(scratch[SCHEDULE + i]);
    half(2 * i) << 32 | half(2 * i + 1)
}

/// Leaves the digest of `value` in `scratch`. The value has to fit into its image.
#[inline(never)]
pub fn digest<const WORDS: usize>(value: &Value<WORDS>, scratch: &mut [u32; SCRATCH]) {
    digest_words(&value.words, value.size() as usize, scratch);
}

/// Leaves the digest of the first `size` bytes of `words` in `scratch`, if they fit into an image of as many words, and
/// what is behind them is zero.
#[inline]
pub fn digest_words<const WORDS: usize>(
    words_of: &[u64; WORDS],
    size: usize,
    scratch: &mut [u32; SCRATCH],
) {
    for_each!(i < STATE, scratch[SCHEDULE + i] = INITIAL[i]);
    let size = size.min(Value::<WORDS>::CAPACITY);
    // The bytes are followed by a bit, zeros, and the number of bits.
    let blocks = (size + 1 + size_of::<u64>()).div_ceil(BLOCK);
    let words = blocks * SCHEDULE;
    let mut start = 0;
    while start < words {
        let mut i = 0;
        while i < SCHEDULE {
            let at = start + i;
            scratch[i] =
                if at + 1 == words { size as u32 * 8 } else { message(words_of, size, at) };
            i += 1;
        }
        compress(scratch);
        start += SCHEDULE;
    }
}

/// A word of the message, as it begins: the bytes, a bit, zeros.
#[inline]
fn message<const WORDS: usize>(words: &[u64; WORDS], size: usize, at: usize) -> u32 {
    let in_image = at < Value::<WORDS>::CAPACITY / size_of::<u32>();
    let word = if in_image { (words[at / 2] >> (at % 2 * 32)) as u32 } else { 0 };
    let bit = if at == size / 4 { 0x8000_0000 >> (size % 4 * 8) } else { 0 };
    word.swap_bytes() | bit
}

/// Takes the block in the schedule into the hash.
#[expect(clippy::many_single_char_names, reason = "the standard's names")]
#[inline(never)]
fn compress(scratch: &mut [u32; SCRATCH]) {
    let [.., mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *scratch;
    let mut round = 0;
    while round < ROUNDS.len() {
        let now = round % SCHEDULE;
        let word = scratch[now];
        let choice = g ^ e & (f ^ g);
        let first = h
            .wrapping_add(rotated(e, [6, 11, 25]))
            .wrapping_add(choice)
            .wrapping_add(ROUNDS[round])
            .wrapping_add(word);
        let majority = a & b | c & (a | b);
        let second = rotated(a, [2, 13, 22]).wrapping_add(majority);
        (h, g, f, e, d, c, b, a) =
            (g, f, e, d.wrapping_add(first), c, b, a, first.wrapping_add(second));
        // This word's place takes the one of sixteen rounds later.
        let (near, far) = (scratch[(round + 14) % SCHEDULE], scratch[(round + 1) % SCHEDULE]);
        let near = near.rotate_right(17) ^ near.rotate_right(19) ^ near >> 10;
        let far = far.rotate_right(7) ^ far.rotate_right(18) ^ far >> 3;
        scratch[now] =
            word.wrapping_add(far).wrapping_add(scratch[(round + 9) % SCHEDULE]).wrapping_add(near);
        round += 1;
    }
    let [.., state_a, state_b, state_c, state_d, state_e, state_f, state_g, state_h] = scratch;
    *state_a = state_a.wrapping_add(a);
    *state_b = state_b.wrapping_add(b);
    *state_c = state_c.wrapping_add(c);
    *state_d = state_d.wrapping_add(d);
    *state_e = state_e.wrapping_add(e);
    *state_f = state_f.wrapping_add(f);
    *state_g = state_g.wrapping_add(g);
    *state_h = state_h.wrapping_add(h);
}

#[inline]
fn rotated(word: u32, by: [u32; 3]) -> u32 {
    word.rotate_right(by[0]) ^ word.rotate_right(by[1]) ^ word.rotate_right(by[2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::vec::Vec;

    #[test]
    fn digests_of_all_sizes_are_those_of_sha2() {
        let bytes: Vec<u8> = (0..Value::<40>::CAPACITY).map(|i| (i * 167 + 13) as u8).collect();
        for size in 0..=bytes.len() {
            let mut scratch = [0xdead_beef; SCRATCH];
            digest(&Value::<40>::of(&bytes[..size]), &mut scratch);
            let found: Vec<u8> = (0..4).flat_map(|i| word(&scratch, i).to_be_bytes()).collect();
            assert_eq!(found, Sha256::digest(&bytes[..size])[..], "{size}");
        }
    }
}
