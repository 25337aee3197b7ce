//! Expressions as what lists are made from: classes by intervals, elements by evaluation.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::{BlockClass, Classify};
use crate::{
    Error,
    expr::{Class, Classifier, Evaluator, Region, Scratch},
    parallel,
};

impl Classify for Classifier {
    fn class(
        &self,
        batch: Range<usize>,
        heads: Range<usize>,
        queries: Range<usize>,
        keys: Range<usize>,
    ) -> BlockClass {
        match self.class(&Region { batch, heads, queries, keys }) {
            Class::None => BlockClass::Empty,
            Class::Mixed => BlockClass::Partial,
            Class::All => BlockClass::Full,
        }
    }
}

/// A mask's expression as an element test ([`ElementTest`](super::ElementTest)) that many threads ask at once.
#[derive(Debug)]
pub struct Elements<'a> {
    evaluator: &'a Evaluator<'a>,
    /// One for each thread that can be told apart.
    rows: Vec<Mutex<CurrentRow>>,
    fault: Mutex<Option<Error>>,
}

/// A thread's last results: elements of one row come one after the other, and share work.
#[derive(Debug)]
struct CurrentRow {
    scratch: Scratch,
    at: Option<(usize, usize, usize)>,
}

impl<'a> Elements<'a> {
    /// The test that `evaluator` computes.
    #[must_use]
    pub fn new(evaluator: &'a Evaluator<'a>) -> Self {
        let row = || Mutex::new(CurrentRow { scratch: evaluator.scratch(), at: None });
        let rows = (0..parallel::threads()).map(|_| row()).collect();
        Self { evaluator, rows, fault: Mutex::new(None) }
    }

    /// Whether query `q` of batch entry `b` and head `h` sees key `k`; `false` if that cannot be told, which
    /// [`Elements::finish`] then reports.
    #[must_use]
    pub fn visible(&self, b: usize, h: usize, q: usize, k: usize) -> bool {
        self.try_visible((b, h, q), k).unwrap_or_else(|error| {
            self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            false
        })
    }

    fn try_visible(&self, at: (usize, usize, usize), k: usize) -> Result<bool, Error> {
        // A thread of another pool may have a number beyond those that there were when the test was made.
        let Some(row) = self.rows.get(parallel::thread()).or(self.rows.last()) else {
            return Err(Error::internal("block_mask", "no room for an element test's values"));
        };
        let mut row = row.lock().unwrap_or_else(PoisonError::into_inner);
        let CurrentRow { scratch, at: current } = &mut *row;
        if *current != Some(at) {
            // Only a row that was reached is one: an error leaves values of both.
            *current = None;
            self.evaluator.row(scratch, at.0, at.1, at.2)?;
            *current = Some(at);
        }
        self.evaluator.visible_at(scratch, k)
    }

    /// Ends the test.
    ///
    /// # Errors
    /// The first that was met: an index out of range for its table, or an expression that is no mask.
    pub fn finish(self) -> Result<(), Error> {
        let fault = self.fault.into_inner().unwrap_or_else(PoisonError::into_inner);
        fault.map_or(Ok(()), Err)
    }
}
