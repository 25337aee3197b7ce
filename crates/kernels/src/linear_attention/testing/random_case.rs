//! Random problems.

use crate::{
    Dtype, Layout,
    check::{GateDistribution, InputDistribution},
    linear_attention::{
        Direction, FeatureMap, Gate, Key, Lengths, LinearAttention, LinearShape, Normaliser, Rule,
        StateLayout,
    },
};

const LENGTHS: [usize; 17] = [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 129, 300];
const DIMS: [usize; 16] = [1, 3, 8, 16, 17, 32, 33, 40, 60, 64, 64, 64, 96, 128, 130, 256];
const HEADS: [(usize, usize); 6] = [(1, 1), (2, 2), (2, 4), (1, 3), (3, 3), (2, 6)];

fn one<T: Copy>(random: &mut fastrand::Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

/// True once in `often`.
fn rarely(random: &mut fastrand::Rng, often: u8) -> bool {
    random.u8(..often) == 0
}

pub(crate) fn random(random: &mut fastrand::Rng) -> LinearAttention {
    let (heads, value_heads) = one(random, &HEADS);
    let batch = one(random, &[1, 1, 2, 3]);
    let dim = one(random, &DIMS);
    let value_dim = if random.bool() { dim } else { one(random, &DIMS) };
    let mut spec = LinearAttention::new(
        LinearShape::bhtd(batch, heads, one(random, &LENGTHS), dim)
            .value_heads(value_heads)
            .value_dim(value_dim),
    );
    spec.dtype = one(random, &[Dtype::F32, Dtype::F32, Dtype::F16, Dtype::Bf16]);
    spec.layout = one(random, &[Layout::Bhtd, Layout::Bthd]);
    spec.rule = one(random, &[Rule::Add, Rule::Add, Rule::Delta, Rule::Delta, Rule::Dplr]);
    spec.gate =
        one(random, &[Gate::None, Gate::Constant, Gate::Scalar, Gate::Scalar, Gate::Vector, Gate::Vector]);
    spec.direction =
        one(random, &[Direction::Forward, Direction::Forward, Direction::Reverse, Direction::Both]);
    spec.state_layout = one(random, &[StateLayout::Kv, StateLayout::Kv, StateLayout::Vk]);
    spec.fill = InputDistribution {
        gates: one(
            random,
            &[
                GateDistribution::Mild,
                GateDistribution::Mild,
                GateDistribution::Strong,
                GateDistribution::Zero,
                GateDistribution::Extreme,
            ],
        ),
        integer_beta: rarely(random, 3),
        repeated_keys: rarely(random, 3),
        nan: false,
    };
    if rarely(random, 4) {
        spec.scale = Some(one(random, &[0.1, 1.0, 0.37, 0.0]));
    }
    if spec.direction != Direction::Both {
        spec.state_in = random.bool();
        spec.state_out = !rarely(random, 3);
    }
    if rarely(random, 4) {
        spec.query_heads = Some(value_heads * one(random, &[1, 2, 3]));
    }
    match spec.rule {
        Rule::Delta => {
            spec.shared_beta = rarely(random, 4);
            spec.steps = one(random, &[1, 1, 1, 2, 3]);
            spec.erase_key = rarely(random, 5).then(|| "p".into());
            if rarely(random, 6) {
                spec.feature_map = FeatureMap::L2Norm;
            }
        }
        Rule::Add => add_only(random, &mut spec),
        Rule::Dplr => {}
    }
    keep_states(random, &mut spec);
    if rarely(random, 4) {
        spec.batch = 1;
        spec.lengths = Lengths::Packed(1 + random.usize(..6));
    } else if rarely(random, 6) {
        spec.lengths = Lengths::Padded("lengths".into());
    }
    spec.fill.nan = rarely(random, 3);
    spec
}

/// Storage of states, and those on the way.
fn keep_states(random: &mut fastrand::Rng, spec: &mut LinearAttention) {
    if !spec.causal {
        return;
    }
    if rarely(random, 4) && spec.direction != Direction::Both {
        spec.state_dtype = one(random, &[Dtype::F16, Dtype::Bf16]);
    }
    // Small ones: there are many.
    let small = spec.len > 0 && spec.key_dim() * spec.value_dim <= 64 * 64;
    if spec.direction == Direction::Both || spec.normaliser == Normaliser::Sum || !small {
        return;
    }
    if rarely(random, 5) {
        spec.checkpoint_every = Some(one(random, &[1, 5, 8, 32, 64, 64, 128]).max(spec.len / 16));
    }
    if rarely(random, 8) {
        spec.state_window = Some(1 + random.usize(..spec.len.min(16)));
    }
}

/// Step sizes, skips, and keys that are decays.
fn discretise(random: &mut fastrand::Rng, spec: &mut LinearAttention) {
    if spec.normaliser == Normaliser::None && rarely(random, 4) {
        spec.dt = Some("dt".into());
    }
    if rarely(random, 4) {
        spec.skip = Some("d".into());
    }
    if spec.dt.is_none() && spec.gate == Gate::Vector && spec.heads == spec.value_heads && rarely(random, 2) {
        spec.key = Key::Decay;
        spec.feature_map = FeatureMap::Identity;
    }
}

/// Options that only the rule add has.
fn add_only(random: &mut fastrand::Rng, spec: &mut LinearAttention) {
    if rarely(random, 6) {
        spec.bonus = Some("u".into());
        spec.dt = rarely(random, 3).then(|| "dt".into());
        spec.skip = rarely(random, 3).then(|| "d".into());
        return;
    }
    if rarely(random, 3) {
        let positive = [FeatureMap::Elu1, FeatureMap::Softmax, FeatureMap::Identity];
        spec.feature_map = one(random, &positive);
        spec.normaliser = Normaliser::Sum;
        spec.eps = one(random, &[1e-6, 1e-3]);
        spec.z_in = spec.state_in && random.bool();
        spec.z_out = spec.state_out;
    } else {
        spec.feature_map = one(random, FeatureMap::ALL);
    }
    discretise(random, spec);
    if spec.feature_map == FeatureMap::Learned {
        spec.head_dim = spec.head_dim.min(64);
        spec.feature_dim = one(random, &[1, 3, 16, 32]);
    }
    if rarely(random, 3) {
        spec.causal = false;
        spec.gate = Gate::None;
        (spec.skip, spec.key) = (None, Key::Given);
        spec.direction = Direction::Forward;
        spec.state_out = random.bool();
        spec.z_out = spec.normaliser == Normaliser::Sum && spec.state_out;
        if rarely(random, 4) {
            spec.head_dim = one(random, &[300, 600]);
            spec.feature_dim = spec.feature_dim.min(32);
        }
    }
}
