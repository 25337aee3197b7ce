//! A problem of tensors that are there: their shapes and types, and what options say about where rows lie.

use serde_json::Value;

use super::{Attention, Integers, Pages, Quantised, Shape};
use crate::{
    Dtype, Error, HostTensor,
    spec::{
        options::Arguments,
        read::{layout, sizes, storage},
    },
};

/// The name in an option, and the tensor of that name.
fn named<'a>(given: &Arguments<'a>, option: &str) -> Result<Option<(&'a str, &'a HostTensor)>, Error> {
    let Some(value) = given.option(option) else { return Ok(None) };
    let Value::String(name) = value else {
        return Err(Error::invalid(option, format!("expected a tensor's name, got {value}")));
    };
    Ok(Some((name.as_str(), given.needed(name)?)))
}

/// The number of packed sequences that a tensor of borders describes.
fn sequences(given: &Arguments<'_>, option: &str) -> Result<Option<usize>, Error> {
    let Some((name, tensor)) = named(given, option)? else { return Ok(None) };
    match *tensor.shape() {
        [borders] if borders >= 2 => Ok(Some(borders - 1)),
        ref other => {
            let message =
                format!("expected at least 2 elements, one more than there are sequences, got {other:?}");
            Err(Error::invalid(name, message))
        }
    }
}

/// The sizes `[B, heads, T, D]` of a tensor of packed sequences, which are one entry as they are stored.
fn packed(name: &str, sizes: [usize; 4], sequences: Option<usize>) -> Result<[usize; 4], Error> {
    match (sequences, sizes) {
        (Some(sequences), [1, heads, len, dim]) => Ok([sequences, heads, len, dim]),
        (Some(_), [batch, ..]) => {
            Err(Error::invalid(name, format!("expected packed sequences as one batch entry, got {batch}")))
        }
        (None, sizes) => Ok(sizes),
    }
}

/// The integers that k or v holds, and its sizes in elements.
fn unpacked(
    name: &str,
    tensor: &HostTensor,
    [batch, heads, len, dim]: [usize; 4],
) -> Result<(Integers, [usize; 4]), Error> {
    match tensor.dtype() {
        Some(Dtype::I8) => Ok((Integers::I8, [batch, heads, len, dim])),
        Some(Dtype::U8) => Ok((Integers::I4, [batch, heads, len, 2 * dim])),
        other => {
            let got = other.map_or_else(|| "64-bit elements".to_owned(), |dtype| dtype.to_string());
            let message = format!("expected i8, or i4 as u8 with two in a byte, beside scales, got {got}");
            Err(Error::invalid(name, message))
        }
    }
}

impl Attention {
    /// The problem of these tensors.
    ///
    /// # Errors
    /// If they do not belong together.
    pub(super) fn of_given(given: &Arguments<'_>) -> Result<Self, Error> {
        let layout = layout(given)?;
        let (q, k, v) = (given.needed("q")?, given.needed("k")?, given.needed("v")?);
        let of_q = sequences(given, "cu_seqlens_q")?;
        let of_k = sequences(given, "cu_seqlens_k")?;
        if let (Some((q_name, _)), Some((k_name, _))) =
            (named(given, "cu_seqlens_q")?, named(given, "cu_seqlens_k")?)
            && of_q != of_k
        {
            let [of_q, of_k] = [of_q, of_k].map(Option::unwrap_or_default);
            let message =
                format!("expected borders of {of_q} sequences as in `{q_name}`, got those of {of_k}");
            return Err(Error::invalid(k_name, message));
        }
        let q_sizes = packed("q", sizes("q", q, layout)?, of_q)?;
        let mut k_sizes = packed("k", sizes("k", k, layout)?, of_k)?;
        let mut v_sizes = packed("v", sizes("v", v, layout)?, of_k)?;
        let quantised = Self::quantised_of(given, (k, &mut k_sizes), (v, &mut v_sizes))?;
        let pages = Self::pages_of(given, q_sizes[0], &mut k_sizes, &mut v_sizes)?;
        let q_scale = named(given, "q_scale")?.map(|(name, _)| name);
        let dtype = match (q_scale, q.dtype()) {
            // Integers do not say how o is stored, an option may.
            (Some(_), Some(Dtype::I8)) => {
                given.input("dtype").map_or(Ok(Dtype::F32), |input| input.word())?
            }
            (Some(_), other) => {
                let got = other.map_or_else(|| "64-bit elements".to_owned(), |dtype| dtype.to_string());
                return Err(Error::invalid("q", format!("expected i8 beside scales, got {got}")));
            }
            (None, _) => storage("q", q)?,
        };
        for (name, tensor) in [("k", k), ("v", v)] {
            if quantised.is_none() {
                let got = storage(name, tensor)?;
                if got != dtype {
                    return Err(Error::invalid(name, format!("expected {dtype} as in q, got {got}")));
                }
            }
        }
        let mut spec = Self::new(Shape::of_tensors(q_sizes, k_sizes, v_sizes)?).layout(layout).dtype(dtype);
        (spec.quantised, spec.pages) = (quantised, pages);
        Ok(spec)
    }

