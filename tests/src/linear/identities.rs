//! Identities of linear attention, for any implementation. Each function takes an implementation and a problem, and
//! returns how far the two sides of an identity are apart, relative to the second.

use anyhow::{Context, Result, ensure};
use foveal_kernels::Layout;
use foveal_kernels::linear_attention::{Direction, Gate, Key, Lengths, Rule, StateLayout};

use super::{Given, Run, Tensor, Tensors, off};

fn named<'t>(tensors: &'t Tensors, name: &str) -> Result<&'t Tensor> {
    tensors.get(name).with_context(|| format!("there is no output `{name}`"))
}

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

/// The orders of storage are only that: 0 if they agree to the bit.
///
/// # Errors
/// If something does not run.
pub fn layouts(run: &Run<'_>, given: &Given) -> Result<f64> {
    let plain = run(&given.of(|spec| (spec.layout, spec.state_layout) = (Layout::Bhtd, StateLayout::Kv)))?;
    let mut worst = 0.0f64;
    for (layout, states) in
        [(Layout::Bthd, StateLayout::Kv), (Layout::Bhtd, StateLayout::Vk), (Layout::Bthd, StateLayout::Vk)]
    {
        let other = run(&given.of(|spec| (spec.layout, spec.state_layout) = (layout, states)))?;
        worst = worst.max(off(&other, &plain));
    }
    Ok(worst)
}

/// The rule dplr with `a = -beta exp(g) k`, `b = k` and `beta v` is the delta rule: there `a` reads the state before it
/// decays. For a value head a head of keys, and a vector gate.
///
/// # Errors
/// If something does not run.
pub fn dplr_as_delta(run: &Run<'_>, delta: &Given) -> Result<f64> {
    let (k, beta, g) = (delta.tensor("k"), delta.tensor("beta"), delta.tensor("g"));
    let dplr = delta
        .of(|spec| spec.rule = Rule::Dplr)
        .with("a", k.map(|[b, h, t, d], x| -beta.at([b, h, t, 0]) * g.at([b, h, t, d]).exp() * x))
        .with("b", k.clone())
        .with("v", delta.tensor("v").map(|[b, h, t, _], x| beta.at([b, h, t, 0]) * x));
    Ok(off(&run(&dplr)?, &run(delta)?))
}

/// A step whose beta is 0 does nothing, as the first of a token's two and as the second.
///
/// # Errors
/// If something does not run.
pub fn idle_steps(run: &Run<'_>, given: &Given, idle: usize) -> Result<f64> {
    let doubled = |name: &str, tensor: &Tensor| {
        let rows: Vec<usize> = (0..tensor.sizes[2]).flat_map(|row| [row, row]).collect();
        tensor.rows(&rows).map(|[_, _, row, _], x| match (row % 2 == idle, name) {
            (true, "beta") => 0.0,
            // Values that such a step would write, if it wrote.
            (true, _) => 3.0 - x,
            (false, _) => x,
        })
    };
    let mut two = given.of(|spec| spec.steps = 2);
    for name in ["k", "v", "beta"] {
        two = two.with(name, doubled(name, given.tensor(name)));
    }
    Ok(off(&run(&two)?, &run(given)?))
}

/// A constant gate is a scalar gate of that value, and a vector gate of it.
///
/// # Errors
/// If something does not run.
pub fn gates(run: &Run<'_>, constant: &Given) -> Result<f64> {
    let spec = &constant.spec;
    let g = constant.tensor("g");
    let spread = |gate, width| {
        let tensor =
            Tensor::of([spec.batch, spec.value_heads, spec.len, width], |[_, h, ..]| g.at([0, 0, 0, h]));
        constant.of(|spec| spec.gate = gate).with("g", tensor)
    };
    let plain = run(constant)?;
    let scalar = off(&run(&spread(Gate::Scalar, 1))?, &plain);
    Ok(scalar.max(off(&run(&spread(Gate::Vector, spec.head_dim))?, &plain)))
}

/// With beta 0 throughout nothing is written: outputs read the first state, decayed.
///
/// # Errors
/// If something does not run.
pub fn nothing_written(run: &Run<'_>, given: &Given) -> Result<f64> {
    let idle = given.clone().with("beta", given.tensor("beta").map(|_, _| 0.0));
    let silent = given.of(|spec| spec.rule = Rule::Add).with("v", given.tensor("v").map(|_, _| 0.0));
    Ok(off(&run(&idle)?, &run(&silent)?))
}

