//! Merging partial softmaxes, by what has to hold of it.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Shape};
use foveal_kernels::combine::Combine;
use foveal_kernels::{
    HostTensor, Layout, Problem, TensorData, operator,
    testing::{Expected, Reference, Rows},
};
use serde_json::json;

const HEADS: usize = 2;
const ROWS: usize = 9;
const DIM: usize = 16;
const KEYS: usize = 100;

fn tensor(shape: &[usize], values: Vec<f64>) -> Result<HostTensor> {
    Ok(HostTensor::new(shape.to_vec(), TensorData::F64(values))?)
}

fn values<'e>(outputs: &'e [Expected], name: &str) -> Result<&'e [f64]> {
    let found = outputs.iter().find(|output| output.name == name);
    Ok(&found.with_context(|| format!("there is no {name}"))?.values)
}

/// The keys, or values, from one position to another, of a tensor `[1, HEADS, KEYS, DIM]`.
fn cut(tensor: &HostTensor, from: usize, to: usize) -> Result<HostTensor> {
    let all = tensor.to_f64();
    let rows = all.chunks_exact(KEYS * DIM).flat_map(|head| head[from * DIM..to * DIM].iter().copied());
    self::tensor(&[1, HEADS, to - from, DIM], rows.collect())
}

/// o and lse of parts, end to end.
fn merged(spec: &Combine, o: Vec<f64>, lse: Vec<f64>) -> Result<Vec<Expected>> {
    let tensors = spec.tensors();
    let (o, lse) = (tensor(&tensors[0].shape, o)?, tensor(&tensors[1].shape, lse)?);
    Ok(spec.reference(&[("o_parts", &o), ("lse_parts", &lse)], Rows::All)?)
}

#[test]
fn attention_on_parts_of_the_keys_merges_to_attention_on_all() -> Result<()> {
    let spec = |keys: usize| Attention::new(Shape::bhtd(1, HEADS, ROWS, DIM).kv(HEADS, keys)).with_lse();
    let inputs = spec(KEYS).random_inputs(7);
    let [q, k, v] = [0, 1, 2].map(|at| &inputs[at].1);
    let whole = spec(KEYS).reference(&[("q", q), ("k", k), ("v", v)], Rows::All)?;
    let (mut o, mut lse) = (Vec::new(), Vec::new());
    for (from, to) in [(0, 41), (41, 41), (41, KEYS)] {
        let (k, v) = (cut(k, from, to)?, cut(v, from, to)?);
        let part = spec(to - from).reference(&[("q", q), ("k", &k), ("v", &v)], Rows::All)?;
        // The o of an empty part does not matter.
        let empty = from == to;
        o.extend(values(&part, "o")?.iter().map(|&x| if empty { f64::NAN } else { x }));
        lse.extend(values(&part, "lse")?);
    }
    let merged = merged(&Combine::new(3, [1, HEADS, ROWS, DIM]), o, lse)?;
    for name in ["o", "lse"] {
        for (got, expected) in values(&merged, name)?.iter().zip(values(&whole, name)?) {
            ensure!((got - expected).abs() < 1e-6, "{name}: {got}, not {expected}");
        }
    }
    Ok(())
}

#[test]
fn rows_of_empty_parts_and_of_nan_are_what_they_are_said_to_be() -> Result<()> {
    let empty = f64::NEG_INFINITY;
    let spec = Combine::new(2, [1, 1, 1, 2]);
    for (o, lse, expected, expected_lse) in [
        ([f64::NAN; 4], [empty; 2], [0.0; 2], empty),
        ([f64::NAN, 0.0, 3.0, 4.0], [empty, -2.0], [3.0, 4.0], -2.0),
        ([1.0, 2.0, 3.0, 4.0], [5.0, 5.0], [2.0, 3.0], 5.0 + 2f64.ln()),
        ([1.0, f64::NAN, 3.0, 4.0], [0.0, 0.0], [2.0, f64::NAN], 2f64.ln()),
        ([1.0, 2.0, 3.0, 4.0], [f64::NAN, 0.0], [f64::NAN; 2], f64::NAN),
    ] {
        let outputs = merged(&spec, o.to_vec(), lse.to_vec())?;
        let got = values(&outputs, "o")?.iter().chain(values(&outputs, "lse")?);
        for (got, expected) in got.zip(expected.iter().chain([&expected_lse])) {
            let same = got == expected || (got - expected).abs() < 1e-12 || got.is_nan() && expected.is_nan();
            ensure!(same, "{o:?} {lse:?}: {got}, not {expected}");
        }
    }
    Ok(())
}

