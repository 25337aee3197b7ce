//! The tables that expressions read: their bindings, sizes and accessors.

use std::fmt::Write as _;

use crate::{
    Dtype,
    expr::{
        Op, OwnLengths, Program, Table,
        ir::dependence::{data_dependent, needed_steps},
    },
};

/// Which tables some programs read, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableUses {
    /// By table: read as it stands, and read with indices clamped.
    uses: Vec<[bool; 2]>,
}

impl TableUses {
    /// The tables that `programs` read, which were bound to the same ones.
    #[must_use]
    pub fn of(programs: &[&Program], own: OwnLengths) -> Self {
        let mut uses = Vec::new();
        for program in programs {
            uses.resize(uses.len().max(program.tables.len()), [false; 2]);
            let dependent = data_dependent(program, own);
            let needed = needed_steps(program, program.steps.len().saturating_sub(1));
            for (step, _) in program.steps.iter().zip(needed).filter(|(_, needed)| *needed) {
                if let Op::Lookup { table, indices } = &step.op
                    && let Some(uses) = uses.get_mut(*table)
                {
                    uses[usize::from(indices.iter().any(|&index| dependent[index]))] = true;
                }
            }
        }
        Self { uses }
    }

    /// Whether the table in this place is read at all.
    #[must_use]
    pub fn is_read(&self, table: usize) -> bool {
        self.uses.get(table).is_some_and(|uses| uses[0] | uses[1])
    }
}

/// Declarations of the tables that `uses` names, of all `tables`: for table `i` the storage binding
/// `first_binding + 1 + i`, named [`table_name`] and holding u32 words for what is narrower than 32 bits; for all of them the
/// uniform `table_sizes` at `first_binding`, unless they have no dimensions; and accessors.
///
/// An accessor takes ints that are in range, or of any value in dimensions of size 1. Where indices depend on what tables
/// hold, on lengths of batch entries, or on the score, there is one that clamps them.
#[must_use]
pub fn tables(tables: &[Table], uses: &TableUses, first_binding: u32) -> String {
    let mut text = String::new();
    let fields = table_params(tables, uses);
    if !fields.is_empty() {
        text.push_str("struct TableSizes {\n");
        for (field, _) in &fields {
            let _ = writeln!(text, "    {field}: u32,");
        }
        text.push_str("}\n");
        let _ = writeln!(text, "@group(0) @binding({first_binding}) var<uniform> table_sizes: TableSizes;");
    }
    for ((i, table), place) in tables.iter().enumerate().zip(1u32..) {
        if !uses.is_read(i) {
            continue;
        }
        let name = table_name(i, table);
        let (words, result) = match table.element {
            Dtype::F32 => ("f32", "f32"),
            Dtype::F16 | Dtype::Bf16 => ("u32", "f32"),
            Dtype::I32 => ("i32", "i32"),
            Dtype::U8 | Dtype::I8 => ("u32", "i32"),
        };
        let binding = first_binding + place;
        let _ = writeln!(text, "@group(0) @binding({binding}) var<storage, read> {name}: array<{words}>;");
        for clamped in [false, true] {
            if uses.uses[i][usize::from(clamped)] {
                write_accessor(&mut text, i, table, clamped, result);
            }
        }
    }
    text
}

fn write_accessor(text: &mut String, i: usize, table: &Table, clamped: bool, result: &str) {
    let name = table_name(i, table);
    let rank = table.shape.len();
    let parameters: Vec<_> = (0..rank).map(|d| format!("i{d}: i32")).collect();
    let _ = writeln!(text, "fn {}({}) -> {result} {{", accessor(i, clamped), parameters.join(", "));
    let offsets: Vec<_> = (0..rank)
        .map(|d| {
            let index = if clamped {
                format!("u32(clamp(i{d}, 0, i32(table_sizes.t{i}_size_{d}) - 1))")
            } else {
                format!("u32(i{d})")
            };
            format!("{index} * table_sizes.t{i}_stride_{d}")
        })
        .collect();
    let offset = if offsets.is_empty() { "0u".to_owned() } else { offsets.join(" + ") };
    let _ = writeln!(text, "    let at = {offset};");
    match table.element {
        Dtype::F32 | Dtype::I32 => {
            let _ = writeln!(text, "    return {name}[at];");
        }
        Dtype::F16 => {
            let _ = writeln!(text, "    let pair = unpack2x16float({name}[at / 2u]);");
            text.push_str("    return select(pair.x, pair.y, (at % 2u) == 1u);\n");
        }
        Dtype::Bf16 => {
            let _ = writeln!(text, "    let word = {name}[at / 2u] >> ((at % 2u) * 16u);");
            text.push_str("    return bitcast<f32>(word << 16u);\n");
        }
        Dtype::U8 => {
            let _ = writeln!(text, "    let word = {name}[at / 4u] >> ((at % 4u) * 8u);");
            text.push_str("    return i32(word & 255u);\n");
        }
        Dtype::I8 => {
            let _ = writeln!(text, "    let word = {name}[at / 4u] << (24u - (at % 4u) * 8u);");
            text.push_str("    return bitcast<i32>(word) >> 24u;\n");
        }
    }
    text.push_str("}\n");
}

/// The values of the fields of `TableSizes`, in their order: by table and dimension the size, and then the stride in
/// elements, which is 0 where the size is 1.
#[must_use]
pub fn table_params(tables: &[Table], uses: &TableUses) -> Vec<(String, u32)> {
    let mut fields = Vec::new();
    // More elements than a u32 counts are beyond any binding; the limits' check says so.
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    for (i, table) in tables.iter().enumerate().filter(|&(i, _)| uses.is_read(i)) {
        for (d, &size) in table.shape.iter().enumerate() {
            let inner = table.shape[d + 1..].iter().fold(1usize, |n, &size| n.saturating_mul(size));
            fields.push((format!("t{i}_size_{d}"), small(size)));
            fields.push((format!("t{i}_stride_{d}"), if size == 1 { 0 } else { small(inner) }));
        }
    }
    fields
}

/// The WGSL name of the table in place `i`: `table_0_bias`. Letters that WGSL has not become `_`.
#[must_use]
pub fn table_name(i: usize, table: &Table) -> String {
    let name = table.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    format!("table_{i}_{}", name.collect::<String>())
}

/// The function that reads the table in place `i`.
pub(super) fn accessor(i: usize, clamped: bool) -> String {
    format!("table_{i}_{}", if clamped { "clamped" } else { "at" })
}
