//! The options of attention, as files and command lines carry them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    Attention, Layout, DeviceBlockMask, Mask, QkNorm, TableInput,
    mask::{describe_table, parse_table},
};
use crate::{
    Dtype, Error, HostTensor, OptionSpec, TensorData,
    block_mask::{BlockGrid, BlockMask, Listed},
    expr::{Expr, Table},
    read::{expression, text},
};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "mask",
        value: "EXPR",
        help: "which keys a query sees: `causal & window(255, 0)`, `same(doc)`, ... (default: all)",
    },
    OptionSpec {
        name: "score",
        value: "EXPR",
        help: "what becomes of the scaled score s: `s + bias[h, q, k]`, `softcap(s, 30.0)`, `alibi(softcap(s, 30.0))` \
               (default: s)",
    },
    OptionSpec {
        name: "layout",
        value: "bhtd|bthd",
        help: "order of the dimensions of q, k, v and o (default: bhtd)",
    },
    OptionSpec {
        name: "scale",
        value: "X|NAME",
        help: "factor of the scores, or the name of a tensor [H] of them (default: 1/sqrt(Dk))",
    },
    OptionSpec { name: "qk_norm", value: "l2", help: "divide the rows of q and k by their norms first" },
    OptionSpec {
        name: "sink_logits",
        value: "NAME",
        help: "a tensor [H] of logits that enter the softmax denominators, and nothing else",
    },
    OptionSpec {
        name: "block_mask",
        value: "JSON",
        help: "blocks to visit: {\"q_block\":64,\"kv_block\":64,\"row_ptr\":NAME,\"index\":NAME[,\"partial\":NAME]}, or \
               \"random\":DENSITY in place of the names; lists read on the device: {\"q_block\":64,\"kv_block\":64,\"counts\":NAME,\
               \"indices\":NAME[,\"most\":N,\"batch\":B,\"heads\":H]}",
    },
    OptionSpec {
        name: "q_len",
        value: "NAME",
        help: "a tensor [B] of i32, read on the device: how many queries each batch entry has, which is `nq` in expressions \
               (default: Tq)",
    },
    OptionSpec {
        name: "kv_len",
        value: "NAME",
        help: "a tensor [B] of i32, read on the device: how many keys each batch entry has, which is `nk` in expressions \
               (default: Tk); may be the tensor of q_len",
    },
    OptionSpec {
        name: "tables",
        value: "JSON",
        help: "types and sizes of tables where no tensors are given: {\"doc\":\"i32[1,4096]\"}",
    },
    OptionSpec { name: "lse", value: "", help: "compute lse too: ln of the softmax denominators" },
];

/// The problem with these options. Tables and lists are found among `tensors`, where there are any.
pub(super) fn with_options(
    mut spec: Attention,
    options: &Map<String, Value>,
    tensors: Option<&[(String, HostTensor)]>,
) -> Result<Attention, Error> {
    for (name, value) in options {
        match (name.as_str(), value) {
            ("op" | "block_mask" | "tables", _) | (_, Value::Null) => {}
            ("layout", _) => spec.layout = text(options, "layout")?.map_or(Ok(Layout::Bhtd), str::parse)?,
            ("mask", _) => {
                spec.mask = expression(options, "mask")?.map_or(Ok(Mask::None), |text| Mask::parse(&text))?;
            }
            ("score", _) => {
                let score = expression(options, "score")?.map(|text| Expr::parse_score(&text)).transpose();
                spec.score = score.map_err(|error| error.in_argument("score"))?;
            }
            ("dtype", _) => spec.dtype = text(options, "dtype")?.map_or(Ok(Dtype::F32), str::parse)?,
            ("scale", value) => match number("scale", value)? {
                Scale::Number(scale) => spec.scale = Some(scale),
                Scale::Tensor(name) => spec.head_scale = Some(name),
            },
            ("qk_norm", _) => {
                spec.qk_norm = match text(options, "qk_norm")? {
                    Some("l2") => Some(QkNorm::L2),
                    Some("none") | None => None,
                    Some(other) => {
                        return Err(Error::invalid("qk_norm", format!("expected l2 or none, got `{other}`")));
                    }
                }
            }
            ("q_len", _) => spec.q_lengths = text(options, "q_len")?.map(str::to_owned),
            ("kv_len", _) => spec.kv_lengths = text(options, "kv_len")?.map(str::to_owned),
            ("sink_logits", _) => spec.sink_logits = text(options, "sink_logits")?.map(str::to_owned),
            ("lse", Value::Bool(wanted)) => spec.lse = *wanted,
            ("lse", other) => {
                return Err(Error::invalid("lse", format!("expected true or false, got {other}")));
            }
            (name, _) => {
                let known: Vec<&str> = OPTIONS.iter().map(|option| option.name).collect();
                return Err(Error::invalid(
                    name,
                    format!("not an option of attention: {}", known.join(", ")),
                ));
            }
        }
    }
    spec.tables = tables(&spec, options, tensors)?;
    let on_device = |value: &Value| value.get("counts").is_some() || value.get("indices").is_some();
    if let Some(value) = options.get("block_mask").filter(|value| on_device(value)) {
        spec.listed = Some(listed(&spec, value, tensors)?);
    } else if let Some(value) = options.get("block_mask").filter(|value| !value.is_null()) {
        spec.blocks = Some(Arc::new(blocks(&spec, value, tensors)?));
        spec.blocks_option = Some(value.clone());
    }
    Ok(spec)
}

