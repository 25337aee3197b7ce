//! The definition, token by token, in f64.

use super::{
    Direction, LinearAttention, Rule, StateLayout,
    kept::Kept,
    products::{add_outer, times},
    reference_inputs::Inputs,
    rounding::{Variances, add_magnitudes, cancels, with_infinities},
};
use crate::{
    Access, Error, HostTensor,
    check::{Expected, Rows},
    parallel,
};

/// The result of a query head of a sequence.
struct Outcome {
    sequence: usize,
    /// A head of o.
    query: usize,
    /// By position: o, `[len, Dv]`.
    o: Vec<f64>,
    /// The allowance of each element of o in f32; empty unless the head is ill-conditioned.
    allowance: Vec<f64>,
    /// `[Dk, Dv]`.
    state: Vec<f64>,
    /// `[Dk]`.
    z: Vec<f64>,
    /// States on the way, of the first of the queries that share them.
    kept: Kept,
}

pub(super) fn reference(
    spec: &LinearAttention,
    inputs: &[(&str, &HostTensor)],
    rows: Rows,
) -> Result<Vec<Expected>, Error> {
    let given = Inputs::new(spec, inputs)?;
    let pairs = chosen(spec, rows);
    let outcomes: Vec<Outcome> = parallel::map(pairs.len(), |index| {
        let (sequence, query) = pairs[index];
        given.outcome(sequence, query)
    });
    let whole = pairs.len() == spec.states() * spec.heads_of_o();
    let outputs = spec.all_tensors().into_iter().filter(|tensor_spec| tensor_spec.access == Access::Write);
    Ok(outputs
        .map(|tensor_spec| {
            let mut found: Vec<(usize, f64)> = Vec::new();
            for outcome in &outcomes {
                given.place(&tensor_spec.name, outcome, &mut found);
            }
            found.sort_unstable_by_key(|&(at, _)| at);
            let (elements, values): (Vec<usize>, Vec<f64>) = found.into_iter().unzip();
            let allowance = given.allowance(&tensor_spec.name, &outcomes);
            Expected {
                name: tensor_spec.name,
                shape: tensor_spec.shape,
                elements: (!whole).then_some(elements),
                allowance: with_infinities(&values, allowance, inputs),
                values,
                head_axis: tensor_spec.head_axis,
            }
        })
        .collect())
}

/// The (sequence, head of o) pairs to compute: rows follow from each other, so heads are taken whole, and with all queries of their
/// states.
fn chosen(spec: &LinearAttention, rows: Rows) -> Vec<(usize, usize)> {
    let mut pairs: Vec<(usize, usize)> =
        (0..spec.states()).flat_map(|s| (0..spec.value_heads).map(move |h| (s, h))).collect();
    if let Rows::Sample { count, seed } = rows {
        fastrand::Rng::with_seed(seed).shuffle(&mut pairs);
        let tokens = spec.len * spec.batch / spec.states().max(1);
        pairs.truncate(count.div_ceil(tokens.max(1)).max(2));
    }
    let queries = spec.queries();
    pairs.into_iter().flat_map(|(s, h)| (0..queries).map(move |query| (s, h * queries + query))).collect()
}

