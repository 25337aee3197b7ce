//! Linear attention that makes no sense is an error that names the argument, what was expected and what came.

use anyhow::{Context, Result, ensure};
use foveal_kernels::{Error, ErrorKind, HostTensor, OptionMap, TensorData, operator};
use serde_json::{Value, json};

fn object(value: Value) -> OptionMap {
    serde_json::from_value(value).unwrap_or_default()
}

fn says(error: &Error, argument: &str, words: &[&str]) -> Result<()> {
    ensure!(error.kind() == ErrorKind::Invalid, "{error}: {:?}", error.kind());
    ensure!(error.argument() == argument, "`{argument}` is not the argument of: {error}");
    let text = error.to_string();
    for word in words {
        ensure!(text.contains(word), "`{word}` is not in: {text}");
    }
    Ok(())
}

#[test]
fn options_that_make_no_sense_are_errors_that_name_them() -> Result<()> {
    for (options, argument, words) in [
        (json!({"rull": "delta"}), "rull", &["not an option of linear", "did you mean `rule`?"][..]),
        (json!({"mask": "causal"}), "mask", &["not an option of linear", "rule", "kv_len"]),
        (json!({"rule": "dleta"}), "rule", &["add", "dplr", "got `dleta`", "did you mean `delta`?"]),
        (json!({"rule": 3}), "rule", &["expected text", "got 3"]),
        (json!({"gate": "scaler"}), "gate", &["none", "vector", "got `scaler`", "did you mean `scalar`?"]),
        (json!({"direction": "backward"}), "direction", &["forward, reverse, both", "got `backward`"]),
        (json!({"feature_map": "elu"}), "feature_map", &["identity", "got `elu`", "did you mean `elu1`?"]),
        (json!({"normaliser": "mean"}), "normaliser", &["none, sum", "got `mean`"]),
        (json!({"state_layout": "kkv"}), "state_layout", &["got `kkv`", "did you mean `kv`?"]),
        (json!({"layout": "bdht"}), "layout", &["bhtd", "got `bdht`"]),
        (json!({"dtype": "i32"}), "dtype", &["f32", "got `i32`"]),
        (json!({"fill": "strnog"}), "fill", &["integer_beta", "got `strnog`", "did you mean `strong`?"]),
        (json!({"steps": 0}), "steps", &["at least 1", "got 0"]),
        (json!({"steps": "two"}), "steps", &["whole number", "got \"two\""]),
        (json!({"steps": 1.5}), "steps", &["whole number", "got 1.5"]),
        (json!({"causal": "no"}), "causal", &["true or false", "got \"no\""]),
        (json!({"state_in": 1}), "state_in", &["true or false", "got 1"]),
        (json!({"scale": true}), "scale", &["a number", "got true"]),
        (json!({"state_dtype": "f61"}), "state_dtype", &["f32, f16 or bf16", "f61"]),
        (json!({"state_dtype": "i32"}), "state_dtype", &["f32, f16 or bf16", "i32"]),
        (json!({"checkpoint_every": 0}), "checkpoint_every", &["at least 1", "got 0"]),
        (json!({"checkpoint_every": "all"}), "checkpoint_every", &["whole number", "all"]),
        (json!({"state_window": 0}), "state_window", &["1 to the 64 tokens", "got 0"]),
        (json!({"state_window": 65}), "state_window", &["1 to the 64 tokens", "got 65"]),
        (json!({"eps": -1}), "eps", &["0 or more", "got -1"]),
        (json!({"sequences": 0}), "cu_seqlens", &["two elements"]),
    ] {
        let text = options.to_string();
        let problem = operator("linear")?.problem_of_shape("1x2x64x32", &object(options));
        let error = problem.err().with_context(|| format!("{text} was taken"))?;
        says(&error, argument, words).with_context(|| text)?;
    }
    Ok(())
}

