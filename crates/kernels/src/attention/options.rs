//! The options of attention, as files and command lines carry them.

use serde_json::{Value, json};

use super::{
    Attention, Mask, Pages, Precision, QkNorm, Quantised, Scale, block_option, mask::describe_table,
};
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
        name_row!(
            "cu_seqlens_q",
            cu_seqlens_q,
            "a tensor [S + 1] of i32, rising from 0: S sequences of queries lie one after the other, q and o are [1, H, Tq, D]; of a \
             shape, B is S",
            "packed queries"
        ),
        name_row!(
            "cu_seqlens_k",
            cu_seqlens_k,
            "the same of keys and values, [1, G, Tk, D]; may be the tensor of cu_seqlens_q",
            "packed keys"
        ),
        row(
            "block_table",
            "NAME",
            "a tensor [B, Tk / page] of i32: k and v lie in pages, [pages, G, page, D] or [pages, page, G, D] as the layout says; -1 is \
             no page",
            |spec, input| {
                let name = input.text()?.to_owned();
                let (page, count) = spec.pages.take().map_or((0, 0), |pages| (pages.page, pages.count));
                spec.pages = Some(Pages::new(name, page, count));
                Ok(())
            },
            |spec| spec.pages.as_ref().map(|pages| json!(pages.block_table)),
            |spec| spec.pages.as_ref().map(|pages| format!("pages of {}", pages.page)),
        ),
        row(
            "page",
            "N",
            "keys of a page: a multiple of 16 (default: as k has them, or 16)",
            |spec, input| parse_of_pages(spec, input, |pages| &mut pages.page),
            |spec| spec.pages.as_ref().map(|pages| json!(pages.page)),
            untold,
        ),
        row(
            "pages",
            "N",
            "pages that there are (default: as k has them, or as many as all entries have room for)",
            |spec, input| parse_of_pages(spec, input, |pages| &mut pages.count),
            |spec| spec.pages.as_ref().map(|pages| json!(pages.count)),
            untold,
        ),
        row(
            "k_scale",
            "NAME",
            "a tensor [B, G, ceil(Tk / quant_block)] of f32: k holds integers, i8 or two i4 in a byte, and a key is scale times integer",
            |spec, input| quantised(spec, input).map(|(quantised, name)| quantised.k_scale = name),
            |spec| spec.quantised.as_ref().map(|quantised| json!(quantised.k_scale)),
            untold,
        ),
        row(
            "v_scale",
            "NAME",
            "the same of v; given with k_scale",
            |spec, input| quantised(spec, input).map(|(quantised, name)| quantised.v_scale = name),
            |spec| spec.quantised.as_ref().map(|quantised| json!(quantised.v_scale)),
            untold,
        ),
        row(
            "quant_block",
            "N",
            "keys that share a scale, by their positions (default: 64)",
            |spec, input| {
                let block = input.count()?;
                of_scales(spec, input)?.block = block;
                Ok(())
            },
            |spec| spec.quantised.as_ref().filter(|of| of.block != 64).map(|of| json!(of.block)),
            |spec| {
                spec.quantised
                    .as_ref()
                    .map(|of| format!("{} keys and values, a scale for {}", of.integers, of.block))
            },
        ),
        row(
            "quant_blocks",
            "N",
            "scales a key/value head (default: as k_scale has them, or as many as Tk keys need)",
            |spec, input| {
                let number = input.count()?;
                let given = input.given.tensors.is_some();
                let of = of_scales(spec, input)?;
                match of.blocks.filter(|_| given) {
                    Some(blocks) if blocks != number => {
                        Err(input.expected(&format!("{blocks} as in k_scale")))
                    }
                    _ => {
                        of.blocks = Some(number);
                        Ok(())
                    }
                }
            },
            |spec| spec.quantised.as_ref().and_then(|of| of.blocks).map(|blocks| json!(blocks)),
            untold,
        ),
        row(
            "kv_dtype",
            "i8|i4",
            "how the integers of k and v are stored where no tensors are given (default: as k has them, or i8)",
            |spec, input| {
                let integers = input.word()?;
                let given = input.given.tensors.is_some();
                let of = of_scales(spec, input)?;
                if given && of.integers != integers {
                    return Err(input.expected(&of.integers.to_string()));
                }
                of.integers = integers;
                Ok(())
            },
            |spec| spec.quantised.as_ref().map(|of| json!(of.integers.to_string())),
            untold,
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
            "precision",
            "stored|f16",
            "f16 rounds q, k and v to f16 first, so that matrix units can multiply them (default: stored, as they are)",
            |spec, input| {
                spec.precision = match input.text()? {
                    "stored" => Precision::Stored,
                    "f16" => Precision::F16,
                    other => return Err(Error::no_word("precision", &["stored", "f16"], other)),
                };
                Ok(())
            },
            |spec| (spec.precision != Precision::Stored).then(|| json!(spec.precision.to_string())),
            |spec| (spec.precision == Precision::F16).then(|| "rounded to f16".to_owned()),
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
        if let Some(pages) = &mut self.pages {
            if pages.page == 0 {
                pages.page = 16;
            }
            if pages.count == 0 {
                pages.count = self.batch.saturating_mul(self.kv_len.div_ceil(pages.page));
            }
        }
        // The usual number goes without saying.
        let usual = self.quantised.as_ref().map(|of| self.kv_len.div_ceil(of.block.max(1)));
        if let Some(quantised) = &mut self.quantised {
            quantised.blocks = quantised.blocks.filter(|&blocks| Some(blocks) != usual);
            for (name, scale) in [("k_scale", &quantised.k_scale), ("v_scale", &quantised.v_scale)] {
                if scale.is_empty() {
                    let message = "expected scales of k and of v, got one of them";
                    return Err(Error::invalid(name, message));
                }
            }
        }
        self.tables = block_option::tables(self, given)?;
        Ok(())
    }
}

/// A number of pages, which tensors that are there have already.
fn parse_of_pages(
    spec: &mut Attention,
    input: &Input<'_>,
    field: fn(&mut Pages) -> &mut usize,
) -> Result<(), Error> {
    let number = input.count()?;
    let given = input.given.tensors.is_some();
    let Some(pages) = &mut spec.pages else {
        return Err(Error::invalid(input.name, "is about pages, which `block_table` names"));
    };
    let field = field(pages);
    if given && *field != number {
        return Err(input.expected(&format!("{field} as in k")));
    }
    if number == 0 {
        return Err(input.expected("at least 1"));
    }
    *field = number;
    Ok(())
}

/// The scales, of which one is named, and its name.
fn quantised<'s>(spec: &'s mut Attention, input: &Input<'_>) -> Result<(&'s mut Quantised, String), Error> {
    let name = input.text()?.to_owned();
    Ok((spec.quantised.get_or_insert_with(|| Quantised::new("", "")), name))
}

fn of_scales<'s>(spec: &'s mut Attention, input: &Input<'_>) -> Result<&'s mut Quantised, Error> {
    let missing =
        || Error::invalid(input.name, "is about integers, whose scales `k_scale` and `v_scale` name");
    spec.quantised.as_mut().ok_or_else(missing)
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