impl Inputs<'_> {
    fn outcome(&self, sequence: usize, query: usize) -> Outcome {
        match self.spec.direction {
            Direction::Forward => self.one_way(sequence, query, false),
            Direction::Reverse => self.one_way(sequence, query, true),
            Direction::Both => {
                let mut sum = self.one_way(sequence, query, false);
                let other = self.one_way(sequence, query, true);
                sum.o.iter_mut().zip(&other.o).for_each(|(sum, other)| *sum += other);
                if !other.allowance.is_empty() {
                    sum.allowance.resize(sum.o.len(), 0.0);
                    sum.allowance.iter_mut().zip(&other.allowance).for_each(|(sum, other)| *sum += other);
                }
                sum
            }
        }
    }

    /// The recurrence, and again with the variances of its state where outputs cancel.
    fn one_way(&self, sequence: usize, query: usize, reverse: bool) -> Outcome {
        let outcome = self.recurrence(sequence, query, reverse, None);
        if cancels(&outcome.o, &outcome.allowance) {
            let head = query / self.spec.queries();
            let variances = Variances::new(&self.first_state(sequence, head).0);
            self.recurrence(sequence, query, reverse, Some(variances))
        } else {
            Outcome { allowance: Vec::new(), ..outcome }
        }
    }

    /// With variances, what each element of o may be off by; without, the magnitudes of what went into it.
    fn recurrence(
        &self,
        sequence: usize,
        query: usize,
        reverse: bool,
        mut variances: Option<Variances>,
    ) -> Outcome {
        let spec = self.spec;
        let (batch, start, len) = self.sequence(sequence);
        let (tall, wide) = (spec.key_dim(), spec.value_dim);
        let head = query / spec.queries();
        let key_head = head / spec.group();
        let query_head = if spec.heads_of_q() == spec.heads { key_head } else { query };
        let (mut state, mut z) = self.first_state(sequence, head);
        let mut kept = query.is_multiple_of(spec.queries()).then(|| Kept::new(spec, &state));
        let mut o = vec![0.0; len * wide];
        let mut magnitudes = vec![0.0; len * wide];
        let order = (0..len).map(|i| if reverse { len - 1 - i } else { i });
        for (position, taken) in order.clone().zip(1..) {
            let token = start + position;
            let hidden = self.kv_len.as_ref().is_some_and(|lengths| (position as f64) >= lengths[batch]);
            if let Some(bonus) = &self.bonus {
                let (k, v) = (self.k.row(batch, key_head, token), self.v.row(batch, head, token));
                let u = bonus.row(0, head, 0);
                let q = self.q.row(batch, query_head, token);
                let dt = self.dt.as_ref().map_or(1.0, |dt| dt.row(batch, head, token)[0]);
                let own = dt * q.iter().zip(u).zip(k).map(|((q, u), k)| q * u * k).sum::<f64>();
                let mut row = times(&state, q, wide);
                if !hidden {
                    row.iter_mut().zip(v).for_each(|(o, v)| *o += own * v);
                }
                let scale = spec.resolved_scale();
                o[position * wide..][..wide].iter_mut().zip(row).for_each(|(o, x)| *o = scale * x);
                let sums = &mut magnitudes[position * wide..][..wide];
                add_magnitudes(&state, q, sums);
                sums.iter_mut().zip(v).for_each(|(sum, v)| *sum = scale.abs() * (*sum + (own * v).abs()));
                if let Some(variances) = &variances {
                    variances.allow(q, scale, sums);
                }
            }
            if !hidden {
                self.step(&mut state, &mut z, (batch, token), (key_head, head));
                if let Some(variances) = &mut variances {
                    variances.step(&state, wide, spec.steps, |d| self.decay((batch, token), head, d));
                }
            }
            if let Some(kept) = &mut kept {
                kept.token(spec, &state, taken, hidden);
            }
            if spec.causal && self.bonus.is_none() {
                let at = position * wide..(position + 1) * wide;
                let q = self.q.row(batch, query_head, token);
                self.read(&state, &z, q, (&mut o[at.clone()], &mut magnitudes[at]), variances.as_ref());
            }
        }
        // Once, where two directions are added.
        if let Some(skip) = self.skip.as_ref().filter(|_| !reverse || spec.direction != Direction::Both) {
            for position in order.clone() {
                let o = &mut o[position * wide..][..wide];
                let v = self.v.row(batch, head, start + position);
                o.iter_mut().zip(v).for_each(|(o, v)| *o += skip[head] * v);
            }
        }
        if !spec.causal {
            for position in order {
                let q = self.q.row(batch, query_head, start + position);
                let at = position * wide..(position + 1) * wide;
                self.read(&state, &z, q, (&mut o[at.clone()], &mut magnitudes[at]), variances.as_ref());
            }
        }
        debug_assert_eq!(state.len(), tall * wide);
        let mut kept = kept.unwrap_or_default();
        kept.end(spec, &state);
        Outcome { sequence, query, o, allowance: magnitudes, state, z, kept }
    }

    /// Applies a token to the state.
    fn step(
        &self,
        state: &mut [f64],
        z: &mut [f64],
        (batch, token): (usize, usize),
        (key_head, head): (usize, usize),
    ) {
        let spec = self.spec;
        let wide = spec.value_dim;
        let dt = self.dt.as_ref().map_or(1.0, |dt| dt.row(batch, head, token)[0]);
        // a^T S reads the state before it decays.
        let low_rank = self.a.as_ref().map(|a| times(state, a.row(batch, key_head, token), wide));
        if let Some(g) = &self.g {
            let g = g.row(batch, head, token);
            for (d, row) in state.chunks_exact_mut(wide).enumerate() {
                let decay = (dt * g[d % g.len()]).exp();
                row.iter_mut().for_each(|s| *s *= decay);
                z[d] *= decay;
            }
        }
        for step in 0..spec.steps {
            let row = token * spec.steps + step;
            let (k, v) = (self.k.row(batch, key_head, row), self.v.row(batch, head, row));
            match spec.rule {
                Rule::Add => add_outer(state, k, &v.iter().map(|v| dt * v).collect::<Vec<f64>>()),
                Rule::Delta => {
                    let beta = self.beta.as_ref().map_or(1.0, |beta| beta.row(batch, head, row)[0]);
                    let x = self.erase_key.as_ref().map_or(k, |erase| erase.row(batch, key_head, row));
                    let read = times(state, x, wide);
                    let change: Vec<f64> = v.iter().zip(&read).map(|(v, read)| beta * (v - read)).collect();
                    add_outer(state, k, &change);
                }
                Rule::Dplr => {
                    if let (Some(b), Some(low_rank)) = (&self.b, &low_rank) {
                        add_outer(state, b.row(batch, key_head, row), low_rank);
                    }
                    add_outer(state, k, v);
                }
            }
            z.iter_mut().zip(k).for_each(|(z, k)| *z += k);
        }
    }

    /// The decay of a row of the state before a token.
    fn decay(&self, (batch, token): (usize, usize), head: usize, d: usize) -> f64 {
        let dt = self.dt.as_ref().map_or(1.0, |dt| dt.row(batch, head, token)[0]);
        self.g.as_ref().map_or(1.0, |g| {
            let g = g.row(batch, head, token);
            (dt * g[d % g.len()]).exp()
        })
    }

    /// Reads o, and the magnitudes of what goes into it or what f32 may make of them.
    fn read(
        &self,
        state: &[f64],
        z: &[f64],
        q: &[f64],
        (o, magnitudes): (&mut [f64], &mut [f64]),
        variances: Option<&Variances>,
    ) {
        let scale = self.spec.resolved_scale();
        let denominator = if self.spec.normalises() {
            scale * q.iter().zip(z).map(|(q, z)| q * z).sum::<f64>() + self.spec.eps
        } else {
            1.0
        };
        let row = times(state, q, o.len());
        o.iter_mut().zip(row).for_each(|(o, x)| *o = scale * x / denominator);
        // How well-conditioned that is.
        add_magnitudes(state, q, magnitudes);
        // A denominator that cancels carries its error to the whole row.
        let divided = if self.spec.normalises() {
            scale.abs() * q.iter().zip(z).map(|(q, z)| (q * z).abs()).sum::<f64>() / denominator.abs()
        } else {
            0.0
        };
        let factor = (scale / denominator).abs();
        magnitudes.iter_mut().zip(&*o).for_each(|(sum, o)| *sum = factor * *sum + divided * o.abs());
        if let Some(variances) = variances {
            variances.allow(q, factor, magnitudes);
        }
    }

    /// Allowances of an output's elements, in the order of their places; none if the output is well-conditioned.
    fn allowance(&self, name: &str, outcomes: &[Outcome]) -> Option<Vec<f64>> {
        if name != "o" || outcomes.iter().all(|outcome| outcome.allowance.is_empty()) {
            return None;
        }
        let mut found: Vec<(usize, f64)> = Vec::new();
        for outcome in outcomes {
            let mut o = outcome.allowance.clone();
            o.resize(outcome.o.len(), 0.0);
            let (sequence, query) = (outcome.sequence, outcome.query);
            let kept = Kept::default();
            let bounds = Outcome { sequence, query, o, allowance: vec![], state: vec![], z: vec![], kept };
            self.place(name, &bounds, &mut found);
        }
        found.sort_unstable_by_key(|&(at, _)| at);
        Some(found.into_iter().map(|(_, allowance)| allowance).collect())
    }

    /// Adds an outcome's elements of the output `name`, with their places in it.
    fn place(&self, name: &str, outcome: &Outcome, found: &mut Vec<(usize, f64)>) {
        let spec = self.spec;
        let (tall, wide) = (spec.key_dim(), spec.value_dim);
        let pair = outcome.sequence * spec.value_heads + outcome.query / spec.queries();
        match name {
            "o" => {
                let (batch, start, _) = self.sequence(outcome.sequence);
                let strides = spec.token_strides(spec.heads_of_o(), spec.len, wide);
                for (position, row) in outcome.o.chunks_exact(wide).enumerate() {
                    let at = batch * strides.batch
                        + outcome.query * strides.head
                        + (start + position) * strides.position;
                    found.extend(row.iter().enumerate().map(|(c, &x)| (at + c, x)));
                }
            }
            // The queries of a state come to the same one.
            _ if !outcome.query.is_multiple_of(spec.queries()) => {}
            "state_out" => self.place_state(&outcome.state, pair, found),
            "states" | "window_states" => {
                let entries = outcome.kept.entries(name);
                let (of, head) = (outcome.sequence * entries.len(), outcome.query / spec.queries());
                for (entry, state) in entries.into_iter().enumerate() {
                    self.place_state(state, (of + entry) * spec.value_heads + head, found);
                }
            }
            _ => found.extend(outcome.z.iter().enumerate().map(|(d, &x)| (pair * tall + d, x))),
        }
    }

    /// Adds the elements of the state that is the `number`-th of an output.
    fn place_state(&self, state: &[f64], number: usize, found: &mut Vec<(usize, f64)>) {
        let (tall, wide) = (self.spec.key_dim(), self.spec.value_dim);
        let to = |at: usize| match self.spec.state_layout {
            StateLayout::Kv => at,
            StateLayout::Vk => at % wide * tall + at / wide,
        };
        found.extend(state.iter().enumerate().map(|(at, &x)| (number * tall * wide + to(at), x)));
    }
}
