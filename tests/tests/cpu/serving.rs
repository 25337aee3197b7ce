//! Packed sequences, pages and integers: the reference against what they stand for, and errors that name what is wrong.

use anyhow::{Context, Result, ensure};
use foveal_kernels::attention::{Attention, Integers, Mask, Pages, Quantised, Shape};
use foveal_kernels::{
    Dtype, Error, HostTensor, Name, OptionMap, Problem, TensorData, operator,
    testing::{Reference, Rows},
};
use foveal_tests::harness;
use serde_json::{Value, json};

fn tensor(shape: &[usize], values: &[f64]) -> Result<HostTensor> {
    Ok(HostTensor::new(shape.to_vec(), TensorData::F64(values.to_vec()))?)
}

fn integers(values: &[i32]) -> Result<HostTensor> {
    Ok(HostTensor::new(vec![values.len()], TensorData::I32(values.to_vec()))?)
}

fn value<'a>(inputs: &'a mut [(Name, HostTensor)], name: &str) -> Result<&'a mut HostTensor> {
    inputs.iter_mut().find_map(|(given, tensor)| (given == name).then_some(tensor)).context("no such input")
}

fn outputs(spec: &Attention, inputs: &[(Name, HostTensor)]) -> Result<Vec<Vec<f64>>> {
    let expected = spec.reference(&harness::borrowed(inputs), Rows::All)?;
    Ok(expected.into_iter().map(|output| output.values).collect())
}

/// Rows `from..to` of each head of a tensor `[1, heads, T, D]`.
fn rows(of: &HostTensor, from: usize, to: usize) -> Result<HostTensor> {
    let &[_, heads, len, dim] = of.shape() else { anyhow::bail!("{:?}", of.shape()) };
    let all = of.to_f64();
    let head = |h: usize| all[(h * len + from) * dim..(h * len + to) * dim].iter().copied();
    tensor(&[1, heads, to - from, dim], &(0..heads).flat_map(head).collect::<Vec<_>>())
}

#[test]
fn a_packed_sequence_is_attention_of_its_own() -> Result<()> {
    let (q_borders, k_borders) = ([0, 17, 17, 30], [0, 5, 40, 60]);
    let mask = Mask::parse("causal & window(9, 0)")?;
    let packed = Attention::new(Shape::bhtd(3, 4, 33, 8).kv(2, 64)).mask(mask.clone()).with_lse();
    let packed = packed.cu_seqlens_q("q_borders").cu_seqlens_k("k_borders");
    let mut inputs = packed.random_inputs(2);
    *value(&mut inputs, "q_borders")? = integers(&q_borders)?;
    *value(&mut inputs, "k_borders")? = integers(&k_borders)?;
    let whole = outputs(&packed, &inputs)?;
    let named = |name: &str| inputs.iter().find(|(given, _)| given == name).map(|(_, tensor)| tensor);
    for sequence in 0..3 {
        let at = |borders: [i32; 4]| -> Result<(usize, usize)> {
            Ok((usize::try_from(borders[sequence])?, usize::try_from(borders[sequence + 1])?))
        };
        let ((q_from, q_to), (k_from, k_to)) = (at(q_borders)?, at(k_borders)?);
        if q_from == q_to {
            continue;
        }
        let alone = Attention::new(Shape::bhtd(1, 4, q_to - q_from, 8).kv(2, k_to - k_from))
            .mask(mask.clone())
            .with_lse();
        let part = |name: &str, from, to| rows(named(name).context("missing")?, from, to);
        let parts = vec![
            ("q".into(), part("q", q_from, q_to)?),
            ("k".into(), part("k", k_from, k_to)?),
            ("v".into(), part("v", k_from, k_to)?),
        ];
        for (output, (packed, alone)) in whole.iter().zip(outputs(&alone, &parts)?).enumerate() {
            let width = if output == 0 { 8 } else { 1 };
            for head in 0..4 {
                let len = (q_to - q_from) * width;
                let from = (head * 33 + q_from) * width;
                ensure!(
                    packed[from..from + len] == alone[head * len..(head + 1) * len],
                    "sequence {sequence}"
                );
            }
        }
    }
    // Rows beyond the last sequence see nothing.
    ensure!(
        (0..4).all(|head| whole[1][head * 33 + 30..(head + 1) * 33]
            .iter()
            .all(|&lse| lse == f64::NEG_INFINITY))
    );
    Ok(())
}

