//! Frequencies as kernels read them.

use super::{Pairing, Rope};

/// For each pair the frequency in turns a position, modulo 1, with 64 fractional bits: the upper word, then the lower.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a fraction's bits, word by word"
)]
pub(crate) fn turns(rope: &Rope) -> Vec<u32> {
    const WORD: f64 = 4_294_967_296.0;
    let pairs = if rope.pairing == Pairing::None { 0 } else { rope.dim / 2 };
    let words = (0..pairs).flat_map(|pair| {
        // Below one sixth of a turn: products with powers of two are exact.
        let scaled = rope.frequency(pair) / std::f64::consts::TAU * WORD;
        let upper = scaled.floor();
        [upper as u32, ((scaled - upper) * WORD) as u32]
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_frequency() {
        for (base, dim) in [(10_000.0, 128), (1.0, 2), (1e30, 64), (500_000.0, 80)] {
            let rope = Rope { pairing: Pairing::Halves, base, dim };
            let words = turns(&rope);
            assert_eq!(words.len(), dim);
            for (pair, word) in words.chunks(2).enumerate() {
                let exact = rope.frequency(pair) / std::f64::consts::TAU;
                let held = f64::from(word[0]) / 2f64.powi(32) + f64::from(word[1]) / 2f64.powi(64);
                assert!((exact - held).abs() <= 2f64.powi(-64) + exact * 1e-15, "{base} {dim} {pair}");
            }
        }
    }
}
