//! Work spread over the machine's threads; in browsers, where there is one, done one after the other.
//!
//! Results come in the order of their indices either way.

pub(crate) use each::{map, thread, threads, try_map_with};

#[cfg(not(target_family = "wasm"))]
mod each {
    use rayon::prelude::*;

    /// Applies `f` to each index below `count`.
    pub(crate) fn map<T: Send>(count: usize, f: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
        (0..count).into_par_iter().map(f).collect()
    }

    /// Applies `f` to each index below `count`, with values of its own to work in, which `room` makes and which are
    /// used for one index after the other; or an error of those met.
    pub(crate) fn try_map_with<W, T: Send, E: Send>(
        count: usize,
        room: impl Fn() -> W + Sync + Send,
        f: impl Fn(&mut W, usize) -> Result<T, E> + Sync + Send,
    ) -> Result<Vec<T>, E> {
        (0..count).into_par_iter().map_init(room, f).collect()
    }

    /// How many threads [`thread`] tells apart.
    pub(crate) fn threads() -> usize {
        rayon::current_num_threads() + 1
    }

    /// The number of the thread that asks, below [`threads`]; the last one is shared by all that were not started here.
    pub(crate) fn thread() -> usize {
        rayon::current_thread_index().unwrap_or_else(rayon::current_num_threads)
    }
}

// Rayon builds for browsers, where it does the same at the cost of 72 kB.
#[cfg(target_family = "wasm")]
mod each {
    pub(crate) fn map<T>(count: usize, f: impl Fn(usize) -> T) -> Vec<T> {
        (0..count).map(f).collect()
    }

    pub(crate) fn try_map_with<W, T, E>(
        count: usize,
        room: impl Fn() -> W,
        f: impl Fn(&mut W, usize) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        let mut room = room();
        (0..count).map(|index| f(&mut room, index)).collect()
    }

    pub(crate) fn threads() -> usize {
        1
    }

    pub(crate) fn thread() -> usize {
        0
    }
}