/// The options that a problem would be read from.
pub(super) fn options_of(spec: &Attention) -> Map<String, Value> {
    let mut options = Map::new();
    let mut put = |name: &str, value: Value| options.insert(name.to_owned(), value);
    put("op", json!("attention"));
    if spec.mask != Mask::None {
        put("mask", json!(spec.mask.to_string()));
    }
    if let Some(score) = &spec.score {
        put("score", json!(score.to_string()));
    }
    put("layout", json!(spec.layout.to_string()));
    if let Some(scale) = spec.scale {
        put("scale", json!(scale));
    }
    if let Some(name) = &spec.head_scale {
        put("scale", json!(name));
    }
    if let Some(QkNorm::L2) = spec.qk_norm {
        put("qk_norm", json!("l2"));
    }
    if let Some(name) = &spec.sink_logits {
        put("sink_logits", json!(name));
    }
    if let Some(value) = &spec.blocks_option {
        put("block_mask", value.clone());
    }
    if let Some(DeviceBlockMask { q_block, kv_block, max, batch, heads, counts, indices }) = &spec.listed {
        put(
            "block_mask",
            json!({ "q_block": q_block, "kv_block": kv_block, "counts": counts, "indices": indices,
                "most": max, "batch": batch, "heads": heads }),
        );
    }
    for (name, lengths) in [("q_len", &spec.q_lengths), ("kv_len", &spec.kv_lengths)] {
        if let Some(lengths) = lengths {
            put(name, json!(lengths));
        }
    }
    if !spec.tables.is_empty() {
        let of = |input: &TableInput| (input.table.name.clone(), json!(describe_table(&input.table)));
        put("tables", Value::Object(spec.tables.iter().map(of).collect()));
    }
    if spec.lse {
        put("lse", json!(true));
    }
    if spec.dtype != Dtype::F32 {
        put("dtype", json!(spec.dtype.to_string()));
    }
    options
}

