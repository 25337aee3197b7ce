//! Queries, keys and values of tokens by fixed random matrices. The device multiplies with them in `project.wgsl`; here
//! the same is done in f64, for the references.

use foveal::kernels::Error;
use foveal::{HostTensor, TensorData};

use crate::melody::{BEATS, BELL, FEATURES, LOUDNESS, Note, ONE, Random};

/// Heads of attention's queries, and of linear attention.
pub(crate) const HEADS: usize = 8;
/// The same, for pictures.
pub(crate) const HEADS_32: u32 = 8;
const _: () = assert!(HEADS == HEADS_32 as usize);
/// Heads of attention's keys and values, each for a group of queries.
pub(crate) const KV_HEADS: usize = 2;
/// Channels of a head's queries, keys and values.
pub(crate) const WIDTH: usize = 64;
/// The channel of keys and values that is the bell's alone: what is in it of an output is what is left of the bell.
/// Rotary positions turn it with their lowest frequency, by 0.03 in 256 tokens.
pub(crate) const BELL_CHANNEL: usize = WIDTH - 1;
/// Beats after which head 0's state has forgotten half; each further head takes twice as long.
const FIRST_HALF_LIFE: f64 = 8.0;

/// Heads of the tensors that a token becomes, in the order of the matrices and of the device: q, k and v of attention, then
/// those of linear attention.
pub(crate) const TENSORS: [usize; 6] = [HEADS, KV_HEADS, KV_HEADS, HEADS, HEADS, HEADS];
/// Those whose rows are brought to length 1.
const UNIT: [bool; 6] = [true, true, false, true, true, false];
/// Heads of all tensors.
pub(crate) const ALL_HEADS: usize = 4 * HEADS + 2 * KV_HEADS;

type Row = [f32; FEATURES];

/// The matrices, a row of features for each channel. After all heads come a row for each gate and one for each beta.
pub(crate) struct Model {
    rows: Vec<Row>,
}

/// All tokens' tensors in the layout `bthd`, in f64.
pub(crate) struct Projected {
    /// q, k and v.
    pub(crate) attention: [HostTensor; 3],
    /// q, k, v, g and beta.
    pub(crate) linear: [HostTensor; 5],
}

/// Beats after which half of what a head's state holds is forgotten.
pub(crate) fn half_life(head: usize) -> f64 {
    FIRST_HALF_LIFE * f64::from(1u32 << head)
}

impl Model {
    pub(crate) fn new() -> Self {
        let mut random = Random(0x1234_5677);
        let mut rows = Vec::with_capacity(ALL_HEADS * WIDTH + 2 * HEADS);
        for kv_heads in [KV_HEADS, HEADS] {
            let keys: Vec<Row> = (0..kv_heads * WIDTH).map(|_| music(&mut random, 1.0 / 16.0)).collect();
            for head in 0..HEADS {
                // Queries are half like the keys that they meet, so that notes look for notes like themselves.
                let met = &keys[head * kv_heads / HEADS * WIDTH..][..WIDTH];
                let queries = met.iter().map(|key| {
                    let other = music(&mut random, 1.0 / 16.0);
                    std::array::from_fn(|at| (key[at] + other[at]) * std::f32::consts::FRAC_1_SQRT_2)
                });
                // Every query asks for the bell too.
                rows.extend(with_bell_channel(queries.collect(), only(ONE, 2.2)));
            }
            for keys in keys.chunks(WIDTH) {
                rows.extend(with_bell_channel(keys.to_vec(), only(BELL, 2.0)));
            }
            for _ in 0..kv_heads {
                let values = (0..WIDTH).map(|_| music(&mut random, 0.5)).collect();
                rows.extend(with_bell_channel(values, only(BELL, 1.0)));
            }
        }
        // States fade with time, not with notes.
        #[expect(clippy::cast_possible_truncation, reason = "f32 is what the device computes with")]
        rows.extend((0..HEADS).map(|head| only(BEATS, (-std::f64::consts::LN_2 / half_life(head)) as f32)));
        rows.extend([only(LOUDNESS, 1.0); HEADS]);
        Self { rows }
    }

