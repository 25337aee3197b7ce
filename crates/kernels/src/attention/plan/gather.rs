//! The small tensors that say what batch entries have, gathered into one where an adapter binds too few.

use std::sync::Arc;

use foveal_shaders::Request;

use super::passes::Passes;
use crate::{
    Error, Limits, PassBinding,
    attention::Attention,
    plan::builder::{Params, set, u32_params},
};

const THREADS: usize = 64;

impl Attention {
    /// The small tensors: shaders' variable, the uniform's field that says where it begins among all, name, and words.
    pub(crate) fn entry_tables(&self) -> Vec<(&'static str, &'static str, &String, usize)> {
        let lengths = [
            ("q_lengths", "q_lengths_at", &self.q_lengths, self.batch),
            ("q_lengths", "q_lengths_at", &self.cu_seqlens_q, self.batch + 1),
            ("kv_lengths", "kv_lengths_at", &self.kv_lengths, self.batch),
            ("kv_lengths", "kv_lengths_at", &self.cu_seqlens_k, self.batch + 1),
        ];
        let lengths = lengths.into_iter();
        let given =
            lengths.filter_map(|(variable, at, name, words)| Some((variable, at, name.as_ref()?, words)));
        let mut tables: Vec<_> = given.collect();
        tables.extend(self.pages.as_ref().map(|pages| {
            let words = self.batch * (self.kv_len / pages.page.max(1));
            ("block_table", "block_table_at", &pages.block_table, words)
        }));
        if let Some(of) = &self.quantised {
            let words = self.batch * self.kv_heads * self.scales_of_head();
            tables.push(("k_scale", "k_scale_at", &of.k_scale, words));
            tables.push(("v_scale", "v_scale_at", &of.v_scale, words));
        }
        if let Some(name) = self.q_scale() {
            let words = self.batch * self.q_heads * self.q_scales_of_head();
            tables.push(("q_scale", "q_scale_at", name, words));
        }
        tables
    }

    /// Whether they have to be gathered, beside so many other storage bindings.
    pub(crate) fn gathers(&self, others: usize, limits: &Limits) -> bool {
        let tables = self.entry_tables().len();
        tables > 1 && others + tables > limits.max_storage_buffers_per_shader_stage as usize
    }
}

impl Passes<'_> {
    /// The bindings of the small tensors, or of the one that holds them.
    pub(crate) fn bind_entry_tables(
        &self,
        bindings: &mut Vec<PassBinding>,
        params: &mut Params,
    ) -> Result<(), Error> {
        let mut first = 0;
        for (variable, field, name, words) in self.spec.entry_tables() {
            match self.at.gathered {
                Some(_) => set(params, field, first)?,
                None => bindings.push(self.plan.tensor(variable, name)?),
            }
            first += words;
        }
        if let Some(at) = self.at.gathered {
            bindings.push(self.plan.scratch("gathered", at));
        }
        Ok(())
    }

    /// The passes that gather them.
    pub(crate) fn gather_tables(&mut self) -> Result<(), Error> {
        let tables = self.spec.entry_tables();
        let all: usize = tables.iter().map(|&(.., words)| words).sum();
        let at = self.plan.add_scratch("foveal.attention.gathered", 4 * all as u64)?;
        let request = Arc::new(Request::new("attention/gather_tables"));
        let mut first = 0;
        for (_, _, name, words) in tables {
            self.plan.max_workgroups(words.div_ceil(THREADS))?;
            let bindings = vec![self.plan.tensor("source", name)?, self.plan.scratch("gathered", at)];
            let params = u32_params([("to", first), ("words", words)])?;
            self.plan.push(
                "gather_tables",
                &request,
                bindings,
                params,
                [words.div_ceil(THREADS), 1, 1],
                0,
            )?;
            first += words;
        }
        self.at.gathered = Some(at);
        Ok(())
    }
}
