//! A problem in two forms: rules, gates, heads and orders of storage that say the same.

use anyhow::{Result, ensure};
use foveal_kernels::Layout;
use foveal_kernels::linear_attention::{Gate, Key, Rule, StateLayout};

use super::named;
use crate::linear::{Given, Run, Tensor, off};

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
