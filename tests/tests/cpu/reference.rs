//! Identities that attention satisfies, and so must the reference. Most follow from the definition of softmax.
#![expect(clippy::expect_used, reason = "a test reports by panicking, in its helpers too")]

use foveal_kernels::attention::{Attention, Layout, Mask, Shape};
use foveal_kernels::{
    HostTensor, TensorData,
    testing::{Expected, Reference, Rows},
};
use proptest::prelude::*;

/// Tensors of one batch entry, as `[head][position][column]`.
type Tensor = Vec<Vec<Vec<f64>>>;

#[derive(Clone, Debug)]
struct Inputs {
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

fn tensor(heads: usize, len: usize, dim: usize) -> impl Strategy<Value = Tensor> {
    prop::collection::vec(prop::collection::vec(prop::collection::vec(-3.0..3.0f64, dim), len), heads)
}

/// Up to 3 key/value heads with up to 3 query heads each.
fn inputs() -> impl Strategy<Value = Inputs> {
    (1usize..4, 1usize..4, 1usize..8, 1usize..12, 1usize..9, 1usize..9).prop_flat_map(
        |(kv_heads, group, q_len, kv_len, dim, value_dim)| {
            let q = tensor(kv_heads * group, q_len, dim);
            let (k, v) = (tensor(kv_heads, kv_len, dim), tensor(kv_heads, kv_len, value_dim));
            (q, k, v).prop_map(|(q, k, v)| Inputs { q, k, v })
        },
    )
}

fn sizes(t: &Tensor) -> [usize; 4] {
    [1, t.len(), t.first().map_or(0, Vec::len), t[0].first().map_or(0, Vec::len)]
}

fn host(t: &Tensor, layout: Layout) -> HostTensor {
    let [batch, heads, len, dim] = sizes(t);
    let (shape, values) = match layout {
        Layout::Bhtd => (vec![batch, heads, len, dim], t.iter().flatten().flatten().copied().collect()),
        Layout::Bthd => {
            let rows =
                (0..len).flat_map(|position| t.iter().flat_map(move |head| head[position].iter().copied()));
            (vec![batch, len, heads, dim], rows.collect())
        }
    };
    HostTensor::new(shape, TensorData::F64(values)).expect("the shape is that of the values")
}

impl Inputs {
    fn spec(&self) -> Attention {
        let [q, k, v] = [&self.q, &self.k, &self.v].map(sizes);
        Attention::new(Shape::of_tensors(q, k, v).expect("tensors that match")).with_lse()
    }

    fn run(&self, spec: &Attention) -> Outputs {
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|t| host(t, spec.layout));
        let outputs = spec.reference(&[("q", &q), ("k", &k), ("v", &v)], Rows::All).expect("inputs that fit");
        Outputs::of(&outputs, spec)
    }

    fn dense(&self) -> Outputs {
        self.run(&self.spec())
    }

    fn q_len(&self) -> usize {
        self.q[0].len()
    }

    fn kv_len(&self) -> usize {
        self.k[0].len()
    }

    fn with_keys(&self, choose: impl Fn(usize) -> Vec<usize>) -> Self {
        let pick = |t: &Tensor| {
            t.iter()
                .map(|head| choose(head.len()).into_iter().map(|key| head[key].clone()).collect())
                .collect()
        };
        Self { q: self.q.clone(), k: pick(&self.k), v: pick(&self.v) }
    }
}

/// o as `[head][query][column]`, lse as `[head][query]`.
#[derive(Clone, Debug)]
struct Outputs {
    o: Tensor,
    lse: Vec<Vec<f64>>,
}

impl Outputs {
    fn of(outputs: &[Expected], spec: &Attention) -> Self {
        let (o, lse) = (&outputs[0], &outputs[1]);
        let at = |head: usize, query: usize, column: usize| match spec.layout {
            Layout::Bhtd => (head * spec.q_len + query) * spec.value_dim + column,
            Layout::Bthd => (query * spec.q_heads + head) * spec.value_dim + column,
        };
        let row = |head, query| (0..spec.value_dim).map(|column| o.values[at(head, query, column)]).collect();
        Self {
            o: (0..spec.q_heads)
                .map(|head| (0..spec.q_len).map(|query| row(head, query)).collect())
                .collect(),
            lse: lse.values.chunks(spec.q_len).map(<[f64]>::to_vec).collect(),
        }
    }