#[test]
fn options_that_exclude_each_other_are_errors_that_name_both() -> Result<()> {
    for (options, argument, words) in [
        (json!({"steps": 2}), "steps", &["expected 1 with the rule add", "got 2"][..]),
        (json!({"shared_beta": true}), "shared_beta", &["with the rule add", "no beta"]),
        (json!({"steps": 2, "rule": "dplr"}), "steps", &["the rule dplr", "got 2"]),
        (json!({"erase_key": "p"}), "erase_key", &["with the rule add", "got `p`", "needs the rule delta"]),
        (json!({"erase_key": "p", "rule": "dplr"}), "erase_key", &["with the rule dplr", "got `p`"]),
        (json!({"erase_key": "q", "rule": "delta"}), "erase_key", &["got `q`", "another tensor"]),
        (json!({"feature_map": "learned", "rule": "dplr"}), "feature_map", &["got learned", "wider"]),
        (json!({"bonus": "u", "rule": "delta"}), "bonus", &["with the rule delta", "got `u`"]),
        (json!({"bonus": "u", "causal": false}), "bonus", &["not causal", "got `u`"]),
        (json!({"bonus": "k"}), "bonus", &["got `k`", "another tensor"]),
        (json!({"normaliser": "sum", "rule": "delta"}), "normaliser", &["with the rule delta", "got sum"]),
        (json!({"normaliser": "sum", "bonus": "u"}), "normaliser", &["with a bonus", "`u`"]),
        (
            json!({"causal": false, "rule": "delta"}),
            "causal",
            &["expected true with the rule delta", "got false"],
        ),
        (json!({"causal": false, "gate": "scalar"}), "gate", &["expected none if not causal", "got scalar"]),
        (json!({"causal": false, "direction": "reverse"}), "direction", &["expected forward", "got reverse"]),
        (json!({"direction": "both", "state_in": true}), "state_in", &["both directions", "one by one"]),
        (json!({"direction": "both", "state_out": true}), "state_out", &["both directions", "one by one"]),
        (
            json!({"direction": "both", "checkpoint_every": 8}),
            "checkpoint_every",
            &["both directions", "one by one", "got 8"],
        ),
        (json!({"direction": "both", "state_window": 2}), "state_window", &["both directions", "got 2"]),
        (json!({"causal": false, "checkpoint_every": 8}), "checkpoint_every", &["not causal", "got 8"]),
        (json!({"causal": false, "state_window": 2}), "state_window", &["not causal", "got 2"]),
        (json!({"causal": false, "state_dtype": "f16"}), "state_dtype", &["not causal", "got f16"]),
        (
            json!({"direction": "both", "state_dtype": "bf16"}),
            "state_dtype",
            &["both directions", "got bf16"],
        ),
        (
            json!({"normaliser": "sum", "checkpoint_every": 8}),
            "checkpoint_every",
            &["normaliser sum", "got 8"],
        ),
        (json!({"normaliser": "sum", "state_window": 2}), "state_window", &["normaliser sum", "got 2"]),
        (json!({"bonus": "states"}), "bonus", &["got `states`", "another tensor"]),
        (json!({"skip": "window_states"}), "skip", &["got `window_states`", "another tensor"]),
        (json!({"z_in": true}), "z_in", &["normaliser sum"]),
        (json!({"kv_len": "n", "sequences": 3}), "kv_len", &["packed sequences", "got `n`"]),
        (json!({"dt": "dt", "rule": "delta"}), "dt", &["with the rule delta", "beta", "got `dt`"]),
        (json!({"dt": "dt", "normaliser": "sum"}), "dt", &["normaliser sum", "got `dt`"]),
        (json!({"skip": "d", "causal": false}), "skip", &["not causal", "got `d`"]),
        (json!({"key": "decay"}), "key", &["vector gate", "gate none"]),
        (
            json!({"key": "decay", "gate": "vector", "feature_map": "relu"}),
            "key",
            &["feature map", "got decay"],
        ),
        (json!({"key": "both"}), "key", &["given", "decay", "both"]),
        (json!({"kv_len": "n", "bonus": "n"}), "kv_len", &["got `n`", "another tensor"]),
    ] {
        let text = options.to_string();
        let problem = operator("linear")?.problem_of_shape("1x2x64x32", &object(options));
        let error = problem.err().with_context(|| format!("{text} was taken"))?;
        says(&error, argument, words).with_context(|| text)?;
    }
    Ok(())
}