    /// The matrices as the device reads them.
    pub(crate) fn words(&self) -> Vec<f32> {
        self.rows.concat()
    }

    /// The results of `project.wgsl` for all notes, from the definition.
    pub(crate) fn project(&self, notes: &[Note]) -> Result<Projected, Error> {
        let mut tensors = [const { Vec::new() }; TENSORS.len()];
        let (mut g, mut beta) = (Vec::new(), Vec::new());
        for note in notes {
            let features = note.features();
            let dot = |row: &Row| -> f64 {
                row.iter().zip(&features).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
            };
            let all: Vec<f64> = self.rows.iter().map(dot).collect();
            let mut heads = all.chunks_exact(WIDTH);
            for ((tensor, count), unit) in tensors.iter_mut().zip(TENSORS).zip(UNIT) {
                for head in heads.by_ref().take(count) {
                    let length = head.iter().map(|x| x * x).sum::<f64>().sqrt();
                    tensor.extend(head.iter().map(|x| if unit { x / length } else { *x }));
                }
            }
            g.extend_from_slice(&all[ALL_HEADS * WIDTH..][..HEADS]);
            beta.extend_from_slice(&all[ALL_HEADS * WIDTH + HEADS..]);
        }
        let wide = |values: Vec<f64>| {
            let heads = values.len() / (notes.len() * WIDTH).max(1);
            HostTensor::new(vec![1, notes.len(), heads, WIDTH], TensorData::F64(values))
        };
        let narrow = |values| HostTensor::new(vec![1, notes.len(), HEADS], TensorData::F64(values));
        let [q, k, v, linear_q, linear_k, linear_v] = tensors;
        Ok(Projected {
            attention: [wide(q)?, wide(k)?, wide(v)?],
            linear: [wide(linear_q)?, wide(linear_k)?, wide(linear_v)?, narrow(g)?, narrow(beta)?],
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::melody::compose;

    #[test]
    fn queries_and_keys_have_length_one_and_gates_forget() {
        let notes = compose(40, 7);
        let Projected { attention, linear } = Model::new().project(&notes).unwrap();
        for (tensor, heads) in
            [(&attention[0], HEADS), (&attention[1], KV_HEADS), (&linear[0], HEADS), (&linear[1], HEADS)]
        {
            assert_eq!(tensor.shape(), [1, 40, heads, WIDTH]);
            for row in tensor.to_f64().chunks(WIDTH) {
                assert!((row.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-9);
            }
        }
        assert_eq!(attention[2].shape(), [1, 40, KV_HEADS, WIDTH]);
        let [.., g, beta] = linear;
        assert!(g.to_f64().iter().all(|&gate| gate < 0.0));
        assert!(beta.to_f64().iter().all(|&beta| beta > 0.0 && beta <= 1.0));
        assert!((half_life(7) - 1024.0).abs() < 1e-9);
    }

    #[test]
    fn the_bell_has_a_channel_of_its_own() {
        let notes = compose(40, 7);
        let Projected { attention: [q, k, v], linear: [linear_q, linear_k, linear_v, ..] } =
            Model::new().project(&notes).unwrap();
        for (tensor, heads) in [(k, KV_HEADS), (v, KV_HEADS), (linear_k, HEADS), (linear_v, HEADS)] {
            for (row, values) in tensor.to_f64().chunks(WIDTH).enumerate() {
                assert_eq!(values[BELL_CHANNEL] > 0.0, notes[row / heads].bell);
            }
        }
        for queries in [q, linear_q] {
            assert!(queries.to_f64().chunks(WIDTH).all(|row| row[BELL_CHANNEL] > 0.3));
        }
    }
}