/// The tables that the expressions name: as the tensors are, or else as the option `tables` says.
fn tables(
    spec: &Attention,
    options: &Map<String, Value>,
    tensors: Option<&[(String, HostTensor)]>,
) -> Result<Vec<TableInput>, Error> {
    let declared = match options.get("tables") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(declared)) => declared.clone(),
        Some(other) => {
            let message = format!("expected an object such as {{\"doc\":\"i32[1,200]\"}}, got {other}");
            return Err(Error::invalid("tables", message));
        }
    };
    let mut names: Vec<&str> = Vec::new();
    for expr in spec.mask.expression().into_iter().chain(&spec.score) {
        names.extend(expr.table_names());
    }
    let mut found: Vec<TableInput> = Vec::new();
    for name in names {
        if found.iter().any(|input| input.table.name == name) {
            continue;
        }
        let given = tensors.and_then(|tensors| tensors.iter().find(|(given, _)| given == name));
        let table = match (given, declared.get(name)) {
            (Some((_, tensor)), _) => {
                // Lengths are i32, whoever else reads them.
                let length = [&spec.q_lengths, &spec.kv_lengths].iter().any(|of| of.as_deref() == Some(name));
                let dtype = if length { Dtype::I32 } else { table_dtype(tensor) };
                Table::new(name, dtype, tensor.shape().to_vec())
            }
            (None, Some(Value::String(text))) => parse_table(name, text)?,
            (None, Some(other)) => {
                let message = format!("expected text such as \"i32[1,200]\", got {other}");
                return Err(Error::invalid(format!("table `{name}`"), message));
            }
            (None, None) => {
                let mut given: Vec<&str> =
                    tensors.unwrap_or_default().iter().map(|(name, _)| name.as_str()).collect();
                given.extend(declared.keys().map(String::as_str));
                let message = if given.is_empty() {
                    "an expression reads it, but no tables are given: say its type and sizes with the option `tables`".to_owned()
                } else {
                    format!("an expression reads it, but it is missing; given are {}", given.join(", "))
                };
                return Err(Error::invalid(format!("table `{name}`"), message));
            }
        };
        found.push(TableInput::new(table));
    }
    Ok(found)
}

/// How the device stores a tensor's elements.
fn table_dtype(tensor: &HostTensor) -> Dtype {
    tensor.dtype().unwrap_or(match tensor.data() {
        TensorData::I64(_) => Dtype::I32,
        _ => Dtype::F32,
    })
}

/// The lists that the option `block_mask` describes.
fn blocks(
    spec: &Attention,
    value: &Value,
    tensors: Option<&[(String, HostTensor)]>,
) -> Result<BlockMask, Error> {
    const KNOWN: [&str; 10] = [
        "q_block", "kv_block", "row_ptr", "index", "partial", "random", "big_bird", "seed", "batch", "heads",
    ];
    let wrong = |message: String| Error::invalid("block_mask", message);
    let Some(fields) = value.as_object() else {
        return Err(wrong(format!("expected an object with {}, got {value}", KNOWN.join(", "))));
    };
    if let Some(unknown) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(wrong(format!("`{unknown}` is none of {}", KNOWN.join(", "))));
    }
    let count = |name: &str, default: Option<usize>| {
        let whole = fields.get(name).map(|value| value.as_u64().and_then(|x| usize::try_from(x).ok()));
        match (whole, default) {
            (Some(Some(x)), _) => Ok(x),
            (None, Some(default)) => Ok(default),
            _ => Err(wrong(format!("expected a whole number as `{name}`, got {:?}", fields.get(name)))),
        }
    };
    let plain = BlockGrid::new(spec.q_len, spec.kv_len, count("q_block", None)?, count("kv_block", None)?);
    // Made only once it is known that they fit.
    let grid = |batch: usize, heads: usize| {
        let grid = plain.per(batch, heads);
        grid.fits(&spec.expr_sizes()).map(|()| grid)
    };
    if let Some(density) = fields.get("random") {
        let density = density.as_f64().ok_or_else(|| wrong(format!("expected a density, got {density}")))?;
        let grid = grid(count("batch", Some(1))?, count("heads", Some(spec.q_heads))?)?;
        return Ok(tested(spec, BlockMask::random(grid, density, count("seed", Some(0))? as u64)?));
    }
    if let Some(counts) = fields.get("big_bird") {
        let counts: Option<Vec<usize>> = serde_json::from_value(counts.clone()).ok();
        let Some(&[window, global, random]) = counts.as_deref() else {
            return Err(wrong(
                "expected `big_bird` as numbers of blocks: [window, global, random]".to_owned(),
            ));
        };
        let grid = grid(count("batch", Some(1))?, count("heads", Some(spec.q_heads))?)?;
        let seed = count("seed", Some(0))? as u64;
        return Ok(tested(spec, BlockMask::big_bird(grid, window, global, random, seed)?));
    }
    let tensor = |name: &str| {
        let Some(field) = fields.get(name) else { return Ok::<_, Error>(None) };
        let of = field
            .as_str()
            .ok_or_else(|| wrong(format!("expected a tensor's name as `{name}`, got {field}")))?;
        let found = tensors.unwrap_or_default().iter().find(|(given, _)| given == of);
        let found = found.ok_or_else(|| wrong(format!("`{name}` is the tensor `{of}`, which is missing")))?;
        Ok(Some(&found.1))
    };
    let needed = |name: &str| tensor(name)?.ok_or_else(|| wrong(format!("`{name}` is missing")));
    let (row_ptr, index, partial) = (needed("row_ptr")?, needed("index")?, tensor("partial")?);
    // Whose lists they are shows in how many there are.
    let rows = row_ptr.len().saturating_sub(1);
    let shapes = [(1, 1), (1, spec.q_heads), (spec.batch, spec.q_heads), (spec.batch, 1)];
    let (batch, heads) = match (fields.get("batch"), fields.get("heads")) {
        (None, None) => shapes
            .into_iter()
            .find(|&(batch, heads)| plain.per(batch, heads).rows() == rows)
            .unwrap_or((spec.batch, spec.q_heads)),
        _ => (count("batch", Some(1))?, count("heads", Some(1))?),
    };
    let listed = if spec.mask == Mask::None { Listed::Full } else { Listed::Tested };
    BlockMask::from_tensors(grid(batch, heads)?, row_ptr, partial, index, listed)
}

