//! The definition, in f64.

use super::{Pairing, Rope};

impl Rope {
    /// Turns a row that lies at `position`.
    #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^53")]
    pub(crate) fn rotate(&self, row: &mut [f64], position: i64) {
        if self.pairing == Pairing::None {
            return;
        }
        for pair in 0..self.dim / 2 {
            let (start, end) = match self.pairing {
                Pairing::Pairs => (2 * pair, 2 * pair + 1),
                _ => (pair, pair + self.dim / 2),
            };
            let (sin, cos) = (position as f64 * self.frequency(pair)).sin_cos();
            let (x, y) = (row[start], row[end]);
            row[start] = x * cos - y * sin;
            row[end] = x * sin + y * cos;
        }
    }
}