    fn quantised_of(
        given: &Arguments<'_>,
        (k, k_sizes): (&HostTensor, &mut [usize; 4]),
        (v, v_sizes): (&HostTensor, &mut [usize; 4]),
    ) -> Result<Option<Quantised>, Error> {
        let ((k_scale, scales), v_scale) = match (named(given, "k_scale")?, named(given, "v_scale")?) {
            (None, None) => return Ok(None),
            (Some(k_scale), Some((v_scale, _))) => (k_scale, v_scale),
            (Some(_), None) => {
                return Err(Error::invalid("v_scale", "expected scales beside those of k, got none"));
            }
            (None, Some(_)) => {
                return Err(Error::invalid("k_scale", "expected scales beside those of v, got none"));
            }
        };
        let (integers, of_k) = unpacked("k", k, *k_sizes)?;
        let (of_values, of_v) = unpacked("v", v, *v_sizes)?;
        if integers != of_values {
            return Err(Error::invalid("v", format!("expected {integers} as in k, got {of_values}")));
        }
        (*k_sizes, *v_sizes) = (of_k, of_v);
        let mut named = Quantised::new(k_scale, v_scale).integers(integers);
        named.blocks = match *scales.shape() {
            [_, _, blocks] => Some(blocks),
            ref other => {
                let message = format!("expected [B, G, blocks of keys], got {other:?}");
                return Err(Error::invalid(k_scale, message));
            }
        };
        Ok(Some(named))
    }

    /// The pages of k and v, whose sizes then are those of what batch entries have room for.
    fn pages_of(
        given: &Arguments<'_>,
        batch: usize,
        k_sizes: &mut [usize; 4],
        v_sizes: &mut [usize; 4],
    ) -> Result<Option<Pages>, Error> {
        let Some((name, table)) = named(given, "block_table")? else { return Ok(None) };
        let &[rows, columns] = table.shape() else {
            let message = format!("expected [B, pages of an entry], got {:?}", table.shape());
            return Err(Error::invalid(name, message));
        };
        if rows != batch {
            let message = format!("expected a row of pages for each of {batch} batch entries, got {rows}");
            return Err(Error::invalid(name, message));
        }
        let [count, _, page, _] = *k_sizes;
        for (at, what) in [(0, "pages"), (2, "keys of a page")] {
            if v_sizes[at] != k_sizes[at] {
                let message = format!("expected {} {what} as in k, got {}", k_sizes[at], v_sizes[at]);
                return Err(Error::invalid("v", message));
            }
        }
        let len = columns.checked_mul(page);
        let len = len.ok_or_else(|| Error::invalid(name, "describes more keys than can be addressed"))?;
        for sizes in [k_sizes, v_sizes] {
            (sizes[0], sizes[2]) = (batch, len);
        }
        Ok(Some(Pages::new(name, page, count)))
    }
}