/// Value heads that share q and k are heads with q and k of their own.
///
/// # Errors
/// If something does not run.
pub fn grouped(run: &Run<'_>, given: &Given) -> Result<f64> {
    let group = given.spec.group();
    let mut apart = given.of(|spec| spec.heads = spec.value_heads);
    for name in ["q", "k", "a", "b", "p"] {
        if let Some(tensor) = given.tensors.get(name) {
            let [batch, heads, rows, width] = tensor.sizes;
            let repeated = Tensor::of([batch, heads * group, rows, width], |[b, h, r, c]| {
                tensor.at([b, h / group, r, c])
            });
            apart = apart.with(name, repeated);
        }
    }
    Ok(off(&run(given)?, &run(&apart)?))
}

/// Queries that share a state are heads with a state, keys, values, gates and betas of their own; so is one beta for all heads.
///
/// # Errors
/// If something does not run.
pub fn queries(run: &Run<'_>, given: &Given) -> Result<f64> {
    let (heads, each) = (given.spec.heads_of_q(), given.spec.queries());
    ensure!(heads == given.spec.heads_of_o(), "q has {heads} heads, as many as o");
    let repeated = |tensor: &Tensor| {
        let [batch, of, rows, width] = tensor.sizes;
        Tensor::of([batch, heads, rows, width], |[b, h, r, c]| tensor.at([b, h * of / heads, r, c]))
    };
    // Sums of keys have heads in the place of rows.
    let sums_repeated = |tensor: &Tensor| {
        let [batch, _, of, width] = tensor.sizes;
        Tensor::of([batch, 1, heads, width], |[b, _, h, c]| tensor.at([b, 0, h * of / heads, c]))
    };
    let mut apart = given.of(|spec| {
        (spec.heads, spec.value_heads, spec.query_heads, spec.shared_beta) = (heads, heads, None, false);
    });
    for (name, tensor) in &given.tensors {
        let by_head =
            (name == "g" && given.spec.gate == Gate::Constant) || given.spec.bonus.as_ref() == Some(name);
        let width = tensor.sizes[3] / given.spec.value_heads;
        let repeated = if by_head {
            Tensor::of([1, 1, 1, heads * width], |[.., c]| {
                tensor.at([0, 0, 0, c / width / each * width + c % width])
            })
        } else if name == "z_in" {
            sums_repeated(tensor)
        } else {
            repeated(tensor)
        };
        apart = apart.with(name, repeated);
    }
    let mut shared = run(given)?;
    for name in ["state_out", "z_out"] {
        if let Some(tensor) = shared.get_mut(name) {
            *tensor = if name == "z_out" { sums_repeated(tensor) } else { repeated(tensor) };
        }
    }
    Ok(off(&shared, &run(&apart)?))
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

/// Step sizes and skips are what a caller could compute: gates and values times step sizes, and the tokens' own values added to o.
///
/// # Errors
/// If something does not run.
pub fn discretised(run: &Run<'_>, given: &Given) -> Result<f64> {
    let (v, dt, skip) = (given.tensor("v"), given.tensor("dt"), given.tensor("d"));
    let mut plain = given.of(|spec| (spec.dt, spec.skip) = (None, None));
    plain.tensors.retain(|name, _| name != "dt" && name != "d");
    plain = plain.with("v", v.map(|[b, h, t, _], x| x * dt.at([b, h, t, 0])));
    if given.spec.gate != Gate::None {
        let g = given.tensor("g");
        let constant = given.spec.gate == Gate::Constant;
        let sizes = [dt.sizes[0], dt.sizes[1], dt.sizes[2], if constant { 1 } else { g.sizes[3] }];
        let of = |[b, h, t, d]: [usize; 4]| if constant { g.at([0, 0, 0, h]) } else { g.at([b, h, t, d]) };
        let gates = Tensor::of(sizes, |at| of(at) * dt.at([at[0], at[1], at[2], 0]));
        plain = plain.of(|spec| {
            if constant {
                spec.gate = Gate::Scalar;
            }
        });
        plain = plain.with("g", gates);
    }
    let mut outputs = run(&plain)?;
    let o = named(&outputs, "o")?.map(|at, x| x + skip.at([0, 0, 0, at[1]]) * v.at(at));
    outputs.insert("o".into(), o);
    Ok(off(&run(given)?, &outputs))
}

/// Keys that are decays are what a caller could compute from the gates.
///
/// # Errors
/// If something does not run.
pub fn decayed_keys(run: &Run<'_>, given: &Given) -> Result<f64> {
    let keys = given.tensor("g").map(|_, g| -g.exp_m1());
    let plain = given.of(|spec| spec.key = Key::Given).with("k", keys);
    Ok(off(&run(given)?, &run(&plain)?))
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn number(x: usize) -> f64 {
    x as f64
}
