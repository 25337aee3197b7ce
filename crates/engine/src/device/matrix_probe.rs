//! Whether a device multiplies matrices, found by multiplying two.

use foveal_kernels::MatrixUnit;
use foveal_shaders::Request;

use super::{matrix, profile::profile};
use crate::{Engine, Error, ErrorKind};

/// Halves of -3 to 3.
const SMALL_INTEGERS: [u32; 7] = [0xc200, 0xc000, 0xbc00, 0, 0x3c00, 0x4000, 0x4200];

impl Engine {
    /// The side of the matrices of f16, added in f32, that an adapter lists and kernels are made for: 16 or 8.
    ///
    /// A host whose device is to use them asks for `EXPERIMENTAL_COOPERATIVE_MATRIX`, with wgpu's token for experimental features,
    /// `SHADER_F16` and `SUBGROUP`, and gives the engine [`MatrixUnits::Side`](crate::MatrixUnits::Side) of this. A device does not
    /// tell what its adapter lists.
    #[must_use]
    pub fn matrix_side(adapter: &wgpu::Adapter) -> Option<u32> {
        let profile = profile(&adapter.get_info(), adapter.features(), &adapter.limits());
        matrix::listed(adapter, &profile)
    }

    /// Multiplies two matrices on the device. `None` where the driver does not compile that, or multiplies wrong.
    pub(crate) async fn probe_matrix(&self) -> Result<Option<MatrixUnit>, Error> {
        let shared = &self.shared;
        let (Some(side), Some((_, widest))) = (shared.matrix_side, shared.profile.features.subgroups) else {
            return Ok(None);
        };
        let request = Request::new("probe/matrix")
            .replace("shared/matrix", format!("shared/matrix_{side}"))
            .tunable("THREADS", widest);
        let (words, expected) = product(side as usize);
        let results = match self.probe(&request, &words, expected.len() + 1).await {
            Ok(results) => results,
            Err(error) if error.kind() == ErrorKind::DeviceLost => return Err(error),
            Err(error) => {
                log::warn!("matrices of {side} x {side} are not used on {}: {error}", self.profile.key());
                return Ok(None);
            }
        };
        let results: Vec<f32> = results.into_iter().map(f32::from_bits).collect();
        let Some((&lanes, product)) = results.split_last() else { return Ok(None) };
        if product != expected {
            log::warn!("matrices of {side} x {side} are multiplied wrong on {}", self.profile.key());
            return Ok(None);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lanes of a subgroup")]
        Ok(Some(MatrixUnit { side, lanes: lanes as u32 }))
    }
}

/// Two matrices of small integers, as words, and their product.
fn product(side: usize) -> (Vec<u32>, Vec<f32>) {
    let a = |row: usize, column: usize| (3 * row + 5 * column) % 7;
    let b = |row: usize, column: usize| (2 * row + 4 * column + row * column) % 7;
    let places = || (0..side * side).map(|at| (at / side, at % side));
    let halves: Vec<usize> = places()
        .map(|(row, column)| a(row, column))
        .chain(places().map(|(row, column)| b(row, column)))
        .collect();
    let words = halves.chunks(2).map(|pair| match *pair {
        [low, high] => SMALL_INTEGERS[low] | (SMALL_INTEGERS[high] << 16),
        _ => 0,
    });
    // Sums of products of at most 9 are exact.
    let value = |place: usize| f32::from(u8::try_from(place).unwrap_or(0)) - 3.0;
    let expected = places().map(|(row, column)| {
        (0..side).map(|inner| value(a(row, inner)) * value(b(inner, column))).sum::<f32>()
    });
    (words.collect(), expected.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_tells_rows_from_columns() {
        for side in [8, 16] {
            let (words, product) = product(side);
            assert_eq!((words.len(), product.len()), (side * side, side * side));
            let transposed: Vec<f32> =
                (0..side * side).map(|at| product[at % side * side + at / side]).collect();
            assert_ne!(product, transposed);
        }
    }
}