#[test]
fn a_layout_changes_places_and_nothing_else() -> Result<()> {
    let spec = Combine::new(3, [2, 4, 5, 6]).sink_logits("sinks");
    let inputs = spec.random_inputs(3);
    let borrowed = |inputs: &[(foveal_kernels::Name, HostTensor)], o: &HostTensor| {
        let given = [("o_parts", o), ("lse_parts", &inputs[1].1), ("sinks", &inputs[2].1)];
        spec.clone().layout(Layout::Bthd).reference(&given, Rows::All)
    };
    let given: Vec<_> = inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    let plain = spec.reference(&given, Rows::All)?;
    let turn = |of: &[f64], parts: usize, from: [usize; 2]| {
        let [outer, inner] = from;
        let at = |part: usize, i: usize, j: usize| ((part * outer + j) * inner + i) * 6;
        let places =
            (0..parts).flat_map(|part| (0..inner).flat_map(move |i| (0..outer).map(move |j| at(part, i, j))));
        places.flat_map(|at| of[at..at + 6].to_vec()).collect::<Vec<f64>>()
    };
    let turned = tensor(&[3, 2, 5, 4, 6], turn(&inputs[0].1.to_f64(), 6, [4, 5]))?;
    let other = borrowed(&inputs, &turned)?;
    let back = turn(values(&other, "o")?, 2, [5, 4]);
    ensure!(format!("{back:?}") == format!("{:?}", values(&plain, "o")?), "o differs");
    ensure!(
        format!("{:?}", values(&other, "lse")?) == format!("{:?}", values(&plain, "lse")?),
        "lse differs"
    );
    Ok(())
}

#[test]
fn options_and_tensors_that_make_no_sense_are_errors_that_name_them() -> Result<()> {
    let combine = operator("combine")?;
    for (shape, options, argument, word) in [
        ("2x1x2x3", json!({}), "shape", "NxBxHxTxD"),
        ("0x1x2x3x4", json!({}), "parts", "at least 1"),
        ("2x1x2x3x0", json!({}), "value_dim", "at least 1"),
        ("2x1x2x3x4", json!({"layuot": "bthd"}), "layuot", "did you mean `layout`?"),
        ("2x1x2x3x4", json!({"sink_logits": "lse"}), "lse", "two tensors"),
        ("2x1x2x3x4", json!({"dtype": "i32"}), "dtype", "f32"),
    ] {
        let options = serde_json::from_value(options)?;
        let error = combine
            .problem_of_shape(shape, &options)
            .err()
            .with_context(|| format!("{shape} {options:?}"))?;
        ensure!(error.argument() == argument && error.to_string().contains(word), "{error}");
    }
    let f32s =
        |shape: &[usize]| HostTensor::new(shape.to_vec(), TensorData::F32(vec![0.0; shape.iter().product()]));
    let tensors =
        vec![("o_parts".to_owned(), f32s(&[2, 1, 2, 3, 4])?), ("lse_parts".to_owned(), f32s(&[2, 1, 3, 2])?)];
    let error = combine.problem(&Default::default(), &tensors).err().context("it was taken")?;
    ensure!(error.argument() == "lse_parts" && error.to_string().contains("[2, 1, 2, 3]"), "{error}");
    let error = combine.problem(&Default::default(), &tensors[..1]).err().context("it was taken")?;
    ensure!(error.argument() == "lse_parts" && error.to_string().contains("got none"), "{error}");
    Ok(())
}
