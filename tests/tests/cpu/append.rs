//! Rows appended to caches, by hand, and what is refused.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use foveal_kernels::specs::{Append, CacheDtype, Pairing};
use foveal_kernels::{
    Access, AdapterProfile, Constraints, Dtype, HostTensor, OptionMap, Problem, TensorData, operator,
    testing::{Expected, Reference, Rows, unchanged},
};
use foveal_tests::{files, skipped};
use serde_json::{Value, json};

type Inputs = Vec<(&'static str, HostTensor)>;

/// Tensors of a problem: those given, the rest filled with -9.
fn tensors(spec: &Append, given: &[(&'static str, TensorData)]) -> Result<Inputs> {
    let mut inputs = Vec::new();
    for (name, data) in given {
        let found = spec.tensors().into_iter().find(|tensor| tensor.name == *name);
        let shape = found.with_context(|| format!("there is no `{name}`"))?.shape;
        inputs.push((*name, HostTensor::new(shape, data.clone())?));
    }
    for (name, tensor) in spec.tensors().into_iter().flat_map(|tensor| {
        let name = ["k", "v", "k_cache", "v_cache"].into_iter().find(|name| *name == tensor.name);
        name.map(|name| (name, tensor))
    }) {
        if inputs.iter().all(|(given, _)| *given != name) {
            let count: usize = tensor.shape.iter().product();
            let fill = if tensor.dtype == Dtype::U8 { 0.0 } else { -9.0 };
            inputs.push((name, HostTensor::from_f32(tensor.shape, &vec![fill; count], tensor.dtype)?));
        }
    }
    Ok(inputs)
}

fn outputs(spec: &Append, inputs: &Inputs) -> Result<Vec<Expected>> {
    let inputs: Vec<(&str, &HostTensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
    Ok(spec.reference(&inputs, Rows::All)?)
}

fn output(spec: &Append, given: &[(&'static str, TensorData)], name: &str) -> Result<Vec<f64>> {
    let outputs = outputs(spec, &tensors(spec, given)?)?;
    let found = outputs.into_iter().find(|output| output.name == *name);
    Ok(found.with_context(|| format!("there is no {name}"))?.values)
}

fn ints(values: &[i32]) -> TensorData {
    TensorData::I32(values.to_vec())
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn counted(from: usize, to: usize) -> TensorData {
    TensorData::F32((from..to).map(|x| x as f32).collect())
}

#[test]
fn rows_go_where_the_definition_says() -> Result<()> {
    const OLD: f64 = -9.0;
    let spec = |slots| Append::new([1, 1, 3], slots, [1, 1]).kv_lengths("n");
    let k = || ("k", counted(1, 4));
    // Two rows were there.
    let cache = output(&spec(6), &[k(), ("n", ints(&[5]))], "k_cache")?;
    ensure!(cache == [OLD, OLD, 1.0, 2.0, 3.0, OLD], "contiguous {cache:?}");
    // Positions 6, 7, 8 of a ring of 4.
    let cache = output(&spec(4).ring(), &[k(), ("n", ints(&[9]))], "k_cache")?;
    ensure!(cache == [3.0, OLD, 1.0, 2.0], "ring {cache:?}");
    // In a ring of 2 the first is lost: 1 at slot 2 % 2, then 3 over it.
    let cache = output(&spec(2).ring(), &[k(), ("n", ints(&[5]))], "k_cache")?;
    ensure!(cache == [3.0, 2.0], "overrun {cache:?}");
    // Positions 15, 16, 17: the end of page 2, then page 0.
    let pages = spec(48).block_table("table", 16, 3);
    let cache = output(&pages, &[k(), ("n", ints(&[18])), ("table", ints(&[2, 0, -1]))], "k_cache")?;
    let mut right = [OLD; 48];
    (right[0], right[1], right[47]) = (2.0, 3.0, 1.0);
    ensure!(cache == right, "pages {cache:?}");
    // Two of the three are new, and there are no more.
    let some = spec(4).q_lengths("n");
    let cache = output(&some, &[k(), ("n", ints(&[2]))], "k_cache")?;
    ensure!(cache == [1.0, 2.0, OLD, OLD], "q_len {cache:?}");
    Ok(())
}

#[test]
fn a_blocks_scale_grows_and_old_rows_are_rounded_anew() -> Result<()> {
    let spec =
        Append::new([1, 1, 1], 8, [4, 4]).kv_dtype(CacheDtype::I8).scales("ks", "vs", 4).kv_lengths("n");
    let old =
        |last: [i8; 4]| TensorData::I8([[127, -50, 25, 0], [9, 9, 9, 9], last, [9; 4]].concat().repeat(2));
    let scales = || TensorData::F32(vec![0.01, 0.5]);
    let given = |k: [f32; 4], n| {
        let n = ("n", ints(&[n]));
        [
            ("k", TensorData::F32(k.to_vec())),
            n,
            ("k_cache", old([1, 2, 3, 4])),
            ("ks", scales()),
            ("vs", scales()),
        ]
    };
    // The largest is 3.81 now: steps of 0.03.
    let rows = given([3.81, -1.27, 0.02, 0.0], 2);
    let cache = output(&spec, &rows, "k_cache")?;
    ensure!(cache[..8] == [42.0, -17.0, 8.0, 0.0, 127.0, -42.0, 1.0, 0.0], "{cache:?}");
    ensure!(cache[8..16] == [1.0, 2.0, 3.0, 4.0, 9.0, 9.0, 9.0, 9.0], "other slots stay: {cache:?}");
    let scale = output(&spec, &rows, "ks")?;
    ensure!((scale[0] - 0.03).abs() < 1e-8 && scale[1] == 0.5, "{scale:?}");
    // A smaller row changes nothing but its own.
    let rows = given([0.02, 0.03, 0.0, -0.01], 2);
    let cache = output(&spec, &rows, "k_cache")?;
    ensure!(cache[..8] == [127.0, -50.0, 25.0, 0.0, 2.0, 3.0, 0.0, -1.0], "{cache:?}");
    ensure!((output(&spec, &rows, "ks")?[0] - 0.01).abs() < 1e-9);
    // The first row of a block knows nothing of what lay there.
    let cache = output(&spec, &given([0.127, 0.0, 0.0, -0.127], 5), "k_cache")?;
    ensure!(cache[16..20] == [127.0, 0.0, 0.0, -127.0], "{cache:?}");
    // Nothing but zeros: a scale of 0.
    ensure!(output(&spec, &given([0.0; 4], 5), "ks")?[1] == 0.0);
    // A row that is not finite shows.
    let rows = given([1.0, f32::INFINITY, 0.0, 0.0], 2);
    ensure!(output(&spec, &rows, "ks")?[0].is_nan());
    let cache = output(&spec, &rows, "k_cache")?;
    ensure!(cache[..8] == [127.0, -50.0, 25.0, 0.0, 0.0, 0.0, 0.0, 0.0], "{cache:?}");
    Ok(())
}

#[test]
fn four_bits_lie_two_a_byte_and_a_ring_forgets_its_largest() -> Result<()> {
    let spec = Append::new([1, 1, 1], 2, [8, 8])
        .kv_dtype(CacheDtype::I4)
        .scales("ks", "vs", 2)
        .ring()
        .kv_lengths("n");
    let one = TensorData::F32(vec![1.0]);
    let bytes = TensorData::U8(vec![0x07, 0, 0, 0, 0xf2, 0x0e, 0, 0]);
    let k = TensorData::F32(vec![0.7, -0.7, 0.1, 0.0, 0.0, 0.0, 0.0, -0.2]);
    let given = [("k", k), ("n", ints(&[3])), ("k_cache", bytes), ("ks", one.clone()), ("vs", one)];
    // Slot 0, which had the 7, is written; the largest is 2 then, of the row 2, -1, -2.
    let scale = output(&spec, &given, "ks")?[0];
    ensure!((scale - 2.0 / 7.0).abs() < 1e-8, "{scale}");
    let cache = output(&spec, &given, "k_cache")?;
    // 0.7 / (2/7) = 2.45, 0.35, 0.7; then 7, -3.5 to even, -7.
    let bytes = |halves: &[i8]| -> Vec<f64> {
        let half = |x: i8| f64::from(x.cast_unsigned() & 15);
        halves.chunks(2).map(|pair| half(pair[0]) + 16.0 * half(pair[1])).collect()
    };
    ensure!(cache[..4] == bytes(&[2, -2, 0, 0, 0, 0, 0, -1]), "{cache:?}");
    ensure!(cache[4..] == bytes(&[7, -4, -7, 0, 0, 0, 0, 0]), "{cache:?}");
    Ok(())
}

fn problem(options: &Value, tensors: &[(String, HostTensor)]) -> Result<String> {
    let options: OptionMap = serde_json::from_value(options.clone())?;
    let made = operator("append")?.problem(&options, tensors);
    Ok(made.err().map(|error| error.to_string()).unwrap_or_default())
}

#[test]
fn input_that_makes_no_sense_is_refused() -> Result<()> {
    let tensor = |shape: &[usize], data| HostTensor::new(shape.to_vec(), data);
    let floats = |shape: &[usize]| tensor(shape, TensorData::F32(vec![0.0; shape.iter().product()]));
    let mut given = vec![
        ("k".to_owned(), floats(&[2, 1, 3, 8])?),
        ("v".to_owned(), floats(&[2, 1, 3, 8])?),
        ("k_cache".to_owned(), floats(&[2, 1, 16, 8])?),
        ("v_cache".to_owned(), floats(&[2, 1, 16, 8])?),
        ("n".to_owned(), tensor(&[2], ints(&[3, 3]))?),
        ("short".to_owned(), tensor(&[1], ints(&[3]))?),
        ("table".to_owned(), tensor(&[2, 3], ints(&[0, 1, -1, 1, 0, -1]))?),
        ("s".to_owned(), floats(&[2, 1, 1])?),
    ];
    for (options, words) in [
        (json!({"kv_len": "n"}), &[][..]),
        (json!({"kv_len": "short"}), &["short", "[2]", "[1]"]),
        (json!({"kv_len": "k"}), &["k", "that of two tensors"]),
        (json!({"block_table": "short"}), &["short", "2 dimensions"]),
        (json!({"block_table": "table", "page": 8}), &["page", "16", "8"]),
        (json!({"block_table": "table", "ring": true}), &["ring"]),
        (json!({"block_table": "table", "kv_len": "table"}), &["table", "that of two tensors"]),
        (json!({"k_scale": "s", "v_scale": "s"}), &["k_scale", "kv_dtype"]),
        (json!({"rope": "thirds"}), &["rope", "halves"]),
        (json!({"rope_dim": 4}), &["rope_dim", "without the option `rope`"]),
        (json!({"page": 16}), &["page", "without the option `block_table`"]),
        (json!({"quant_block": 4}), &["quant_block", "without the option `k_scale`"]),
        (json!({"rope": "pairs", "rope_dim": 3}), &["rope_dim", "even", "3"]),
        (json!({"rope": "pairs", "rope_dim": 10}), &["rope_dim", "8", "10"]),
        (json!({"rope": "pairs", "rope_base": 0.5}), &["rope_base", "1 to"]),
        (json!({"rope": "pairs", "pos": "n"}), &["n", "[2, 3]"]),
    ] {
        let said = problem(&options, &given)?;
        ensure!(said.is_empty() == words.is_empty(), "{options}: {said}");
        ensure!(words.iter().all(|word| said.contains(word)), "{options}: {said}");
    }
    let bytes = |shape: &[usize]| tensor(shape, TensorData::I8(vec![0; shape.iter().product()]));
    given[2].1 = bytes(&[2, 1, 16, 8])?;
    given.push(("z".to_owned(), floats(&[2, 1, 1])?));
    let said = problem(&json!({"k_scale": "s", "v_scale": "z"}), &given)?;
    ensure!(said.contains("v_cache") && said.contains("i8"), "{said}");
    given[3].1 = bytes(&[2, 1, 16, 8])?;
    let said = problem(&json!({"k_scale": "s", "v_scale": "z", "kv_dtype": "i8"}), &given)?;
    ensure!(said.is_empty(), "{said}");
    let said = problem(&json!({"k_scale": "s", "v_scale": "z", "kv_dtype": "i4"}), &given)?;
    ensure!(said.contains("kv_dtype") && said.contains("i8, as k_cache is"), "{said}");
    let said = problem(&json!({"k_scale": "s"}), &given)?;
    ensure!(said.contains("v_scale") && said.contains("i8"), "{said}");
    let shape = |shape: &str, options: Value| -> Result<String> {
        let made = operator("append")?.problem_of_shape(shape, &serde_json::from_value(options)?);
        Ok(made.err().map(|error| error.to_string()).unwrap_or_default())
    };
    for (text, options, words) in [
        ("1x1x17x16x8", json!({}), &["kv_len", "17", "16"][..]),
        ("1x1x3x16x6", json!({"kv_dtype": "i8", "k_scale": "a", "v_scale": "b"}), &["key_dim", "4", "6"]),
        (
            "1x1x3x16x8",
            json!({"kv_dtype": "i8", "k_scale": "a", "v_scale": "b", "quant_block": 0}),
            &["quant_block"],
        ),
        ("1x1x3x16x8", json!({"block_table": "t", "page": 0}), &["page", "multiple of 16, got 0"]),
        ("1x1x3x24x8", json!({"block_table": "t", "page": 8}), &["page", "multiple of 16, got 8"]),
        ("1x1x3x18x8", json!({"block_table": "t"}), &["page", "18"]),
        ("1x1x3x4294967296x8", json!({}), &["capacity"]),
        ("1x1x3x16", json!({}), &["shape"]),
        ("1x0x3x16x8", json!({}), &["heads"]),
    ] {
        let said = shape(text, options)?;
        ensure!(!said.is_empty() && words.iter().all(|word| said.contains(word)), "{text}: {said}");
    }
    Ok(())
}

#[test]
fn lengths_and_pages_without_room_are_refused() -> Result<()> {
    let plain = Append::new([2, 1, 3], 8, [4, 4]).kv_lengths("n");
    let pages = || Append::new([2, 1, 3], 32, [4, 4]).kv_lengths("n").block_table("table", 16, 5);
    let table = |pages: &[i32]| ("table", ints(pages));
    let good = table(&[0, 1, 2, 3]);
    for (spec, given, words) in [
        (plain.clone(), vec![("n", ints(&[3, 9]))], &["n", "element 1 is 9", "8"][..]),
        (plain.clone(), vec![("n", ints(&[2, 3]))], &["n", "element 0 is 2", "3"]),
        (plain.clone().ring(), vec![("n", ints(&[-1, 3]))], &["n", "element 0 is -1"]),
        (
            plain.clone().q_lengths("m"),
            vec![("n", ints(&[8, 8])), ("m", ints(&[0, 4]))],
            &["m", "element 1 is 4"],
        ),
        (pages(), vec![("n", ints(&[32, 3])), table(&[0, 1, 5, 3])], &["table", "element 2 is 5", "0 to 4"]),
        (pages(), vec![("n", ints(&[32, 32])), table(&[0, -1, 2, 3])], &["table", "element 1 is -1"]),
        (
            pages(),
            vec![("n", ints(&[32, 3])), table(&[0, 1, 1, 3])],
            &["table", "elements 1 and 2", "page 1"],
        ),
    ] {
        let said = outputs(&spec, &tensors(&spec, &given)?).err().map(|error| error.to_string());
        let said = said.context("it was taken")?;
        ensure!(words.iter().all(|word| said.contains(word)), "{said}");
    }
    // Only read by entry 0, but written by entry 1.
    let read = outputs(&pages(), &tensors(&pages(), &[("n", ints(&[19, 3])), table(&[0, 1, 0, 3])])?);
    ensure!(read.is_err_and(|error| error.to_string().contains("elements 0 and 2")));
    // A page that is shared and only read is fine.
    let shared = [("n", ints(&[19, 19])), table(&[0, 1, 0, 3])];
    outputs(&pages(), &tensors(&pages(), &shared)?)?;
    outputs(&pages(), &tensors(&pages(), &[("n", ints(&[32, 32])), good])?)?;
    Ok(())
}

#[test]
fn caches_are_changed_in_place() -> Result<()> {
    let spec = Append::new([2, 1, 3], 8, [4, 4]).kv_dtype(CacheDtype::I8).scales("ks", "vs", 4);
    let changed = spec.tensors().into_iter().filter(|tensor| tensor.access == Access::Update);
    let names: Vec<String> = changed.map(|tensor| tensor.name.into_owned()).collect();
    ensure!(names == ["k_cache", "v_cache", "ks", "vs"], "{names:?}");
    Ok(())
}

/// The products of rotated rows are those of their distance.
#[test]
fn rotated_products_depend_on_distances_alone() -> Result<()> {
    for pairing in [Pairing::Halves, Pairing::Pairs] {
        let spec = Append::new([1, 1, 4], 4, [16, 16]).rope(pairing, 10_000.0).positions("pos");
        let row: Vec<f32> = (0u8..16).map(|x| f32::from(x).sin()).collect();
        let k = TensorData::F32(row.repeat(4));
        let rows = output(&spec, &[("k", k), ("pos", ints(&[3, 10, 1_000_003, 1_000_010]))], "k_cache")?;
        let dot = |a: usize, b: usize| -> f64 {
            rows[16 * a..16 * (a + 1)].iter().zip(&rows[16 * b..]).map(|(x, y)| x * y).sum()
        };
        ensure!((dot(0, 1) - dot(2, 3)).abs() < 1e-7, "{pairing}: {} and {}", dot(0, 1), dot(2, 3));
        ensure!((dot(0, 0) - dot(2, 2)).abs() < 1e-9 && (dot(0, 1) - dot(0, 0)).abs() > 1e-3, "{pairing}");
    }
    Ok(())
}

#[test]
fn what_has_to_stay_is_held_to_it() -> Result<()> {
    let expected = |allowance| Expected {
        name: "cache".into(),
        shape: vec![3],
        elements: None,
        values: vec![1.0, f64::NAN, 3.0],
        allowance,
        head_axis: None,
    };
    let held = |values: [f32; 3]| HostTensor::new(vec![3], TensorData::F32(values.to_vec()));
    let before = held([1.0, f32::NAN, 2.0])?;
    unchanged(&expected(None), &before, &held([1.0, f32::NAN, 3.1])?)?;
    for wrong in [[1.000_000_1, f32::NAN, 3.0], [1.0, 0.0, 3.0]] {
        ensure!(unchanged(&expected(None), &before, &held(wrong)?).is_err(), "{wrong:?}");
        unchanged(&expected(Some(vec![1.0, 1.0, 0.0])), &before, &held(wrong)?)?;
    }
    Ok(())
}

#[test]
fn q_is_turned_as_the_rows_appended_with_it() -> Result<()> {
    let spec =
        Append::new([2, 1, 3], 8, [4, 4]).kv_lengths("n").rope(Pairing::Halves, 100.0).with_rotated_q(2);
    let row = [1.0f32, 2.0, 3.0, 4.0];
    let given = |spec: &Append| -> Result<Inputs> {
        let mut inputs = tensors(spec, &[("k", TensorData::F32(row.repeat(6))), ("n", ints(&[8, 3]))])?;
        inputs.push(("q", HostTensor::new(vec![2, 2, 3, 4], TensorData::F32(row.repeat(12)))?));
        Ok(inputs)
    };
    let outputs = outputs(&spec, &given(&spec)?)?;
    let values = |name: &str| -> Result<&[f64]> {
        let found = outputs.iter().find(|output| output.name == name);
        Ok(&found.with_context(|| format!("there is no {name}"))?.values)
    };
    let (q, k) = (values("q_rotated")?, values("k_cache")?);
    for (entry, first) in [(0, 5), (1, 0)] {
        for t in 0..3 {
            let in_cache = &k[4 * (8 * entry + first + t)..][..4];
            for head in 0..2 {
                let turned = &q[4 * (3 * (2 * entry + head) + t)..][..4];
                ensure!(turned == in_cache, "{entry} {head} {t}: {turned:?}, not {in_cache:?}");
            }
        }
    }
    // Position 6, pair 1: an angle of 0.6.
    let (sin, cos) = 0.6f64.sin_cos();
    ensure!((k[4 * 6 + 1] - (2.0 * cos - 4.0 * sin)).abs() < 1e-12, "{k:?}");
    let odd = Append::new([1, 2, 1], 8, [4, 4]).rope(Pairing::Halves, 100.0).with_rotated_q(3);
    ensure!(plan_error(&odd).contains("multiple of the 2 heads"), "{}", plan_error(&odd));
    let still = Append::new([1, 2, 1], 8, [4, 4]).with_rotated_q(2);
    ensure!(plan_error(&still).contains("rope"), "{}", plan_error(&still));
    Ok(())
}

fn plan_error(spec: &Append) -> String {
    let made = spec.plan(&AdapterProfile::webgpu_floor(), &Constraints::default());
    made.err().map(|error| error.to_string()).unwrap_or_default()
}

/// fla's rotary embedding. Its frequencies are rounded to f32: at position p an angle is off by up to p times that.
#[test]
fn rotations_are_those_of_the_golden_files() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/capabilities");
    for (name, pairing) in [("K03_rope_halves_t33", Pairing::Halves), ("K04_rope_pairs_t20", Pairing::Pairs)]
    {
        let path = folder.join(format!("{name}.safetensors"));
        if !path.is_file() {
            skipped(name, "there is no ../shared/capabilities beside the repository");
            continue;
        }
        let file = files::read(&path)?;
        let tensor = |name: &str| file.tensor(name).with_context(|| format!("there is no `{name}`"));
        let x1 = tensor("x1")?;
        let &[batch, heads, len, half] = x1.shape() else { anyhow::bail!("{:?}", x1.shape()) };
        let joined = |a: &[f64], b: &[f64]| -> Vec<f64> {
            let rows = a.chunks(half).zip(b.chunks(half));
            rows.flat_map(|(a, b)| match pairing {
                Pairing::Halves => [a, b].concat(),
                _ => a.iter().zip(b).flat_map(|(&a, &b)| [a, b]).collect(),
            })
            .collect()
        };
        let [x1, x2, y1, y2] = [x1, tensor("x2")?, tensor("y1")?, tensor("y2")?].map(HostTensor::to_f64);
        let given = tensor("pos")?.to_f64();
        let of_entry =
            |entry: usize| if given.len() == len { &given[..] } else { &given[entry * len..][..len] };
        #[expect(clippy::cast_possible_truncation, reason = "positions are whole numbers")]
        let positions: Vec<i32> =
            (0..batch).flat_map(|entry| of_entry(entry).iter().map(|&p| p as i32)).collect();
        let spec =
            Append::new([batch, heads, len], len, [2 * half, 1]).rope(pairing, 10_000.0).positions("pos");
        let k = TensorData::F64(joined(&x1, &x2));
        let cache = output(&spec, &[("k", k), ("pos", ints(&positions))], "k_cache")?;
        for (at, (got, expected)) in cache.iter().zip(joined(&y1, &y2)).enumerate() {
            let row = at / (2 * half);
            let position = f64::from(positions[row / (heads * len) * len + row % len]).abs();
            let allowed = 6.0 * (position * 2f64.powi(-24) + 2f64.powi(-22));
            ensure!((got - expected).abs() <= allowed, "{name} element {at}: {got}, not {expected}");
        }
    }
    Ok(())
}
