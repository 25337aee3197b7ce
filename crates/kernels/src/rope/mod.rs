//! Rotary positions (RoPE): pairs of a row's elements, turned by angles that grow with the row's position.
//!
//! For a row x of width D at position p, of which the first d elements take part, with pairs i = 0 .. d/2:
//!
//! ```text
//! a_i = p base^(-2i/d)      (y_s, y_e) = (x_s cos a_i - x_e sin a_i, x_s sin a_i + x_e cos a_i)
//! halves: (s, e) = (i, i + d/2)      pairs: (s, e) = (2i, 2i + 1)
//! ```
//!
//! Elements from d on stay. On the device angles are whole numbers of 2^-32 turns: p times a frequency in turns of 64 fractional
//! bits, modulo 1, which is exact where `p * frequency` in f32 has no digit left. An element is within 2^-21 of the length of
//! its pair, at any position that i32 holds.
//! Source: Su et al. 2021, RoFormer, section 3.2.2; the pairing by halves is GPT-NeoX's (Black et al. 2022).

mod rotate;
mod turns;

use std::{fmt, str::FromStr};

use crate::Error;
pub(crate) use turns::turns;

/// Which elements of a row are turned together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pairing {
    /// None: rows stay as they are.
    #[default]
    None,
    /// Elements i and i + d/2.
    Halves,
    /// Elements 2i and 2i + 1.
    Pairs,
}

impl fmt::Display for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Halves => "halves",
            Self::Pairs => "pairs",
        })
    }
}

impl FromStr for Pairing {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "none" => Ok(Self::None),
            "halves" => Ok(Self::Halves),
            "pairs" => Ok(Self::Pairs),
            other => Err(Error::no_word("rope", &["none", "halves", "pairs"], other)),
        }
    }
}

/// The base of frequencies where no other is asked for.
pub(crate) const BASE: f64 = 10_000.0;

/// A rotation of rows by their positions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rope {
    pub(crate) pairing: Pairing,
    pub(crate) base: f64,
    /// Elements of a row that take part, from the first on.
    pub(crate) dim: usize,
}

impl Rope {
    /// Frequency i in radians a position.
    #[expect(clippy::cast_precision_loss, reason = "a width")]
    pub(crate) fn frequency(&self, pair: usize) -> f64 {
        self.base.powf(-((2 * pair) as f64) / self.dim as f64)
    }

    /// Checks it against rows of `width` elements.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] naming the option.
    pub(crate) fn validate(&self, width: usize) -> Result<(), Error> {
        if !(1.0..=1e30).contains(&self.base) {
            let message = format!("expected a number from 1 to 1e30, got {:e}", self.base);
            return Err(Error::invalid("rope_base", message));
        }
        if self.pairing == Pairing::None {
            return Ok(());
        }
        if width < 2 {
            return Err(Error::invalid("rope", format!("expected rows of 2 elements or more, got {width}")));
        }
        if self.dim == 0 || !self.dim.is_multiple_of(2) || self.dim > width {
            let message = format!("expected an even number from 2 to {width}, got {}", self.dim);
            return Err(Error::invalid("rope_dim", message));
        }
        Ok(())
    }
}
