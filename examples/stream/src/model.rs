//! Queries, keys and values of tokens by fixed random matrices. The device multiplies with them in `token.wgsl`; here
//! the same is done in f64, for the references.

use foveal::kernels::Error;
use foveal::{HostTensor, TensorData};

use crate::melody::{BEATS, BELL, FEATURES, LOUDNESS, Note, ONE, Random};

/// Heads of both memories.
pub(crate) const HEADS: usize = 8;
/// The same, for dispatches and pictures.
pub(crate) const HEADS_32: u32 = 8;
const _: () = assert!(HEADS == HEADS_32 as usize);
/// Channels of a head's queries, keys and values.
pub(crate) const WIDTH: usize = 64;
/// The channel of keys and values that is the bell's alone: what is in it of an output is what is left of the bell.
pub(crate) const BELL_CHANNEL: usize = WIDTH - 1;
/// Beats after which head 0's state has forgotten half; each further head takes twice as long.
const FIRST_HALF_LIFE: f64 = 8.0;
/// Rows of the matrices of a head: q, k, v, the gate, beta.
const ROWS: usize = 3 * WIDTH + 2;

type Row = [f32; FEATURES];

/// The matrices, a row of features for each channel.
pub(crate) struct Model {
    rows: Vec<Row>,
}

/// All tokens' tensors in the layout `bthd`, in f64.
pub(crate) struct Projected {
    pub(crate) q: HostTensor,
    pub(crate) k: HostTensor,
    pub(crate) v: HostTensor,
    pub(crate) g: HostTensor,
    pub(crate) beta: HostTensor,
}

/// Beats after which half of what a head's state holds is forgotten.
pub(crate) fn half_life(head: usize) -> f64 {
    FIRST_HALF_LIFE * f64::from(1u32 << head)
}

impl Model {
    pub(crate) fn new() -> Self {
        let mut random = Random(0x1234_5677);
        let mut rows = Vec::with_capacity(HEADS * ROWS);
        for head in 0..HEADS {
            let keys: Vec<Row> = (0..WIDTH).map(|_| music(&mut random, 1.0 / 16.0)).collect();
            // Queries are half like keys, so that notes look for notes like themselves.
            let queries = keys.iter().map(|key| {
                let other = music(&mut random, 1.0 / 16.0);
                std::array::from_fn(|at| (key[at] + other[at]) * std::f32::consts::FRAC_1_SQRT_2)
            });
            // Every query asks for the bell too.
            let queries = with_bell_channel(queries.collect(), only(ONE, 2.2));
            rows.extend(queries);
            rows.extend(with_bell_channel(keys, only(BELL, 2.0)));
            let values = (0..WIDTH).map(|_| music(&mut random, 0.5)).collect();
            rows.extend(with_bell_channel(values, only(BELL, 1.0)));
            // Memories fade with time, not with notes.
            #[expect(clippy::cast_possible_truncation, reason = "f32 is what the device computes with")]
            rows.push(only(BEATS, (-std::f64::consts::LN_2 / half_life(head)) as f32));
            rows.push(only(LOUDNESS, 1.0));
        }
        Self { rows }
    }

    /// The matrices as the device reads them.
    pub(crate) fn words(&self) -> Vec<f32> {
        self.rows.concat()
    }

    /// The results of `token.wgsl` for all notes, from the definition.
    pub(crate) fn project(&self, notes: &[Note]) -> Result<Projected, Error> {
        let [mut q, mut k, mut v, mut g, mut beta] = [const { Vec::new() }; 5];
        for note in notes {
            let features = note.features();
            for rows in self.rows.chunks_exact(ROWS) {
                let dot = |row: &Row| -> f64 {
                    row.iter().zip(&features).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
                };
                let all: Vec<f64> = rows.iter().map(dot).collect();
                let [queries, keys, values] = [0, 1, 2].map(|part| &all[part * WIDTH..(part + 1) * WIDTH]);
                q.extend(unit(queries));
                k.extend(unit(keys));
                v.extend(values);
                g.push(all[3 * WIDTH]);
                beta.push(all[3 * WIDTH + 1]);
            }
        }
        let wide = |values| HostTensor::new(vec![1, notes.len(), HEADS, WIDTH], TensorData::F64(values));
        let narrow = |values| HostTensor::new(vec![1, notes.len(), HEADS], TensorData::F64(values));
        Ok(Projected { q: wide(q)?, k: wide(k)?, v: wide(v)?, g: narrow(g)?, beta: narrow(beta)? })
    }
}

/// Random weights for what describes the music.
#[expect(clippy::cast_possible_truncation, reason = "f32 is what the device computes with")]
fn music(random: &mut Random, size: f64) -> Row {
    std::array::from_fn(|at| if at < LOUDNESS { 0.0 } else { (size * random.normal()) as f32 })
}

/// A weight for one feature.
fn only(feature: usize, weight: f32) -> Row {
    std::array::from_fn(|at| if at == feature { weight } else { 0.0 })
}

fn with_bell_channel(mut rows: Vec<Row>, bell: Row) -> Vec<Row> {
    rows[BELL_CHANNEL] = bell;
    rows
}

fn unit(values: &[f64]) -> impl Iterator<Item = f64> + '_ {
    let length = values.iter().map(|x| x * x).sum::<f64>().sqrt();
    values.iter().map(move |x| x / length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::melody::compose;

    #[test]
    fn queries_and_keys_have_length_one_and_gates_forget() {
        let notes = compose(40);
        let projected = Model::new().project(&notes).unwrap();
        for tensor in [&projected.q, &projected.k] {
            assert_eq!(tensor.shape(), [1, 40, HEADS, WIDTH]);
            for row in tensor.to_f64().chunks(WIDTH) {
                assert!((row.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-9);
            }
        }
        assert!(projected.g.to_f64().iter().all(|&gate| gate < 0.0));
        assert!(projected.beta.to_f64().iter().all(|&beta| beta > 0.0 && beta <= 1.0));
        assert!((half_life(7) - 1024.0).abs() < 1e-9);
    }

    #[test]
    fn the_bell_has_a_channel_of_its_own() {
        let notes = compose(40);
        let projected = Model::new().project(&notes).unwrap();
        for tensor in [&projected.k, &projected.v] {
            for (row, values) in tensor.to_f64().chunks(WIDTH).enumerate() {
                assert_eq!(values[BELL_CHANNEL] > 0.0, notes[row / HEADS].bell);
            }
        }
        assert!(projected.q.to_f64().chunks(WIDTH).all(|row| row[BELL_CHANNEL] > 0.3));
    }
}
