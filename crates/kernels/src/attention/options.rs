//! The options of attention, as files and command lines carry them.

use serde_json::{Value, json};

use super::{
    Attention, Mask, Pages, Precision, QkNorm, Scale, block_option,
    mask::describe_table,
    option_values::{of_scales, parse_of_pages, parse_rope_of, parse_scale, parse_splits, quantised},
};
use crate::{
    Dtype, Error,
    expr::Expr,
    rope::{BASE, Pairing},
    spec::options::{Arguments, OptionRow, Options, flag_row, layout_row, name_row, row, untold, word},
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
        row(
            "rope",
            "none|halves|pairs",
            "turns elements i and i + d/2, or 2i and 2i + 1, of q and k by their positions: key j is at j, query i at i + nk - nq \
             (default: none)",
            |spec, input| input.word().map(|pairing| spec.rotary.pairing = pairing),
            |spec| word(&spec.rotary.pairing),
            |spec| (spec.rotary.pairing != Pairing::None).then(|| format!("rope {}", spec.rotary.pairing)),
        ),
        row(
            "rope_base",
            "X",
            "base of the frequencies, from 1 to 1e30 (default: 10000)",
            |spec, input| input.number().map(|base| spec.rotary.base = base),
            |spec| {
                let rotary = &spec.rotary;
                let told = rotary.pairing != Pairing::None && rotary.base.to_bits() != BASE.to_bits();
                told.then(|| json!(rotary.base))
            },
            untold,
        ),
        row(
            "rope_dim",
            "N",
            "elements of a row that are turned, even (default: all)",
            |spec, input| input.count().map(|dim| spec.rotary.dim = dim),
            |spec| {
                let rotary = &spec.rotary;
                (rotary.pairing != Pairing::None && rotary.dim != 0).then(|| json!(rotary.dim))
            },
            |spec| {
                let rotary = &spec.rotary;
                (rotary.pairing != Pairing::None && rotary.dim != 0).then(|| format!("of {}", rotary.dim))
            },
        ),
        row(
            "rope_of",
            "qk|q",
            "what is turned; of keys that `append` has turned as it wrote them, q alone (default: qk)",
            parse_rope_of,
            |spec| (spec.rotary.pairing != Pairing::None && !spec.rotary.keys).then(|| json!("q")),
            |spec| (spec.rotary.pairing != Pairing::None && !spec.rotary.keys).then(|| "q alone".to_owned()),
        ),
        row(
            "pos",
            "NAME",
            "a tensor [B, Tq] of i32, of packed queries [1, Tq]: their positions for the rotation (default: i + nk - nq)",
            |spec, input| input.text().map(|name| spec.rotary.positions = Some(name.to_owned())),
            |spec| spec.rotary.positions.as_ref().map(|name| json!(name)),
            |spec| spec.rotary.positions.as_ref().map(|_| "pos".to_owned()),
        ),
        row(
            "k_pos",
            "NAME",
            "the same of keys, [B, Tk] or [1, Tk] (default: 0, 1, ...); may be the tensor of pos",
            |spec, input| input.text().map(|name| spec.rotary.key_positions = Some(name.to_owned())),
            |spec| spec.rotary.key_positions.as_ref().map(|name| json!(name)),
            |spec| spec.rotary.key_positions.as_ref().map(|_| "k_pos".to_owned()),
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
            "q_scale",
            "NAME",
            "a tensor [B, H, ceil(Tq / quant_block)] of f32, given with k_scale: q holds i8, and a query is scale times integer",
            |spec, input| quantised(spec, input).map(|(quantised, name)| quantised.q_scale = Some(name)),
            |spec| spec.q_scale().map(|name| json!(name)),
            |spec| spec.q_scale().map(|_| "i8 queries".to_owned()),
        ),
        row(
            "quant_block",
            "N",
            "keys, or queries, that share a scale, by their numbers in an entry (default: 64)",
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
            "shared_prefix",
            "N",
            "keys, from the first, that are the same for every batch entry, in the same pages: visited once for all of them \
             (default: 0)",
            |spec, input| input.count().map(|keys| spec.shared_prefix = keys),
            |spec| (spec.shared_prefix > 0).then(|| json!(spec.shared_prefix)),
            |spec| (spec.shared_prefix > 0).then(|| format!("{} keys shared", spec.shared_prefix)),
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
        let turned = self.rotary.pairing != Pairing::None;
        for name in ["rope_base", "rope_dim", "rope_of", "pos", "k_pos"] {
            if let Some(input) = given.input(name).filter(|_| !turned) {
                return Err(input.expected("nothing without the option `rope`"));
            }
        }
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
            if quantised.k_scale.is_empty() && quantised.v_scale.is_empty() {
                let message = "expected k_scale and v_scale beside it, got neither";
                return Err(Error::invalid("q_scale", message));
            }
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
