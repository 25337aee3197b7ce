//! Keys and values in pages.

/// Keys and values in pages, which a table assigns to batch entries.
///
/// Key t of entry b is row `t % page` of page `table[b, t / page]`, and the pools of k and v are `[pages, G, page, D]`
/// ([`crate::Layout::Bhtd`]) or `[pages, page, G, D]` ([`crate::Layout::Bthd`]). `Tk` is the capacity of an entry: the table's
/// columns times `page`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pages {
    /// The name of the tensor `[B, Tk / page]` of i32. -1 is no page: its keys are hidden.
    pub block_table: String,
    /// Keys of a page: a multiple of 16.
    pub page: usize,
    /// Pages of the pools.
    pub count: usize,
}

impl Pages {
    /// `count` pages of `page` keys, which the tensor `block_table` assigns to batch entries.
    #[must_use]
    pub fn new(block_table: impl Into<String>, page: usize, count: usize) -> Self {
        Self { block_table: block_table.into(), page, count }
    }
}
