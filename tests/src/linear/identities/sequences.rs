//! Tokens and states: sequences cut, joined, packed and turned, and the states between them.

use anyhow::{Context, Result, ensure};
use foveal_kernels::linear_attention::{Direction, Gate, Lengths, Rule};

use super::named;
use crate::linear::{Given, Run, Tensor, Tensors, off};

/// The problem of the state that others leave.
fn from_states(given: &Given, last: &Tensors) -> Result<Given> {
    let mut next = given.of(|spec| spec.state_in = true).with("state_in", named(last, "state_out")?.clone());
    if given.spec.z_out {
        let sums = named(last, "z_out")?.clone();
        next = next.of(|spec| spec.z_in = true).with("z_in", sums);
    }
    Ok(next)
}

/// The first `at` tokens, then the others from the state that these leave, are the whole.
///
/// # Errors
/// If something does not run.
pub fn split(run: &Run<'_>, whole: &Given, at: usize) -> Result<f64> {
    let len = whole.spec.len;
    // In reverse the last tokens come first.
    let reverse = whole.spec.direction == Direction::Reverse;
    let (first, second) = if reverse { (at..len, 0..at) } else { (0..at, at..len) };
    let first = run(&whole.tokens(first))?;
    let second = run(&from_states(&whole.tokens(second), &first)?)?;
    let mut joined = second.clone();
    let (earlier, later) = if reverse { (&second, &first) } else { (&first, &second) };
    joined.insert("o".into(), named(earlier, "o")?.then(named(later, "o")?));
    Ok(off(&joined, &run(whole)?))
}

/// Packed sequences are each by itself. `starts` are those of the sequences, and the end.
///
/// # Errors
/// If something does not run.
pub fn packed(run: &Run<'_>, given: &Given, starts: &[usize]) -> Result<f64> {
    let sequences = starts.len() - 1;
    let cu_seqlens = Tensor::of([1, 1, 1, starts.len()], |[.., at]| number(starts[at]));
    let states = given.spec.state_in.then(|| given.tensor("state_in"));
    let mut whole = given.of(|spec| spec.lengths = Lengths::Packed(sequences)).with("cu_seqlens", cu_seqlens);
    // One state was drawn: each sequence gets another multiple of it.
    let state_of = |state: &Tensor, sequence: usize| state.map(|_, x| x * (1.0 + number(sequence)));
    if let Some(state) = states {
        let of_all = (1..sequences).fold(state.clone(), |all, at| all.beside(&state_of(state, at)));
        whole = whole.with("state_in", of_all);
    }
    let mut apart: Option<Tensors> = None;
    for (at, pair) in starts.windows(2).enumerate() {
        let mut one = given.tokens(pair[0]..pair[1]);
        if let Some(state) = states {
            one = one.with("state_in", state_of(state, at));
        }
        let outputs = run(&one)?;
        match &mut apart {
            None => apart = Some(outputs),
            Some(apart) => {
                for (name, tensor) in apart {
                    let next = named(&outputs, name)?;
                    *tensor = if name == "o" { tensor.then(next) } else { tensor.beside(next) };
                }
            }
        }
    }
    Ok(off(&run(&whole)?, &apart.context("no sequence")?))
}

/// The states of segments that begin empty, summed with the decays between them, are the states that segments begin from:
/// what devices exchange that hold a part of a sequence each (Sun et al. 2025, LASP-2). For the rule add.
///
/// # Errors
/// If something does not run.
pub fn segments(run: &Run<'_>, whole: &Given, starts: &[usize]) -> Result<f64> {
    ensure!(whole.spec.rule == Rule::Add, "states of other rules do not add up");
    let states = [whole.spec.batch, whole.spec.value_heads, whole.spec.head_dim, whole.spec.value_dim];
    let mut prefix =
        if whole.spec.state_in { whole.tensor("state_in").clone() } else { Tensor::of(states, |_| 0.0) };
    let mut o: Option<Tensor> = None;
    for pair in starts.windows(2) {
        let segment = whole.tokens(pair[0]..pair[1]);
        let empty = run(&segment.of(|spec| spec.state_in = false))?;
        let exported = named(&empty, "state_out")?.clone();
        let outputs = run(&segment.of(|spec| spec.state_in = true).with("state_in", prefix.clone()))?;
        let next = named(&outputs, "o")?;
        o = Some(o.map_or_else(|| next.clone(), |o| o.then(next)));
        let decay = |[b, h, d, _]: [usize; 4]| match segment.spec.gate {
            Gate::None => 1.0,
            Gate::Constant => (segment.tensor("g").at([0, 0, 0, h]) * number(segment.spec.len)).exp(),
            Gate::Scalar | Gate::Vector => {
                let g = segment.tensor("g");
                let sum: f64 = (0..segment.spec.len).map(|t| g.at([b, h, t, d % g.sizes[3]])).sum();
                sum.exp()
            }
        };
        prefix = prefix.map(|at, x| decay(at) * x + exported.at(at));
    }
    let joined = Tensors::from([("o".into(), o.context("no segment")?), ("state_out".into(), prefix)]);
    Ok(off(&joined, &run(whole)?))
}

