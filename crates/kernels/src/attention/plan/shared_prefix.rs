//! Keys that all batch entries share: visited once, by tiles of the rows of all entries, as parts that are merged with what each
//! entry sees of its own keys.

use super::variants::Candidate;

/// How a shared prefix is visited.
pub(crate) struct SharedPrefix {
    pub(crate) taken: Candidate,
    /// Rows that share its keys.
    pub(crate) rows: usize,
    /// Keys that are visited once: whole blocks of this kernel, and of the one that visits the others.
    pub(crate) keys: usize,
    /// The same of the problem that tiles are chosen for.
    pub(crate) keys_of_specialized: usize,
    /// Parts of them, each for workgroups of its own.
    pub(crate) parts: usize,
    pub(crate) keys_of_part: usize,
}

impl SharedPrefix {
    pub(crate) fn describe(&self) -> String {
        let Self { taken, rows, keys, parts, .. } = self;
        let tiles = taken.schedule.tile_rows;
        format!("{keys}, by {} of {rows} rows in tiles of {tiles}, in {parts} parts", taken.variant)
    }
}