#[test]
fn integers_stand_for_numbers() -> Result<()> {
    for kind in [Integers::I8, Integers::I4] {
        let spec = Attention::new(Shape::bhtd(2, 2, 3, 6).kv(1, 21)).with_lse();
        let quantised = spec.clone().quantised(Quantised::new("ks", "vs").block(10).integers(kind));
        let inputs = quantised.random_inputs(5);
        let mut numbers = inputs.clone();
        for (name, scales) in [("k", "ks"), ("v", "vs")] {
            let scales = value(&mut numbers, scales)?.to_f64();
            let stored = value(&mut numbers, name)?;
            let elements: Vec<f64> = match kind {
                Integers::I8 => stored.to_f64(),
                Integers::I4 => stored
                    .to_f64()
                    .into_iter()
                    .flat_map(|byte| [byte % 16.0, (byte / 16.0).floor()])
                    .map(|half| if half > 7.0 { half - 16.0 } else { half })
                    .collect(),
            };
            // Three scales for each of 2 entries of one head.
            let scaled =
                elements.iter().enumerate().map(|(at, x)| x * scales[at / 6 / 21 * 3 + at / 6 % 21 / 10]);
            *stored = tensor(&[2, 1, 21, 6], &scaled.collect::<Vec<_>>())?;
        }
        numbers.truncate(3);
        for (a, b) in outputs(&quantised, &inputs)?.iter().zip(outputs(&spec, &numbers)?) {
            let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            ensure!(apart < 1e-12, "{kind}: {apart}");
        }
    }
    Ok(())
}

fn says(error: &Error, argument: &str, words: &str) -> Result<()> {
    ensure!(error.argument() == argument, "`{argument}` is not the argument of: {error}");
    ensure!(error.to_string().contains(words), "`{words}` is not in: {error}");
    Ok(())
}

#[test]
fn contents_that_make_no_sense_are_errors() -> Result<()> {
    let packed = Attention::new(Shape::bhtd(3, 1, 20, 4)).cu_seqlens_q("borders").cu_seqlens_k("borders");
    for (borders, words) in [
        ([1, 5, 6, 20], "element 0 is 1, expected 0"),
        ([0, 9, 6, 20], "element 2 is 6, expected 9 (the element before) to 20"),
        ([0, 9, 9, 21], "element 3 is 21, expected 9 (the element before) to 20"),
        ([0, -1, 9, 20], "element 1 is -1"),
    ] {
        let mut inputs = packed.random_inputs(1);
        *value(&mut inputs, "borders")? = integers(&borders)?;
        let error = packed.check_inputs(&harness::borrowed(&inputs)).err().context("taken")?;
        says(&error, "borders", words)?;
    }
    let paged = Attention::new(Shape::bhtd(1, 1, 2, 4).kv(1, 32)).pages(Pages::new("pages", 16, 3));
    for (page, words) in
        [(3, "element 1 is 3, expected a page, 0 to 2, or -1 for none"), (-2, "element 1 is -2")]
    {
        let mut inputs = paged.random_inputs(1);
        *value(&mut inputs, "pages")? = HostTensor::new(vec![1, 2], TensorData::I32(vec![0, page]))?;
        says(&paged.check_inputs(&harness::borrowed(&inputs)).err().context("taken")?, "pages", words)?;
    }
    let mut quantised =
        Attention::new(Shape::bhtd(1, 1, 2, 4).kv(1, 80)).quantised(Quantised::new("ks", "vs"));
    let mut inputs = quantised.random_inputs(1);
    // 1e300 is finite as f64 alone.
    for (odd, words) in [(f64::NAN, "element 1 is NaN, expected a scale"), (1e300, "element 1 is 1e300")] {
        *value(&mut inputs, "ks")? = HostTensor::new(vec![1, 1, 2], TensorData::F64(vec![0.0, odd]))?;
        says(&quantised.check_inputs(&harness::borrowed(&inputs)).err().context("taken")?, "ks", words)?;
    }
    *value(&mut inputs, "ks")? = HostTensor::from_f32(vec![1, 1, 2], &[0.0, 1.0], Dtype::F32)?;
    quantised.check_inputs(&harness::borrowed(&inputs))?;
    if let Some(of) = &mut quantised.quantised {
        of.blocks = Some(1);
    }
    let inputs = quantised.random_inputs(1);
    let error = quantised.check_inputs(&harness::borrowed(&inputs)).err().context("taken")?;
    says(&error, "ks", "expected scales for 80 keys, got those for 64")
}