#[test]
fn shapes_that_are_not_served_are_errors_that_say_what_is() -> Result<()> {
    for (shape, options, argument, words) in [
        ("2x64x32", json!({}), "shape", &["BxHxTxD", "`2x64x32`"][..]),
        ("1x2x64:80x32", json!({}), "shape", &["`1x2x64:80x32`"]),
        ("0x2x64x32", json!({}), "batch", &["at least 1", "got 0"]),
        ("1x2:3x64x32", json!({}), "v", &["multiple of the 2 heads", "got 3"]),
        ("1x2:0x64x32", json!({}), "v", &["multiple of the 2 heads", "got 0"]),
        (
            "1x2:4x64x32",
            json!({"query_heads": 6}),
            "q",
            &["2 heads", "multiple of the 4 heads of v", "got 6"],
        ),
        ("1x2x64x32", json!({"query_heads": 0}), "q", &["2 heads", "got 0"]),
        ("1x2x64x32", json!({"query_heads": 1u64 << 62}), "q", &["more elements"]),
        ("1x2x64x257", json!({}), "head_dim", &["1 to 256", "got 257"]),
        ("1x2x64x32:257", json!({}), "value_dim", &["1 to 256", "got 257"]),
        ("1x2x64x601", json!({"causal": false}), "head_dim", &["1 to 600", "got 601"]),
        ("1x2x64x32", json!({"feature_map": "learned", "feature_dim": 129}), "key_dim", &["got 258"]),
        ("2x2x64x32", json!({"sequences": 3}), "cu_seqlens", &["one batch entry", "a batch of 2"]),
    ] {
        let problem = operator("linear")?.problem_of_shape(shape, &object(options));
        let error = problem.err().with_context(|| format!("{shape} was taken"))?;
        says(&error, argument, words).with_context(|| shape.to_owned())?;
    }
    Ok(())
}

type Change<'c> = (&'c str, Option<(&'c [usize], f32)>);

/// The error, if there is one, for q and k of 2 heads, 10 tokens, 4 wide, v of 4 heads, 6 wide, after `changes`, each a
/// name with a shape and what fills it, or nothing. A problem that is taken has its values checked too.
fn complaint(options: Value, changes: &[Change<'_>]) -> Result<Option<Error>> {
    let mut shapes: Vec<Change<'_>> = vec![
        ("q", Some((&[1, 2, 10, 4], 1.0))),
        ("k", Some((&[1, 2, 10, 4], 1.0))),
        ("v", Some((&[1, 4, 10, 6], 1.0))),
    ];
    for change in changes {
        shapes.retain(|(name, _)| *name != change.0);
        shapes.push(*change);
    }
    let mut tensors = Vec::new();
    for (name, given) in shapes {
        let Some((shape, fill)) = given else { continue };
        let data = TensorData::F32(vec![fill; shape.iter().product()]);
        tensors.push((name.to_owned(), HostTensor::new(shape.to_vec(), data)?));
    }
    Ok(operator("linear")?.problem(&object(options), &tensors).err())
}

#[test]
fn tensors_that_do_not_fit_are_errors_that_say_which_would() -> Result<()> {
    let (by_token, states): (&[usize], &[usize]) = (&[1, 4, 10], &[1, 4, 4, 6]);
    let delta = || json!({"rule": "delta"});
    type Row<'r> = (Value, &'r [Change<'r>], &'r str, &'r [&'r str]);
    let rows: &[Row<'_>] = &[
        (json!({}), &[("q", None)], "q", &["expected a tensor", "got none"]),
        (json!({}), &[("q", Some((&[2, 10, 4], 1.0)))], "q", &["[B, H, T, D]", "got [2, 10, 4]"]),
        (json!({}), &[("k", None)], "k", &["[1, 2, 10, 4]", "layout bhtd", "got none"]),
        (json!({}), &[("k", Some((&[1, 2, 9, 4], 1.0)))], "k", &["[1, 2, 10, 4]", "got [1, 2, 9, 4]"]),
        (json!({}), &[("v", Some((&[1, 3, 10, 6], 1.0)))], "v", &["multiple of the 2 heads", "got 3"]),
        (json!({}), &[("q", Some((&[1, 6, 10, 4], 1.0)))], "q", &["2 heads", "of the 4 heads of v", "got 6"]),
        (delta(), &[("beta", Some((&[1, 2, 10], 1.0)))], "beta", &["[1, 4, 10]", "got [1, 2, 10]"]),
        (
            json!({"rule": "delta", "shared_beta": false}),
            &[("beta", Some((&[1, 1, 10], 1.0)))],
            "beta",
            &["[1, 4, 10]", "got [1, 1, 10]"],
        ),
        (json!({"gate": "scalar"}), &[], "g", &["[1, 4, 10]", "gate scalar", "got none"]),
        (json!({"gate": "vector"}), &[("g", Some((by_token, -1.0)))], "g", &["[1, 4, 10, 4]", "gate vector"]),
        (json!({"gate": "constant"}), &[("g", Some((by_token, -1.0)))], "g", &["[4]", "got [1, 4, 10]"]),
        (json!({"gate": "scalar"}), &[("g", Some((&[1, 10, 4], -1.0)))], "g", &["layout bhtd"]),
        (json!({}), &[("g", Some((by_token, -1.0)))], "g", &["expected none with gate none", "got one"]),
        (delta(), &[], "beta", &["[1, 4, 10]", "rule delta", "got none"]),
        (delta(), &[("beta", Some((&[1, 10, 4], 1.0)))], "beta", &["layout bhtd", "got [1, 10, 4]"]),
        (json!({}), &[("beta", Some((by_token, 1.0)))], "beta", &["expected none", "got one"]),
        (json!({"rule": "delta", "steps": 3}), &[], "k", &["[1, 2, 30, 4]", "3 steps a token"]),
        (json!({"rule": "dplr"}), &[], "a", &["[1, 2, 10, 4]", "rule dplr", "got none"]),
        (json!({"rule": "delta", "erase_key": "p"}), &[], "p", &["option erase_key", "got none"]),
        (json!({"bonus": "u"}), &[], "u", &["[4, 4]", "option bonus", "got none"]),
        (json!({"kv_len": "n"}), &[], "n", &["[1]", "option kv_len", "got none"]),
        (json!({"feature_map": "learned"}), &[], "q_weight", &["learned feature map", "got none"]),
        (json!({"state_in": true}), &[], "state_in", &["[1, 4, 4, 6]", "state layout kv", "got none"]),
        (
            json!({}),
            &[("state_in", Some((&[1, 4, 6, 4], 1.0)))],
            "state_in",
            &["layout kv", "got [1, 4, 6, 4]"],
        ),
        (json!({"state_layout": "vk"}), &[("state_in", Some((states, 1.0)))], "state_in", &["layout vk"]),
        (json!({"sequences": 2}), &[], "cu_seqlens", &["[3]", "packed sequences", "got none"]),
        (
            json!({"sequences": 2}),
            &[("cu_seqlens", Some((&[4], 0.0)))],
            "sequences",
            &["expected 3, as many as cu_seqlens has", "got 2"],
        ),
    ];
    for (options, changes, argument, words) in rows {
        let text = format!("{options} {changes:?}");
        let error = complaint(options.clone(), changes)?.with_context(|| format!("{text} was taken"))?;
        says(&error, argument, words).with_context(|| text)?;
    }
    ensure!(
        complaint(json!({}), &[("extra", Some((&[3], 1.0)))])?.is_none(),
        "other tensors are nobody's business"
    );
    let queries: Change<'_> = ("q", Some((&[1, 8, 10, 4], 1.0)));
    ensure!(
        complaint(delta(), &[queries, ("beta", Some((&[1, 1, 10], 1.0)))])?.is_none(),
        "8 queries, one beta"
    );
    Ok(())
}

