//! The sizes of a problem, written as Foveal writes them.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};

/// The sizes of dense attention.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub batch: usize,
    pub heads: usize,
    pub q_len: usize,
    pub kv_len: usize,
    pub head_dim: usize,
    pub value_dim: usize,
}

impl Shape {
    /// Queries, keys and values: [B, H, T, D] each.
    pub fn inputs(&self) -> [[usize; 4]; 3] {
        let Self { batch, heads, q_len, kv_len, head_dim, value_dim } = *self;
        [[batch, heads, q_len, head_dim], [batch, heads, kv_len, head_dim], [batch, heads, kv_len, value_dim]]
    }

    /// Floating-point operations, counted as Foveal counts them: the two products, softmax left out.
    pub fn flops(&self) -> f64 {
        let per_score = 2 * (self.head_dim + self.value_dim);
        (self.batch * self.heads * self.q_len * self.kv_len * per_score) as f64
    }
}

impl FromStr for Shape {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let sizes: Vec<(usize, usize)> =
            text.split('x').map(pair).collect::<Result<_>>().context("expected BxHxTxD")?;
        let [(batch, other_batch), (heads, kv_heads), (q_len, kv_len), (head_dim, value_dim)] = sizes[..]
        else {
            bail!("expected BxHxTxD, T and D optionally as Tq:Tk and Dk:Dv (1x8x1024x64)");
        };
        ensure!(batch == other_batch, "queries and keys have the same batch");
        ensure!(heads == kv_heads, "burn's attention has as many heads for keys as for queries");
        Ok(Self { batch, heads, q_len, kv_len, head_dim, value_dim })
    }
}

/// `a:b`, or `a` for `a:a`.
fn pair(text: &str) -> Result<(usize, usize)> {
    let (first, second) = text.split_once(':').unwrap_or((text, text));
    let size = |text: &str| -> Result<usize> {
        let size = text.parse()?;
        ensure!(size > 0, "a size is at least 1");
        Ok(size)
    };
    Ok((size(first)?, size(second)?))
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = |a: usize, b: usize| if a == b { a.to_string() } else { format!("{a}:{b}") };
        let (len, dim) = (pair(self.q_len, self.kv_len), pair(self.head_dim, self.value_dim));
        write!(f, "{}x{}x{len}x{dim}", self.batch, self.heads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_written_as_they_are_read() {
        for text in ["1x8x512x64", "2x4x128:1024x64:96"] {
            assert_eq!(text.parse::<Shape>().unwrap().to_string(), text);
        }
        for text in ["1x8x512", "1x8x0x64", "1x32:8x1x128", "1x8x512x64x1", "1x8xfx64"] {
            assert!(text.parse::<Shape>().is_err(), "{text}");
        }
    }
}
