//! The options of attention, as files and command lines carry them.

use serde_json::{Value, json};

use super::{Attention, Mask, QkNorm, Scale, block_option, mask::describe_table};
use crate::{
    Dtype, Error,
    expr::Expr,
    spec::options::{Arguments, Input, OptionRow, Options, flag_row, layout_row, name_row, row, untold},
};

impl Options for Attention {
    const OPERATOR: &'static str = "attention";

    const OPTIONS: &'static [OptionRow<Self>] = &[
        row(
            "mask",
            "EXPR",
            "which keys a query sees: `causal & window(255, 0)`, `same(doc)`, ... (default: all)",
            |spec, input| Mask::parse(&input.expression()?).map(|mask| spec.mask = mask),
            |spec| (spec.mask != Mask::None).then(|| json!(spec.mask.to_string())),
            |spec| (spec.mask != Mask::None).then(|| spec.mask.to_string()),
        ),
        row(
            "score",
            "EXPR",
            "what becomes of the scaled score s: `s + bias[h, q, k]`, `softcap(s, 30.0)`, `alibi(softcap(s, 30.0))` \
             (default: s)",
            |spec, input| {
                let score = Expr::parse_score(&input.expression()?);
                spec.score = Some(score.map_err(|error| error.in_argument("score"))?);
                Ok(())
            },
            |spec| spec.score.as_ref().map(|score| json!(score.to_string())),
            |spec| spec.score.as_ref().map(|score| format!("score {score}")),
        ),
        layout_row!("order of the dimensions of q, k, v and o (default: bhtd)"),
        row(
            "scale",
            "X|NAME",
            "factor of the scores, or the name of a tensor [H] of them (default: 1/sqrt(Dk))",
            parse_scale,
            |spec| match &spec.scale {
                Scale::InverseSqrt => None,
                Scale::Factor(scale) => Some(json!(scale)),
                Scale::PerHead(name) => Some(json!(name)),
            },
            |spec| spec.head_scale().map(|_| "a scale a head".to_owned()),
        ),
        row(
            "qk_norm",
            "l2",
            "divide the rows of q and k by their norms first",
            |spec, input| {
                spec.qk_norm = match input.text()? {
                    "l2" => Some(QkNorm::L2),
                    "none" => None,
                    other => return Err(Error::no_word("qk_norm", &["l2", "none"], other)),
                };
                Ok(())
            },
            |spec| spec.qk_norm.map(|QkNorm::L2| json!("l2")),
            |spec| spec.qk_norm.map(|_| "q and k normalised".to_owned()),
        ),
        name_row!(
            "sink_logits",
            sink_logits,
            "a tensor [H] of logits that enter the softmax denominators, and nothing else",
            "sinks"
        ),
        row(
            "block_mask",
            "JSON",
            "blocks to visit: {\"q_block\":64,\"kv_block\":64,\"row_ptr\":NAME,\"index\":NAME[,\"partial\":NAME]}, or \
             \"random\":DENSITY in place of the names; lists read on the device: {\"q_block\":64,\"kv_block\":64,\"counts\":NAME,\
             \"indices\":NAME[,\"most\":N,\"batch\":B,\"heads\":H]}",
            block_option::parse,
            block_option::print,
            block_option::describe,
        ),
        name_row!(
            "q_len",
            q_lengths,
            "a tensor [B] of i32, read on the device: how many queries each batch entry has, which is `nq` in expressions \
             (default: Tq)",
            "queries counted on the device"
        ),
        name_row!(
            "kv_len",
            kv_lengths,
            "a tensor [B] of i32, read on the device: how many keys each batch entry has, which is `nk` in expressions \
             (default: Tk); may be the tensor of q_len",
            "keys counted on the device"
        ),
        row(
            "splits",
            "auto|N",
            "parts of the keys, each for a workgroup of its own: with a number (1 to 256) a batch entry's bits do not depend on the \
             batch (default: auto, as many as fill the adapter)",
            parse_splits,
            |spec| spec.splits.map(|splits| json!(splits)),
            |spec| spec.splits.map(|splits| format!("{splits} splits")),
        ),
        row(
            "tables",
            "JSON",
            "types and sizes of tables where no tensors are given: {\"doc\":\"i32[1,4096]\"}",
            // Read last: tables are those that expressions name, declared here or not.
            |_, _| Ok(()),
            |spec| {
                let tables = spec.tables.iter().map(|input| &input.table);
                let described = tables.map(|table| (table.name.clone(), json!(describe_table(table))));
                (!spec.tables.is_empty()).then(|| Value::Object(described.collect()))
            },
            untold,
        ),
        flag_row!("lse", lse, false, "compute lse too: ln of the softmax denominators", untold),
    ];

    fn dtype_mut(&mut self) -> &mut Dtype {
        &mut self.dtype
    }

    fn stored_as(&self) -> Dtype {
        self.dtype
    }

    fn complete(&mut self, given: &Arguments<'_>) -> Result<(), Error> {
        self.tables = block_option::tables(self, given)?;
        Ok(())
    }
}

/// A number, the text of one, or `auto`. Whether the number makes sense is a matter of validation.
fn parse_splits(spec: &mut Attention, input: &Input<'_>) -> Result<(), Error> {
    let number = match input.value {
        Value::String(text) if text == "auto" => {
            spec.splits = None;
            return Ok(());
        }
        Value::String(text) => text.parse().ok(),
        value => value.as_u64().and_then(|splits| usize::try_from(splits).ok()),
    };
    spec.splits = Some(number.ok_or_else(|| input.expected("`auto` or a number from 1 to 256"))?);
    Ok(())
}

/// A number, the text of one, or the name of a tensor.
fn parse_scale(spec: &mut Attention, input: &Input<'_>) -> Result<(), Error> {
    let (number, text) = match input.value {
        Value::String(text) => (text.parse().ok(), Some(text)),
        value => (value.as_f64(), None),
    };
    let is_name = |text: &&String| text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match (number, text) {
        (Some(number), _) => spec.scale = number.into(),
        (None, Some(text)) if is_name(&text) => spec.scale = Scale::PerHead(text.clone()),
        (None, Some(text)) => {
            return Err(Error::invalid(
                input.name,
                format!("expected a number or a tensor's name, got `{text}`"),
            ));
        }
        (None, None) => return Err(input.expected("a number or a tensor's name")),
    }
    Ok(())
}