#[test]
fn storage_that_is_not_served_is_an_error_that_says_what_came() -> Result<()> {
    let tensors = |of: fn(usize) -> TensorData| -> Result<Vec<(String, HostTensor)>> {
        let ones = TensorData::F32(vec![1.0; 80]);
        let shape = vec![1, 2, 10, 4];
        Ok(vec![
            ("q".into(), HostTensor::new(shape.clone(), ones.clone())?),
            ("k".into(), HostTensor::new(shape.clone(), of(80))?),
            ("v".into(), HostTensor::new(shape, ones)?),
        ])
    };
    let of = |of| -> Result<Error> {
        operator("linear")?.problem(&OptionMap::new(), &tensors(of)?).err().context("it was taken")
    };
    says(&of(|count| TensorData::F64(vec![1.0; count]))?, "k", &["f32, f16 or bf16", "got f64"])?;
    says(&of(|count| TensorData::I32(vec![1; count]))?, "k", &["f32, f16 or bf16", "got i32"])?;
    let halves = |count| HostTensor::from_f32(vec![count], &vec![1.0; count], foveal_kernels::Dtype::F16);
    let halves = halves(80)?.data().clone();
    let mut mixed = tensors(|count| TensorData::F32(vec![1.0; count]))?;
    mixed[1].1 = HostTensor::new(vec![1, 2, 10, 4], halves)?;
    let error = operator("linear")?.problem(&OptionMap::new(), &mixed).err().context("it was taken")?;
    says(&error, "k", &["expected f32 as in q", "got f16"])
}

