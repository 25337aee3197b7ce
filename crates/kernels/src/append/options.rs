//! The option table.

use serde_json::json;

use super::{Append, CacheDtype, QUANT_BLOCK};
use crate::{
    Dtype, Error,
    rope::{BASE, Pairing},
    spec::options::{Arguments, OptionRow, Options, flag_row, layout_row, name_row, row, untold, word},
};

impl Options for Append {
    const OPERATOR: &'static str = "append";

    const OPTIONS: &'static [OptionRow<Self>] = &[
        layout_row!("order of the dimensions of k, v and the caches (default: bhtd)"),
        row(
            "kv_dtype",
            "f32|f16|bf16|i8|i4",
            "storage of the caches (default: that of k and v)",
            |spec, input| input.word().map(|dtype| spec.kv_dtype = Some(dtype)),
            |spec| spec.kv_dtype.map(|dtype| json!(dtype.to_string())),
            |spec| spec.kv_dtype.map(|dtype| format!("to {dtype}")),
        ),
        flag_row!("ring", ring, false, "a position's slot is its remainder by the capacity", |spec| {
            spec.ring.then(|| "ring".to_owned())
        }),
        name_row!(
            "kv_len",
            kv_lengths,
            "a tensor [B] of i32: rows of each entry, the new ones included (default: the new ones alone)",
            "kv_len"
        ),
        name_row!(
            "q_len",
            q_lengths,
            "a tensor [B] of i32: new rows of each entry (default: all T)",
            "q_len"
        ),
        name_row!(
            "block_table",
            block_table,
            "a tensor [B, n] of i32: the pages of each entry, -1 for none",
            "pages"
        ),
        row(
            "page",
            "N",
            "slots of a page: a multiple of 16 (default: 16, or as the caches have them)",
            |spec, input| input.count().map(|page| spec.page = page),
            |spec| spec.block_table.as_ref().map(|_| json!(spec.page)),
            |spec| spec.block_table.as_ref().map(|_| format!("of {}", spec.page)),
        ),
        row(
            "pages",
            "N",
            "pages of the pools (default: one for each place of the table, or as the caches have them)",
            |spec, input| input.count().map(|pages| spec.pages = pages),
            |spec| (spec.block_table.is_some() && spec.pages != 0).then(|| json!(spec.pages)),
            untold,
        ),
        name_row!(
            "k_scale",
            k_scale,
            "a tensor [B, G, ceil(S / quant_block)] of f32: the scales of a quantised cache of keys",
            "scales"
        ),
        name_row!("v_scale", v_scale, "the same of values", "both"),
        row(
            "quant_block",
            "N",
            "slots that share a scale, from 1 to 1024 (default: 64)",
            |spec, input| input.count().map(|size| spec.quant_block = size),
            |spec| {
                (spec.k_scale.is_some() && spec.quant_block != QUANT_BLOCK).then(|| json!(spec.quant_block))
            },
            |spec| {
                let told = spec.k_scale.is_some() && spec.quant_block != QUANT_BLOCK;
                told.then(|| format!("blocks of {}", spec.quant_block))
            },
        ),
        row(
            "rope",
            "none|halves|pairs",
            "turns elements i and i + d/2, or 2i and 2i + 1, of k by its positions (default: none)",
            |spec, input| input.word().map(|pairing| spec.rope = pairing),
            |spec| word(&spec.rope),
            |spec| (spec.rope != Pairing::None).then(|| format!("rope {}", spec.rope)),
        ),
        row(
            "rope_base",
            "X",
            "base of the frequencies, from 1 to 1e30 (default: 10000)",
            |spec, input| input.number().map(|base| spec.rope_base = base),
            |spec| {
                let told = spec.rope != Pairing::None && spec.rope_base.to_bits() != BASE.to_bits();
                told.then(|| json!(spec.rope_base))
            },
            untold,
        ),
        row(
            "rope_dim",
            "N",
            "elements of a row that are turned, even (default: all)",
            |spec, input| input.count().map(|dim| spec.rope_dim = dim),
            |spec| (spec.rope != Pairing::None && spec.rope_dim != 0).then(|| json!(spec.rope_dim)),
            |spec| {
                (spec.rope != Pairing::None && spec.rope_dim != 0).then(|| format!("of {}", spec.rope_dim))
            },
        ),
        name_row!(
            "pos",
            positions,
            "a tensor [B, T] of i32: positions for the rotation (default: those in the cache)",
            "pos"
        ),
        flag_row!(
            "q_rotated",
            q_rotated,
            false,
            "turns a tensor q [B, H, T, Dk] by the same positions, into an output of this name",
            |spec| spec.q_rotated.then(|| "q".to_owned())
        ),
    ];

    /// The type that k and v have is no other; heads of q count where it is read.
    fn complete(&mut self, given: &Arguments<'_>) -> Result<(), Error> {
        let turned = self.rope != Pairing::None;
        for (name, of, there) in [
            ("rope_base", "rope", turned),
            ("rope_dim", "rope", turned),
            ("pos", "rope", turned),
            ("page", "block_table", self.block_table.is_some()),
            ("pages", "block_table", self.block_table.is_some()),
            ("quant_block", "k_scale", self.k_scale.is_some()),
        ] {
            if let Some(input) = given.input(name).filter(|_| !there) {
                return Err(input.expected(&format!("nothing without the option `{of}`")));
            }
        }
        self.kv_dtype = self.kv_dtype.filter(|&dtype| dtype != CacheDtype::Float(self.dtype));
        if !self.q_rotated {
            self.q_heads = self.heads;
        }
        Ok(())
    }

    fn dtype_mut(&mut self) -> &mut Dtype {
        &mut self.dtype
    }

    fn stored_as(&self) -> Dtype {
        self.dtype
    }
}