#[test]
fn options_that_make_no_sense_are_errors() -> Result<()> {
    let lists = json!({"q_block": 64, "kv_block": 64, "random": 0.5});
    for (options, argument, words) in [
        (json!({"block_table": "t", "page": 20}), "page", "multiple of 16, got 20"),
        (json!({"block_table": "t", "page": 64}), "kv_len", "whole pages of 64 keys, got 80"),
        (json!({"block_table": "t", "pages": 0}), "pages", "at least 1"),
        (json!({"page": 16}), "page", "nothing without the option `block_table`, got 16"),
        (json!({"block_table": 3}), "block_table", "text"),
        (json!({"block_table": "q"}), "q", "got that of two tensors"),
        (json!({"k_scale": "ks"}), "v_scale", "scales of k and of v"),
        (
            json!({"quant_block": 32}),
            "quant_block",
            "nothing without the options `k_scale` and `v_scale`, got 32",
        ),
        (json!({"k_scale": "ks", "v_scale": "vs", "quant_block": 0}), "quant_block", "at least 1"),
        (json!({"k_scale": "ks", "v_scale": "vs", "kv_dtype": "i5"}), "kv_dtype", "i8"),
        (json!({"q_scale": "qs"}), "q_scale", "k_scale and v_scale beside it, got neither"),
        (json!({"rope_dim": 8}), "rope_dim", "nothing without the option `rope`, got 8"),
        (json!({"pos": "p"}), "pos", "nothing without the option `rope`"),
        (json!({"rope": "thirds"}), "rope", "halves"),
        (json!({"rope": "pairs", "rope_dim": 7}), "rope_dim", "even number from 2 to 32, got 7"),
        (json!({"rope": "pairs", "rope_base": 0.5}), "rope_base", "from 1 to 1e30"),
        (json!({"rope": "pairs", "rope_of": "k"}), "rope_of", "qk"),
        (json!({"rope": "pairs", "rope_of": "q", "k_pos": "p"}), "k_pos", "where k is not turned, got `p`"),
        (json!({"rope": "pairs", "block_table": "t"}), "rope_of", "expected `q` where keys lie in pages"),
        (json!({"rope": "pairs", "pos": "p", "k_pos": "p"}), "p", "expected one type and shape"),
        (json!({"cu_seqlens_q": "cu", "q_len": "n"}), "cu_seqlens_q", "q_len"),
        (json!({"cu_seqlens_k": "cu", "kv_len": "n"}), "cu_seqlens_k", "kv_len"),
        (json!({"cu_seqlens_k": "cu", "block_table": "t"}), "cu_seqlens_k", "block_table"),
        (json!({"cu_seqlens_q": "cu", "block_mask": lists}), "cu_seqlens_q", "lists of blocks"),
    ] {
        let given: OptionMap = serde_json::from_value(options.clone())?;
        let problem = operator("attention")?.problem_of_shape("1x2x64:80x32", &given);
        says(&problem.err().with_context(|| format!("{options} was taken"))?, argument, words)?;
    }
    let given: OptionMap = serde_json::from_value(json!({"rope": "pairs"}))?;
    let narrow = operator("attention")?.problem_of_shape("1x2x64:80x1", &given).err().context("taken")?;
    says(&narrow, "rope", "rows of 2 elements or more, got 1")
}

#[test]
fn tensors_that_do_not_belong_together_are_errors() -> Result<()> {
    let float = |shape: &[usize]| {
        HostTensor::from_f32(shape.to_vec(), &vec![0.5; shape.iter().product()], Dtype::F32)
    };
    let zeros = |shape: &[usize], dtype| {
        HostTensor::from_f32(shape.to_vec(), &vec![0.0; shape.iter().product()], dtype)
    };
    let problem = |tensors: Vec<(&str, HostTensor)>, options: Value| -> Result<Error> {
        let tensors: Vec<(String, HostTensor)> =
            tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
        let options: OptionMap = serde_json::from_value(options)?;
        operator("attention")?.problem(&options, &tensors).err().context("taken")
    };
    let pages = |k: &[usize], v: &[usize], table: &[usize]| -> Result<Error> {
        let tensors = vec![
            ("q", float(&[2, 2, 1, 8])?),
            ("k", float(k)?),
            ("v", float(v)?),
            ("t", zeros(table, Dtype::I32)?),
        ];
        problem(tensors, json!({"block_table": "t"}))
    };
    says(&pages(&[4, 2, 16, 8], &[4, 2, 16, 8], &[3, 2])?, "t", "each of 2 batch entries, got 3")?;
    says(&pages(&[4, 2, 16, 8], &[5, 2, 16, 8], &[2, 2])?, "v", "4 pages as in k, got 5")?;
    says(&pages(&[4, 2, 16, 8], &[4, 2, 32, 8], &[2, 2])?, "v", "16 keys of a page as in k, got 32")?;
    says(&pages(&[4, 2, 16, 8], &[4, 2, 16, 8], &[4])?, "t", "expected [B, pages of an entry], got [4]")?;
    says(&pages(&[4, 2, 17, 8], &[4, 2, 17, 8], &[2, 2])?, "page", "multiple of 16, got 17")?;
    let packed = |q: &[usize], borders: &[usize]| -> Result<Error> {
        let tensors = vec![
            ("q", float(q)?),
            ("k", float(&[1, 2, 9, 8])?),
            ("v", float(&[1, 2, 9, 8])?),
            ("cu", zeros(borders, Dtype::I32)?),
        ];
        problem(tensors, json!({"cu_seqlens_q": "cu", "cu_seqlens_k": "cu"}))
    };
    says(&packed(&[2, 2, 9, 8], &[4])?, "q", "packed sequences as one batch entry, got 2")?;
    says(&packed(&[1, 2, 9, 8], &[1])?, "cu", "at least 2 elements")?;
    let tensors = vec![
        ("q", float(&[1, 2, 9, 8])?),
        ("k", float(&[1, 2, 9, 8])?),
        ("v", float(&[1, 2, 9, 8])?),
        ("cu_q", zeros(&[4], Dtype::I32)?),
        ("cu_k", zeros(&[3], Dtype::I32)?),
    ];
    let said = problem(tensors, json!({"cu_seqlens_q": "cu_q", "cu_seqlens_k": "cu_k"}))?;
    says(&said, "cu_k", "borders of 3 sequences as in `cu_q`, got those of 2")?;
    let scales = |k: Dtype, v: Dtype| -> Result<Error> {
        let tensors = vec![
            ("q", float(&[1, 2, 9, 8])?),
            ("k", zeros(&[1, 2, 9, 8], k)?),
            ("v", zeros(&[1, 2, 9, 8], v)?),
            ("s", float(&[1, 2, 1])?),
        ];
        problem(tensors, json!({"k_scale": "s", "v_scale": "s"}))
    };
    says(
        &scales(Dtype::F32, Dtype::I8)?,
        "k",
        "expected i8, or i4 as u8 with two in a byte, beside scales, got f32",
    )?;
    says(&scales(Dtype::I8, Dtype::U8)?, "v", "expected i8 as in k, got i4")
}