/// A tensor whose element `at` is `wrong`.
fn spoilt(shape: &[usize], usual: f32, (at, wrong): (usize, f32)) -> Result<HostTensor> {
    let mut values = vec![usual; shape.iter().product()];
    values[at] = wrong;
    Ok(HostTensor::new(shape.to_vec(), TensorData::F32(values))?)
}

#[test]
fn values_out_of_range_are_errors_that_say_where_they_are() -> Result<()> {
    let by_token: &[usize] = &[1, 2, 10];
    let starts = |starts: &[f32]| HostTensor::new(vec![starts.len()], TensorData::F32(starts.to_vec()));
    let gate = || json!({"gate": "scalar"});
    let delta = || json!({"rule": "delta"});
    for (options, name, tensor, words) in [
        (gate(), "g", spoilt(by_token, -1.0, (7, 0.5))?, &["0 or less", "element 7", "0.5"][..]),
        (
            json!({"gate": "constant"}),
            "g",
            spoilt(&[2], -1.0, (1, 1e-3))?,
            &["0 or less", "element 1", "0.001"],
        ),
        (delta(), "beta", spoilt(by_token, 1.0, (19, 2.5))?, &["0 to 2", "element 19", "2.5"]),
        (delta(), "beta", spoilt(by_token, 1.0, (0, -0.5))?, &["0 to 2", "element 0", "-0.5"]),
        (json!({}), "cu_seqlens", starts(&[1.0, 4.0, 10.0])?, &["expected 0 as element 0", "got 1"]),
        (
            json!({}),
            "cu_seqlens",
            starts(&[0.0, 6.0, 4.0, 10.0])?,
            &["expected 6 or more as element 2", "got 4"],
        ),
        (json!({}), "cu_seqlens", starts(&[0.0, 4.0, 9.0])?, &["expected 10", "element 2", "got 9"]),
        (json!({}), "cu_seqlens", starts(&[0.0, 12.0, 10.0])?, &["expected 12 or more", "got 10"]),
        (json!({}), "cu_seqlens", starts(&[0.0, 4.5, 10.0])?, &["whole numbers", "element 1", "4.5"]),
        (json!({}), "cu_seqlens", starts(&[0.0, f32::NAN, 10.0])?, &["whole numbers", "element 1", "NaN"]),
        (json!({}), "cu_seqlens", starts(&[0.0])?, &["at least two elements", "got one"]),
        (json!({"kv_len": "n"}), "n", starts(&[-2.0])?, &["0 or more", "element 0", "-2"]),
        (json!({"kv_len": "n"}), "n", starts(&[2.5])?, &["whole", "element 0", "2.5"]),
    ] {
        let text = format!("{options} {name}");
        let ones = HostTensor::new(vec![1, 2, 10, 4], TensorData::F32(vec![1.0; 80]))?;
        let mut tensors: Vec<(String, HostTensor)> =
            ["q", "k", "v"].map(|name| (name.to_owned(), ones.clone())).into();
        tensors.push((name.to_owned(), tensor));
        let error = operator("linear")?.problem(&object(options), &tensors).err();
        says(&error.with_context(|| format!("{text} was taken"))?, name, words).with_context(|| text)?;
    }
    Ok(())
}

/// Values are checked alike in files, in bound tensors and in inputs of the reference.
#[test]
fn values_are_checked_wherever_they_come_from() -> Result<()> {
    let options = object(json!({"rule": "delta", "gate": "scalar", "sequences": 2}));
    let problem = operator("linear")?.problem_of_shape("1x2x10x4", &options)?;
    let inputs = problem.random_inputs(1);
    for (name, wrong) in [("g", 1.0f32), ("beta", 3.0), ("cu_seqlens", 99.0)] {
        let mut inputs = inputs.clone();
        for (held, tensor) in &mut inputs {
            if held == name {
                let shape = tensor.shape().to_vec();
                *tensor =
                    HostTensor::from_f32(shape, &vec![wrong; tensor.len()], foveal_kernels::Dtype::F32)?;
            }
        }
        let given: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, tensor)| (&**name, tensor)).collect();
        says(&problem.check_inputs(&given).err().context("taken")?, name, &["expected"])?;
        let refused =
            problem.reference(&given, foveal_kernels::testing::Rows::All).err().context("computed")?;
        says(&refused, name, &["expected"])?;
    }
    Ok(())
}
