//! The options that name tables and lists of blocks.

use serde_json::{Map, Value, json};

use super::{Attention, DeviceBlockMask, Mask, TableInput, mask::parse_table};
use crate::{
    Dtype, Error, HostTensor, TensorData,
    block_mask::{BlockGrid, BlockMask, Listed},
    expr::Table,
    spec::options::{Arguments, Input, check_fields},
    suggest::did_you_mean,
};

/// The tables that the expressions name: as the tensors are, or else as the option `tables` says.
pub(super) fn tables(spec: &Attention, given: &Arguments<'_>) -> Result<Vec<TableInput>, Error> {
    let declared = match given.option("tables") {
        None => Map::new(),
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
        let table = match (given.tensor(name), declared.get(name)) {
            (Some(tensor), _) => {
                // Lengths are i32, also where another option reads the same tensor.
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
                let mut held: Vec<&str> =
                    given.tensors.unwrap_or_default().iter().map(|(name, _)| name.as_str()).collect();
                held.extend(declared.keys().map(String::as_str));
                let message = if held.is_empty() {
                    "an expression reads it, but no tables are given: say its type and sizes with the option `tables`".to_owned()
                } else {
                    format!(
                        "an expression reads it, but it is missing; given are {}{}",
                        held.join(", "),
                        did_you_mean(name, held.iter().copied())
                    )
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

/// Reads the option `block_mask`: lists, or the names of those that lie on the device.
pub(super) fn parse(spec: &mut Attention, input: &Input<'_>) -> Result<(), Error> {
    if input.value.get("counts").is_some() || input.value.get("indices").is_some() {
        spec.sparsity = listed(spec, input)?.into();
    } else {
        spec.sparsity = blocks(spec, input)?.into();
        spec.blocks_option = Some(input.value.clone());
    }
    Ok(())
}

/// The option `block_mask`, if lists were read from it or lie on the device.
pub(super) fn print(spec: &Attention) -> Option<Value> {
    let Some(DeviceBlockMask { q_block, kv_block, max_blocks, batch, heads, num_blocks, indices }) =
        spec.device_blocks()
    else {
        return spec.blocks_option.clone();
    };
    Some(json!({ "q_block": q_block, "kv_block": kv_block, "counts": num_blocks, "indices": indices,
        "most": max_blocks, "batch": batch, "heads": heads }))
}

/// The sizes of blocks.
pub(super) fn describe(spec: &Attention) -> Option<String> {
    if let Some(listed) = spec.device_blocks() {
        return Some(format!("blocks {}x{} listed on the device", listed.q_block, listed.kv_block));
    }
    spec.host_blocks().map(|blocks| format!("blocks {}x{}", blocks.q_block(), blocks.kv_block()))
}

/// The lists that the option `block_mask` describes.
fn blocks(spec: &Attention, input: &Input<'_>) -> Result<BlockMask, Error> {
    const KNOWN: [&str; 10] = [
        "q_block", "kv_block", "row_ptr", "index", "partial", "random", "big_bird", "seed", "batch", "heads",
    ];
    let wrong = |message: String| Error::invalid("block_mask", message);
    let Some(fields) = input.value.as_object() else {
        return Err(input.expected(&format!("an object with {}", KNOWN.join(", "))));
    };
    check_fields("block_mask", fields, &KNOWN)?;
    let count = |name: &str, default: Option<usize>| {
        let whole = fields.get(name).map(|value| value.as_u64().and_then(|x| usize::try_from(x).ok()));
        match (whole, default) {
            (Some(Some(x)), _) => Ok(x),
            (None, Some(default)) => Ok(default),
            _ => Err(wrong(format!("expected a whole number as `{name}`, got {}", told(fields.get(name))))),
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
        let found = input.given.tensor(of);
        found.map(Some).ok_or_else(|| wrong(format!("`{name}` is the tensor `{of}`, which is missing")))
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
fn listed(spec: &Attention, input: &Input<'_>) -> Result<DeviceBlockMask, Error> {
    const KNOWN: [&str; 7] = ["q_block", "kv_block", "counts", "indices", "most", "batch", "heads"];
    let wrong = |message: String| Error::invalid("block_mask", message);
    let fields = input.value.as_object().cloned().unwrap_or_default();
    check_fields("block_mask", &fields, &KNOWN)?;
    let count = |name: &str, default: Option<usize>| {
        let whole = fields.get(name).map(|value| value.as_u64().and_then(|x| usize::try_from(x).ok()));
        whole.unwrap_or(default).ok_or_else(|| {
            wrong(format!("expected a whole number as `{name}`, got {}", told(fields.get(name))))
        })
    };
    let name = |name: &str| {
        let given = fields.get(name).and_then(Value::as_str).map(str::to_owned);
        given.ok_or_else(|| {
            wrong(format!("expected a tensor's name as `{name}`, got {}", told(fields.get(name))))
        })
    };
    let (counts, indices) = (name("counts")?, name("indices")?);
    let (q_block, kv_block) = (count("q_block", None)?, count("kv_block", None)?);
    let (batch, heads, max) = match input.given.tensor(&indices).map(HostTensor::shape) {
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
    Ok(DeviceBlockMask { q_block, kv_block, max_blocks: max, batch, heads, num_blocks: counts, indices })
}

/// The lists with all blocks partial, if there is an expression that says what they hide.
fn tested(spec: &Attention, lists: BlockMask) -> BlockMask {
    if spec.mask == Mask::None { lists } else { lists.all_tested() }
}

/// A field's value, or that it is not there.
fn told(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
