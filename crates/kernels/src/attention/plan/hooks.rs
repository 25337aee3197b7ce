//! The WGSL that expressions become.

use std::collections::BTreeSet;

use foveal_shaders::Request;

use super::mask_program::MaskProgram;
use crate::{
    Name, ParamValue,
    expr::{
        Program, Table,
        emit::{self, TableUses},
    },
};

/// Bindings from this number on are tables'; `shaders/attention` uses those below.
pub(crate) const FIRST_TABLE_BINDING: u32 = 20;

/// Which expressions a kernel evaluates itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evaluates {
    pub(crate) mask: bool,
    pub(crate) score: bool,
}

impl MaskProgram<'_> {
    fn programs(&self, of: Evaluates) -> impl Iterator<Item = &Program> {
        let mask = self.mask.as_ref().filter(|_| of.mask);
        let score = self.score.as_ref().filter(|_| of.score);
        mask.into_iter().chain(score)
    }

    /// The tables that a kernel reads, by their place among the problem's.
    pub(crate) fn tables_of(&self, of: Evaluates) -> BTreeSet<usize> {
        self.programs(of).flat_map(Program::tables_read).collect()
    }

    /// The names that tables have in WGSL, and the values of the uniform that holds their sizes.
    pub(crate) fn table_params(&self, tables: &[Table], of: Evaluates) -> Vec<(Name, ParamValue)> {
        let programs: Vec<&Program> = self.programs(of).collect();
        emit::table_params(tables, &TableUses::of(&programs, self.own))
            .into_iter()
            .map(|(name, value)| (Name::from(name), ParamValue::U32(value)))
            .collect()
    }

    /// The request with the expressions in its hooks.
    pub(crate) fn with_hooks(&self, mut request: Request, tables: &[Table], of: Evaluates) -> Request {
        // Declarations may come once; either hook can bring them.
        let programs: Vec<&Program> = self.programs(of).collect();
        let mut declarations = emit::tables(tables, &TableUses::of(&programs, self.own), FIRST_TABLE_BINDING);
        declarations.push_str(&emit::helpers(&programs, self.own));
        if let Some(score) = self.score.as_ref().filter(|_| of.score) {
            let function = emit::function(score, "score_at", self.own);
            let text = format!("{declarations}{function}{HOOK_SCORE}");
            declarations.clear();
            request = request.hook("hook_score_mod", text);
        }
        if let Some(mask) = self.mask.as_ref().filter(|_| of.mask) {
            let function = emit::function(mask, "mask_at", self.own);
            request = request.hook("hook_mask_mod", format!("{declarations}{function}{HOOK_VISIBLE}"));
        }
        request
    }
}

const HOOK_SCORE: &str = "
fn hook_score_mod(score: f32, at: Element) -> f32 {
    return score_at(at, score);
}
";

const HOOK_VISIBLE: &str = "
fn hook_mask_mod(at: Element, keys: vec4u) -> vec4<bool> {
    return vec4<bool>(
        mask_at(Element(at.batch, at.head, at.query, keys.x)),
        mask_at(Element(at.batch, at.head, at.query, keys.y)),
        mask_at(Element(at.batch, at.head, at.query, keys.z)),
        mask_at(Element(at.batch, at.head, at.query, keys.w)),
    );
}
";
