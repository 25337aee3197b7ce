//! Options that make no sense are errors that name the option, and the column where it is an expression.

use anyhow::{Context, Result, ensure};
use foveal_kernels::{Error, ErrorKind, HostTensor, OptionMap, TensorData, operator};
use serde_json::{Value, json};

fn object(value: Value) -> OptionMap {
    serde_json::from_value(value).unwrap_or_default()
}

/// The error of the options, for a problem of 2 heads, 64 queries and 80 keys.
fn complaint(options: Value) -> Result<Error> {
    let text = options.to_string();
    let problem = operator("attention")?.problem_of_shape("1x2x64:80x32", &object(options));
    problem.err().with_context(|| format!("{text} was taken"))
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
fn expressions_that_make_no_sense_are_errors_with_the_column() -> Result<()> {
    for (options, argument, words) in [
        (json!({"mask": "causal & windw(3, 0)"}), "mask", &["column 10", "windw", "`window`"][..]),
        (json!({"mask": "causal &"}), "mask", &["column 9"]),
        (json!({"mask": "causal & (q < k"}), "mask", &["column"]),
        (json!({"mask": "window(3)"}), "mask", &["column 1", "window"]),
        (json!({"mask": "q + k"}), "mask", &["column 1", "a mask is a bool", "number"]),
        (json!({"mask": "s > 0.0"}), "mask", &["column 1", "s"]),
        (json!({"score": "causal"}), "score", &["column 1"]),
        (json!({"score": "s + (q < k)"}), "score", &["column"]),
        (json!({"score": "s + 1.0e"}), "score", &["column"]),
        (json!({"mask": "q % 0 == 0"}), "mask", &["column 5", "zero"]),
        (json!({"mask": "k / (q - 5) == 0"}), "mask", &["column 3", "can be zero", "max("]),
        (json!({"mask": "q * 100000000 < k"}), "mask", &["column 3", "32 bits"]),
        (json!({"score": "s + 1e39"}), "score", &["column"]),
        (json!({"score": "s * 1e300 * 1e300"}), "score", &["column"]),
    ] {
        let text = options.to_string();
        says(&complaint(options)?, argument, words).with_context(|| text)?;
    }
    Ok(())
}

#[test]
fn tables_that_make_no_sense_are_errors_that_name_them() -> Result<()> {
    let doc = |table: &str| json!({"doc": table});
    for (mask, tables, argument, words) in [
        ("same(doc)", Value::Null, "table `doc`", &["tables"][..]),
        ("same(doc)", json!({"dog": "i32[1,80]"}), "table `doc`", &["missing", "dog"]),
        ("doc[q, k] > 0", doc("i32[80]"), "mask", &["column 1", "doc", "2"]),
        ("doc[q] > 0", doc("i32[1,1,1,80]"), "mask", &["column 1", "doc", "4"]),
        ("bias[doc[q], k] > 0.0", json!({"doc": "f32[80]", "bias": "f32[9,80]"}), "mask", &["column", "int"]),
        ("doc[k] > 0", doc("i32[79]"), "mask", &["column 1", "0 to 79", "size is 79", "clamp"]),
        ("doc[q - 1] > 0", doc("i32[80]"), "mask", &["column 1", "-1", "clamp"]),
        ("doc[90] > 0", doc("i32[80]"), "mask", &["column 1", "90", "size is 80"]),
        ("doc[k] > 0", doc("i33[80]"), "table `doc`", &["i33[80]"]),
        ("doc[k] > 0", doc("i32"), "table `doc`", &["i32"]),
        ("doc[k] > 0", doc("i32[80,]"), "table `doc`", &["i32[80,]"]),
        ("doc[k] > 0", json!({"doc": 5}), "table `doc`", &["5"]),
        ("doc[k] > 0", json!(["doc"]), "tables", &["object"]),
        ("v[k] > 0", json!({"v": "i32[80]"}), "v", &["got that of two tensors"]),
    ] {
        let options = json!({"mask": mask, "tables": tables});
        let text = options.to_string();
        says(&complaint(options)?, argument, words).with_context(|| text)?;
    }
    Ok(())
}

#[test]
fn other_options_that_make_no_sense_are_errors_that_name_them() -> Result<()> {
    for (options, argument, words) in [
        (json!({"maks": "causal"}), "maks", &["score", "block_mask", "did you mean `mask`?"][..]),
        (json!({"mask": 3}), "mask", &["a mask is a bool, this is a number"]),
        (json!({"mask": [3]}), "mask", &["text", "3"]),
        (json!({"score": true}), "score", &["a score is a number, this is a bool"]),
        (json!({"scale": 1e-300}), "scale", &["f32"]),
        (json!({"scale": 1e39}), "scale", &["f32"]),
        (json!({"qk_norm": "l1"}), "qk_norm", &["l2", "l1"]),
        (json!({"qk_nrom": "l2"}), "qk_nrom", &["did you mean `qk_norm`?"]),
        (json!({"scale": true}), "scale", &["number"]),
        (json!({"scale": "2 m"}), "scale", &["2 m"]),
        (json!({"lse": 1}), "lse", &["true or false"]),
        (json!({"layout": "bdht"}), "layout", &["bhtd", "bdht"]),
        (json!({"dtype": "i32"}), "dtype", &["f32"]),
        (json!({"sink_logits": "q"}), "q", &["got that of two tensors"]),
        (json!({"scale": "x", "sink_logits": "x"}), "x", &["different names", "got `x` for both"]),
        (json!({"block_mask": 5}), "block_mask", &["q_block", "5"]),
        (json!({"block_mask": {"kv_block": 64, "random": 0.5}}), "block_mask", &["q_block"]),
        (json!({"block_mask": {"q_block": 64, "kv_block": 64}}), "block_mask", &["row_ptr"]),
        (json!({"block_mask": {"q_block": 0, "kv_block": 64, "random": 0.5}}), "q_block", &["got 0"]),
        (
            json!({"block_mask": {"q_block": 64, "kv_block": 64, "randm": 0.5}}),
            "block_mask",
            &["randm", "did you mean `random`?"],
        ),
        (
            json!({"block_mask": {"q_block": 64, "kv_block": 64, "random": 0.5, "heads": 3}}),
            "block_mask",
            &["heads", "3"],
        ),
        // Refused before lists for so many heads are made.
        (
            json!({"block_mask": {"q_block": 16, "kv_block": 16, "random": 0.5, "heads": 2_097_152}}),
            "block_mask",
            &["heads", "2097152"],
        ),
    ] {
        let text = options.to_string();
        says(&complaint(options)?, argument, words).with_context(|| text)?;
    }
    Ok(())
}

/// The error of lists over 2 blocks of 32 queries and 3 blocks of 32 keys.
fn complaint_of_lists(row_ptr: TensorData, partial: Option<Vec<i32>>, index: TensorData) -> Result<Error> {
    let one = |data: TensorData| HostTensor::new(vec![data.len()], data);
    let dense = |len: usize| HostTensor::new(vec![1, 2, len, 4], TensorData::F32(vec![0.0; 8 * len]));
    let mut tensors = vec![
        ("q".to_owned(), dense(64)?),
        ("k".to_owned(), dense(80)?),
        ("v".to_owned(), dense(80)?),
        ("rows".to_owned(), one(row_ptr)?),
        ("blocks".to_owned(), one(index)?),
    ];
    let mut lists = json!({"q_block": 32, "kv_block": 32, "row_ptr": "rows", "index": "blocks"});
    if let Some(partial) = partial {
        tensors.push(("tested".to_owned(), one(TensorData::I32(partial))?));
        lists["partial"] = json!("tested");
    }
    let options = object(json!({"block_mask": lists}));
    operator("attention")?.problem(&options, &tensors).err().context("these lists were taken")
}

#[test]
fn lists_of_blocks_that_make_no_sense_are_errors_that_say_where() -> Result<()> {
    let ints = |values: &[i32]| TensorData::I32(values.to_vec());
    let (rows, blocks) = (|| ints(&[0, 2, 3]), || ints(&[0, 2, 1]));
    let floats = TensorData::F32(vec![0.0, 2.0, 3.0]);
    for (row_ptr, partial, index, argument, words) in [
        (ints(&[0, 2]), None, blocks(), "row_ptr", &["got 2"][..]),
        (ints(&[0, 2, 3, 3]), None, blocks(), "row_ptr", &["got 4"]),
        (ints(&[1, 2, 3]), None, blocks(), "row_ptr", &["at 0", "expected 0", "got 1"]),
        (ints(&[0, 2, 4]), None, blocks(), "row_ptr", &["at 2", "length of index, 3", "got 4"]),
        (ints(&[0, 4, 3]), None, blocks(), "row_ptr", &["at 1", "got 4"]),
        (ints(&[0, -2, 3]), None, blocks(), "row_ptr", &["at 1", "got -2"]),
        (floats, None, blocks(), "row_ptr", &["integers"]),
        (rows(), None, ints(&[2, 0, 1]), "index", &["at 1", "ascending", "row 0", "got 0"]),
        (rows(), None, ints(&[1, 1, 1]), "index", &["at 1", "each block once", "got 1"]),
        (rows(), None, ints(&[0, 3, 1]), "index", &["at 1", "0 to 2", "got 3"]),
        (rows(), None, ints(&[0, 2, -1]), "index", &["at 2", "got -1"]),
        (rows(), Some(vec![1]), blocks(), "partial", &["expected 2", "got 1"]),
        (rows(), Some(vec![0, 2]), blocks(), "partial", &["at 1", "at most 1", "got 2"]),
        (rows(), Some(vec![1, 0]), ints(&[1, 1, 1]), "index", &["at 1", "partial already"]),
    ] {
        let text = format!("{row_ptr:?} {partial:?} {index:?}");
        let error = complaint_of_lists(row_ptr, partial, index).with_context(|| text.clone())?;
        says(&error, argument, words).with_context(|| text)?;
    }
    let missing =
        json!({"block_mask": {"q_block": 32, "kv_block": 32, "row_ptr": "rows", "index": "blocks"}});
    says(&complaint(missing)?, "block_mask", &["rows", "missing"])
}
