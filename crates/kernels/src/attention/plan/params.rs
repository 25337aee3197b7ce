//! The uniform of the attention kernels: `shaders/attention/problem.wgsl` declares it.

use super::block_schedule::Layout;
use crate::{
    Error, ParamValue,
    attention::{Attention, Mask, layout::Tensor},
    plan::{
        builder::{Params, u32_params},
        partition::u32_of,
    },
};

impl Attention {
    /// All fields of the problem's uniform but the strides; dispatches begin with that batch entry, head and row.
    pub(crate) fn params(
        &self,
        layout: Option<&Layout>,
        [first_batch, first_head, first_row]: [usize; 3],
    ) -> Result<Params, Error> {
        let mask = self.effective_mask();
        let visible = match *mask {
            Mask::None | Mask::Expression(_) => i64::from(EVERYTHING),
            Mask::Causal => {
                i64::try_from(self.kv_len).unwrap_or(i64::MAX) - i64::try_from(self.q_len).unwrap_or(0) + 1
            }
            Mask::CausalTopLeft => 1,
        };
        let visible =
            i32::try_from(visible).map_err(|_| Error::limit("u32 range", "kv_len - q_len exceeds 2^31"))?;
        let listed = |of: fn(&Layout) -> usize| layout.map_or(0, of);
        let mut params = Params::new();
        for (name, x) in [
            ("q_len", self.q_len),
            ("kv_len", self.kv_len),
            ("q_heads", self.q_heads),
            ("group", self.group()),
            ("fold", self.pack_gqa()),
            ("first_batch", first_batch),
            ("first_head", first_head),
            ("first_row", first_row),
            ("list_tiles", listed(|layout| layout.tiles).max(1)),
            ("list_heads", listed(|layout| layout.heads).max(1)),
            ("positions_at", listed(|layout| layout.positions_at)),
            ("order_at", listed(|layout| layout.order_at)),
            ("first_at", listed(|layout| layout.first_at)),
            ("partial_at", listed(|layout| layout.partial_at)),
            ("count_at", listed(|layout| layout.count_at)),
            ("entries_at", listed(|layout| layout.entries_at)),
            ("bits_of_at", listed(|layout| layout.bits_of_at)),
            ("bits_at", listed(|layout| layout.bits_at)),
            ("key_norms_at", self.stored_batch(Tensor::Q) * self.q_heads * self.q_len),
            ("visit_from", 0),
            ("visit_end", 0),
            ("sequences", self.batch),
            ("pages_of_entry", self.pages.as_ref().map_or(0, |pages| self.kv_len / pages.page)),
            ("pages", self.pages.as_ref().map_or(0, |pages| pages.count)),
            ("scales_of_head", self.scales_of_head()),
            ("q_scales_of_head", self.q_scales_of_head()),
            ("q_lengths_at", 0),
            ("kv_lengths_at", 0),
            ("block_table_at", 0),
            ("k_scale_at", 0),
            ("v_scale_at", 0),
            ("q_scale_at", 0),
        ] {
            let x = u32_of(name, x)?;
            if x > EVERYTHING.unsigned_abs() {
                return Err(Error::limit(
                    "u32 range",
                    format!("{name} is {x}, at most {EVERYTHING} is served"),
                ));
            }
            params.push((name.into(), ParamValue::U32(x)));
        }
        params.extend([
            ("visible".into(), ParamValue::I32(visible)),
            ("from_end".into(), ParamValue::I32(i32::from(*mask == Mask::Causal))),
            ("scale".into(), ParamValue::F32(self.device_scale())),
            ("negative_infinity".into(), ParamValue::F32(f32::NEG_INFINITY)),
        ]);
        Ok(params)
    }

    /// The uniform of `shaders/shared/widths.wgsl`: only formats of uneven rows ask for it.
    pub(crate) fn width_params(&self) -> Result<Params, Error> {
        if self.aligned() {
            return Ok(Vec::new());
        }
        u32_params([("head_dim", self.head_dim), ("value_dim", self.value_dim)])
    }

    /// Whether scores are in natural units on the device: a score expression takes them as they are, and what a sink's logit or
    /// an expression makes may be too large in base 2.
    pub(crate) fn natural_scores(&self) -> bool {
        self.score.is_some() || self.sink_logits.is_some()
    }

    /// The factor of scores on the device: in base 2, unless they are natural; without the scale where every head has its own.
    #[expect(clippy::cast_possible_truncation, reason = "f32 is what the device computes in")]
    fn device_scale(&self) -> f32 {
        let scale = if self.head_scale().is_some() { 1.0 } else { self.resolved_scale() };
        let base = if self.natural_scores() { 1.0 } else { std::f64::consts::LOG2_E };
        (scale * base) as f32
    }
}

/// More keys than any query index plus this can hide; and the longest sequence, so that the sum stays in i32.
const EVERYTHING: i32 = 1 << 30;

pub(crate) fn stride_fields(tensor: &str) -> [&'static str; 3] {
    match tensor {
        "q" => ["q_base", "q_batch", "q_head"],
        "k" => ["k_base", "k_batch", "k_head"],
        "v" => ["v_base", "v_batch", "v_head"],
        "o" => ["o_base", "o_batch", "o_head"],
        _ => ["lse_base", "lse_batch", "lse_head"],
    }
}

pub(crate) fn row_field(tensor: &str) -> Option<&'static str> {
    Tensor::ALL.into_iter().find(|known| known.name() == tensor).map(|known| match known {
        Tensor::Q => "q_row",
        Tensor::K => "k_row",
        Tensor::V => "v_row",
        Tensor::O => "o_row",
    })
}