/// A run with Dk more columns of v, zeros, from `[0 | I]` ends in `[H | P]`: the tokens turn any first state S into
/// `P S + H`, under every rule.
///
/// # Errors
/// If something does not run.
pub fn affine(run: &Run<'_>, given: &Given) -> Result<f64> {
    let (tall, wide) = (given.spec.head_dim, given.spec.value_dim);
    let (v, state) = (given.tensor("v"), given.tensor("state_in"));
    let [batch, heads, rows, _] = v.sizes;
    let columns =
        Tensor::of(
            [batch, heads, rows, wide + tall],
            |[b, h, r, c]| {
                if c < wide { v.at([b, h, r, c]) } else { 0.0 }
            },
        );
    let identity =
        Tensor::of([state.sizes[0], heads, tall, wide + tall], |[_, _, d, c]| f64::from(c == d + wide));
    let augmented =
        given.of(|spec| spec.value_dim = wide + tall).with("v", columns).with("state_in", identity);
    let outputs = run(&augmented)?;
    let map = named(&outputs, "state_out")?;
    let applied = state.map(|[b, h, d, c], _| {
        let product: f64 = (0..tall).map(|i| map.at([b, h, d, wide + i]) * state.at([b, h, i, c])).sum();
        product + map.at([b, h, d, c])
    });
    Ok(applied.off(named(&run(given)?, "state_out")?))
}

/// In reverse is forward on tokens from the last to the first.
///
/// # Errors
/// If something does not run.
pub fn reverse(run: &Run<'_>, given: &Given) -> Result<f64> {
    let backward = || (0..given.spec.len).rev();
    let mut turned = run(&given.of(|spec| spec.direction = Direction::Forward).tokens(backward()))?;
    let o = named(&turned, "o")?.rows(&backward().collect::<Vec<_>>());
    turned.insert("o".into(), o);
    Ok(off(&run(&given.of(|spec| spec.direction = Direction::Reverse))?, &turned))
}

/// Both directions are the sum of the one and the other.
///
/// # Errors
/// If something does not run.
pub fn both(run: &Run<'_>, given: &Given) -> Result<f64> {
    let directed = |direction| {
        given.of(|spec| {
            (spec.state_in, spec.z_in, spec.state_out, spec.z_out) = (false, false, false, false);
            spec.direction = direction;
        })
    };
    let [forward, reverse, both] =
        [Direction::Forward, Direction::Reverse, Direction::Both].map(|direction| run(&directed(direction)));
    let (forward, reverse) = (forward?, reverse?);
    let reverse = named(&reverse, "o")?;
    let sum = named(&forward, "o")?.map(|at, x| x + reverse.at(at));
    Ok(named(&both?, "o")?.off(&sum))
}

/// States on the way are the last states of runs over fewer tokens, and none of them changes another result.
///
/// # Errors
/// If something does not run.
pub fn kept_states(run: &Run<'_>, given: &Given) -> Result<f64> {
    let spec = &given.spec;
    let whole = run(given)?;
    let plain = given.of(|spec| (spec.checkpoint_every, spec.state_window) = (None, None));
    let after = |tokens: usize| -> Result<Tensor> {
        let taken =
            if spec.direction == Direction::Reverse { spec.len - tokens..spec.len } else { 0..tokens };
        Ok(named(&run(&plain.tokens(taken))?, "state_out")?.clone())
    };
    let every = spec.checkpoint_every.map_or(0, |every| spec.len.div_ceil(every));
    let checkpoints =
        (0..every).map(|entry| ((entry + 1) * spec.checkpoint_every.unwrap_or(1)).min(spec.len));
    let window = spec.state_window.unwrap_or(0);
    let windowed = (0..window).map(|entry| spec.len - (window - 1 - entry));
    let mut others = whole.clone();
    let mut worst = 0.0f64;
    for (name, tokens) in [("states", checkpoints.collect::<Vec<_>>()), ("window_states", windowed.collect())]
    {
        let Some(kept) = others.remove(name) else {
            ensure!(tokens.is_empty(), "{name} is not computed");
            continue;
        };
        for (entry, &count) in tokens.iter().enumerate() {
            let entries: Vec<usize> = (0..spec.batch).map(|batch| batch * tokens.len() + entry).collect();
            worst = worst.max(kept.batch(&entries).off(&after(count)?));
        }
    }
    Ok(worst.max(off(&others, &run(&plain)?)))
}

/// Problems that are not causal read, for every token, what a causal problem's last token would.
///
/// # Errors
/// If something does not run.
pub fn whole_reads_the_last_state(run: &Run<'_>, causal: &Given) -> Result<f64> {
    let whole = run(&causal.of(|spec| spec.causal = false))?;
    let last = run(causal)?;
    let mut worst = named(&whole, "state_out")?.off(named(&last, "state_out")?);
    let none = causal.tokens([]);
    // From the last state, with nothing more to write, the recurrence reads it for each token.
    let reading = from_states(causal, &last)?.with("v", causal.tensor("v").map(|_, _| 0.0));
    let again = run(&reading)?;
    worst = worst.max(named(&whole, "o")?.off(named(&again, "o")?));
    // And no token changes nothing.
    if causal.spec.state_in {
        worst = worst.max(named(&run(&none)?, "state_out")?.off(causal.tensor("state_in")));
    }
    Ok(worst)
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn number(x: usize) -> f64 {
    x as f64
}