/// The lists on the device that the option `block_mask` describes: as the tensors are, or else as it says.
fn listed(
    spec: &Attention,
    value: &Value,
    tensors: Option<&[(String, HostTensor)]>,
) -> Result<DeviceBlockMask, Error> {
    const KNOWN: [&str; 7] = ["q_block", "kv_block", "counts", "indices", "most", "batch", "heads"];
    let wrong = |message: String| Error::invalid("block_mask", message);
    let fields = value.as_object().cloned().unwrap_or_default();
    if let Some(unknown) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(wrong(format!("`{unknown}` is none of {}", KNOWN.join(", "))));
    }
    let count = |name: &str, default: Option<usize>| {
        let whole = fields.get(name).map(|value| value.as_u64().and_then(|x| usize::try_from(x).ok()));
        whole
            .unwrap_or(default)
            .ok_or_else(|| wrong(format!("expected a whole number as `{name}`, got {:?}", fields.get(name))))
    };
    let name = |name: &str| {
        let given = fields.get(name).and_then(Value::as_str).map(str::to_owned);
        given
            .ok_or_else(|| wrong(format!("expected a tensor's name as `{name}`, got {:?}", fields.get(name))))
    };
    let (counts, indices) = (name("counts")?, name("indices")?);
    let (q_block, kv_block) = (count("q_block", None)?, count("kv_block", None)?);
    let given = tensors.and_then(|tensors| tensors.iter().find(|(name, _)| *name == indices));
    let (batch, heads, max) = match given.map(|(_, tensor)| tensor.shape()) {
        Some(&[batch, heads, _, max]) => (batch, heads, max),
        Some(other) => {
            let message = format!("expected the sizes of 4 dimensions, got {other:?}");
            return Err(Error::invalid(indices.as_str(), message));
        }
        None => {
            let all = spec.kv_len.div_ceil(kv_block.max(1));
            (count("batch", Some(1))?, count("heads", Some(1))?, count("most", Some(all))?)
        }
    };
    Ok(DeviceBlockMask { q_block, kv_block, max, batch, heads, counts, indices })
}

/// The lists with all blocks partial, if there is an expression that says what they hide.
fn tested(spec: &Attention, lists: BlockMask) -> BlockMask {
    if spec.mask == Mask::None { lists } else { lists.all_tested() }
}

enum Scale {
    Number(f64),
    Tensor(String),
}

/// A number, the text of one, or the name of a tensor.
fn number(name: &str, value: &Value) -> Result<Scale, Error> {
    match value {
        Value::Number(number) => {
            let number =
                number.as_f64().ok_or_else(|| Error::invalid(name, format!("{number} is out of range")))?;
            Ok(Scale::Number(number))
        }
        Value::String(text) => match text.parse() {
            Ok(number) => Ok(Scale::Number(number)),
            Err(_) if text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => {
                Ok(Scale::Tensor(text.clone()))
            }
            Err(_) => {
                Err(Error::invalid(name, format!("expected a number or a tensor's name, got `{text}`")))
            }
        },
        other => Err(Error::invalid(name, format!("expected a number or a tensor's name, got {other}"))),
    }
}