#[test]
fn a_shared_prefix_has_to_be_shared() -> Result<()> {
    let shared = Attention::new(Shape::bhtd(3, 2, 1, 8).kv(2, 96)).shared_prefix(40);
    let fails = |spec: &Attention, argument: &str, part: &str| -> Result<()> {
        let error = spec.validate().err().context("expected an error")?;
        ensure!(error.argument() == argument && error.to_string().contains(part), "{error}");
        Ok(())
    };
    fails(&shared.clone().shared_prefix(97), "shared_prefix", "at most the 96 keys")?;
    fails(&shared.clone().splits(2), "shared_prefix", "a number of splits")?;
    fails(&shared.clone().cu_seqlens_q("borders"), "shared_prefix", "cu_seqlens_q")?;
    let paged = shared.clone().pages(Pages::new("pages", 16, 20));
    fails(&paged, "shared_prefix", "whole pages of 16 keys, got 40")?;

    let rejected = |spec: &Attention, inputs: &[(Name, HostTensor)], name: &str, part: &str| -> Result<()> {
        let error = spec.check_inputs(&harness::borrowed(inputs)).err().context("expected an error")?;
        ensure!(error.argument() == name && error.to_string().contains(part), "{error}");
        Ok(())
    };
    // Row 39 of head 1 of entry 2 is the last that is shared.
    let changed = |key: usize| -> Result<Vec<(Name, HostTensor)>> {
        let mut inputs = shared.random_inputs(1);
        let v = value(&mut inputs, "v")?;
        let mut values = v.to_f64();
        values[((2 * 2 + 1) * 96 + key) * 8 + 3] += 1.0;
        *v = tensor(&[3, 2, 96, 8], &values)?;
        Ok(inputs)
    };
    shared.check_inputs(&harness::borrowed(&shared.random_inputs(1)))?;
    shared.check_inputs(&harness::borrowed(&changed(40)?))?;
    rejected(&shared, &changed(39)?, "v", "key 39 of entry 2 and head 1")?;

    let paged = paged.shared_prefix(48);
    let with = |at: usize, page: i32| -> Result<Vec<(Name, HostTensor)>> {
        let mut inputs = paged.random_inputs(1);
        let table = value(&mut inputs, "pages")?;
        let mut pages: Vec<i32> = vec![3, 4, 5, 6, 7, 8, 3, 4, 5, 9, 10, 11, 3, 4, 5, 12, 13, 14];
        pages[at] = page;
        *table = HostTensor::new(vec![3, 6], TensorData::I32(pages))?;
        Ok(inputs)
    };
    paged.check_inputs(&harness::borrowed(&with(9, 1)?))?;
    rejected(&paged, &with(8, 1)?, "pages", "element 8 is 1, expected 5 as of entry 0")?;

    let scaled = shared.clone().quantised(Quantised::new("ks", "vs").block(20));
    let mut inputs = scaled.random_inputs(1);
    scaled.check_inputs(&harness::borrowed(&inputs))?;
    let scales = value(&mut inputs, "ks")?;
    let mut values = scales.to_f64();
    values[2 * 5 + 1] += 1.0;
    *scales = tensor(&[3, 2, 5], &values)?;
    rejected(&scaled, &inputs, "ks", "40 keys are shared")
}