    /// The largest difference.
    fn off(&self, other: &Self) -> f64 {
        let pairs = self.o.iter().flatten().flatten().zip(other.o.iter().flatten().flatten());
        let lse = self.lse.iter().flatten().zip(other.lse.iter().flatten());
        let off = |(a, b): (&f64, &f64)| if a == b { 0.0 } else { (a - b).abs() };
        pairs
            .chain(lse)
            .map(off)
            .fold(0.0, |worst, next| if next.is_nan() { f64::NAN } else { worst.max(next) })
    }
}

const CLOSE: f64 = 1e-11;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn permuted_keys_change_nothing(inputs in inputs(), by in 0usize..12) {
        let turned = inputs.with_keys(|len| (0..len).map(|key| (key + by) % len).rev().collect());
        prop_assert!(inputs.dense().off(&turned.dense()) < CLOSE);
    }

    #[test]
    fn duplicated_keys_change_lse_by_ln_2_only(inputs in inputs()) {
        let twice = inputs.with_keys(|len| (0..len).chain(0..len).collect()).dense();
        let mut once = inputs.dense();
        once.lse.iter_mut().flatten().for_each(|lse| *lse += std::f64::consts::LN_2);
        prop_assert!(once.off(&twice) < CLOSE);
    }

    #[test]
    fn scale_zero_gives_the_mean_of_the_visible_values(inputs in inputs(), causal in any::<bool>()) {
        let mut spec = inputs.spec().scale(0.0);
        if causal {
            spec = spec.causal();
        }
        let outputs = inputs.run(&spec);
        for (head, rows) in outputs.o.iter().enumerate() {
            for (query, row) in rows.iter().enumerate() {
                let visible = if causal { (query + 1 + inputs.kv_len()).saturating_sub(inputs.q_len()) } else { inputs.kv_len() };
                let values = &inputs.v[head / spec.group()];
                for (column, &got) in row.iter().enumerate() {
                    let sum: f64 = values.iter().take(visible).map(|value| value[column]).sum();
                    let mean = if visible == 0 { 0.0 } else { sum / visible as f64 };
                    prop_assert!((got - mean).abs() < CLOSE);
                }
                let lse = if visible == 0 { f64::NEG_INFINITY } else { (visible as f64).ln() };
                prop_assert!(outputs.lse[head][query] == lse || (outputs.lse[head][query] - lse).abs() < CLOSE);
            }
        }
    }

    #[test]
    fn one_key_gives_its_value(inputs in inputs()) {
        let one = inputs.with_keys(|_| vec![0]);
        let spec = one.spec();
        let outputs = one.run(&spec);
        for (head, rows) in outputs.o.iter().enumerate() {
            for (query, row) in rows.iter().enumerate() {
                let (g, scale) = (head / spec.group(), spec.resolved_scale());
                prop_assert!(row.iter().zip(&one.v[g][0]).all(|(a, b)| (a - b).abs() < CLOSE));
                let dot: f64 = one.q[head][query].iter().zip(&one.k[g][0]).map(|(a, b)| a * b).sum();
                prop_assert!((outputs.lse[head][query] - scale * dot).abs() < CLOSE);
            }
        }
    }

    /// A query under a causal mask is the last query of a shorter problem without one.
    #[test]
    fn causal_masks_shorten_the_keys(inputs in inputs(), top_left in any::<bool>()) {
        let mask = if top_left { Mask::CausalTopLeft } else { Mask::Causal };
        let outputs = inputs.run(&inputs.spec().mask(mask));
        for query in 0..inputs.q_len() {
            let seen = if top_left { query + 1 } else { (query + 1 + inputs.kv_len()).saturating_sub(inputs.q_len()) };
            let mut alone = inputs.with_keys(|len| (0..len.min(seen)).collect());
            alone.q.iter_mut().for_each(|head| *head = vec![head[query].clone()]);
            let row = |outputs: &Outputs, query: usize| Outputs {
                o: outputs.o.iter().map(|head| vec![head[query].clone()]).collect(),
                lse: outputs.lse.iter().map(|head| vec![head[query]]).collect(),
            };
            let got = row(&outputs, query);
            if seen == 0 {
                prop_assert!(got.o.iter().flatten().flatten().all(|&x| x == 0.0));
                prop_assert!(got.lse.iter().flatten().all(|&x| x == f64::NEG_INFINITY));
            } else {
                prop_assert!(got.off(&alone.dense()) < CLOSE);
            }
        }
    }

    #[test]
    fn the_two_alignments_agree_on_squares(inputs in inputs()) {
        let len = inputs.q_len().min(inputs.kv_len());
        let mut square = inputs.with_keys(|_| (0..len).collect());
        square.q.iter_mut().for_each(|head| head.truncate(len));
        let [a, b] = [Mask::Causal, Mask::CausalTopLeft].map(|mask| square.run(&square.spec().mask(mask)));
        prop_assert_eq!(a.off(&b), 0.0);
    }

    #[test]
    fn parts_merged_by_lse_are_the_whole(inputs in inputs(), cut in 0..1000usize) {
        let kv_len = inputs.kv_len();
        prop_assume!(kv_len >= 2);
        let cut = 1 + cut % (kv_len - 1);
        let parts = [inputs.with_keys(|_| (0..cut).collect()), inputs.with_keys(|len| (cut..len).collect())];
        let [first, second] = parts.map(|part| part.dense());
        let mut merged = first.clone();
        for head in 0..merged.o.len() {
            for query in 0..merged.o[head].len() {
                let (a, b) = (first.lse[head][query], second.lse[head][query]);
                let lse = a.max(b) + (-(a - b).abs()).exp().ln_1p();
                merged.lse[head][query] = lse;
                for (column, value) in merged.o[head][query].iter_mut().enumerate() {
                    *value = (a - lse).exp() * *value + (b - lse).exp() * second.o[head][query][column];
                }
            }
        }
        prop_assert!(merged.off(&inputs.dense()) < CLOSE);
    }

    #[test]
    fn grouped_heads_equal_repeated_heads(inputs in inputs()) {
        let group = inputs.q.len() / inputs.k.len();
        let repeat = |t: &Tensor| t.iter().flat_map(|head| std::iter::repeat_n(head.clone(), group)).collect();
        let repeated = Inputs { q: inputs.q.clone(), k: repeat(&inputs.k), v: repeat(&inputs.v) };
        prop_assert_eq!(inputs.dense().off(&repeated.dense()), 0.0);
    }

    #[test]
    fn the_layout_is_only_a_layout(inputs in inputs(), causal in any::<bool>()) {
        let mask = if causal { Mask::Causal } else { Mask::None };
        let spec = inputs.spec().mask(mask);
        let other = inputs.run(&spec.clone().layout(Layout::Bthd));
        prop_assert_eq!(inputs.run(&spec).off(&other), 0.0);
    }

    #[test]
    fn a_sample_of_rows_is_a_part_of_all(inputs in inputs(), seed in any::<u64>(), count in 1usize..20) {
        let spec = inputs.spec();
        let [q, k, v] = [&inputs.q, &inputs.k, &inputs.v].map(|t| host(t, spec.layout));
        let tensors = [("q", &q), ("k", &k), ("v", &v)];
        let all = spec.reference(&tensors, Rows::All).expect("inputs that fit");
        let some = spec.reference(&tensors, Rows::Sample { count, seed }).unwrap();
        for (all, some) in all.iter().zip(&some) {
            let positions = some.elements.clone().unwrap_or_else(|| (0..all.values.len()).collect());
            prop_assert_eq!(positions.len(), some.values.len());
            for (position, value) in positions.into_iter().zip(&some.values) {
                prop_assert_eq!(all.values[position], *value);
            }
        }
    }
}
