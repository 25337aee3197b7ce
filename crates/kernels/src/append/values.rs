//! The integers that say where rows go, and what they may be on the host.

use std::collections::BTreeMap;

use super::Append;
use crate::{Error, HostTensor, spec::tensor_named};

/// Where the new rows of all entries go.
pub(super) struct Places {
    /// Rows of each entry, the new ones included.
    pub(super) ends: Vec<i64>,
    /// New rows of each entry.
    pub(super) new: Vec<i64>,
    /// Pages, `[B, n]`, where there are some.
    pub(super) table: Option<Vec<i64>>,
}

impl Append {
    /// The places that the inputs say; `None` if one of the tensors is not on the host.
    pub(super) fn places_of(&self, inputs: &[(&str, &HostTensor)]) -> Result<Option<Places>, Error> {
        let all = i64::try_from(self.len).unwrap_or(i64::MAX);
        let lengths = |name: &Option<String>| match name {
            Some(name) => whole(inputs, name, &[self.batch]),
            None => Ok(Some(vec![all; self.batch])),
        };
        let (ends, new) = (lengths(&self.kv_lengths)?, lengths(&self.q_lengths)?);
        let table = match &self.block_table {
            Some(name) => whole(inputs, name, &[self.batch, self.places()])?.map(Some),
            None => Some(None),
        };
        let (Some(ends), Some(new), Some(table)) = (ends, new, table) else { return Ok(None) };
        // Without lengths an entry has its new rows alone.
        let ends = if self.kv_lengths.is_none() { new.clone() } else { ends };
        Ok(Some(Places { ends, new, table }))
    }

    /// Checks that every new row has a place, and that no page that is written has another.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] naming the tensor.
    pub(super) fn check_places(&self, inputs: &[(&str, &HostTensor)]) -> Result<(), Error> {
        let Some(Places { ends, new, table }) = self.places_of(inputs)? else { return Ok(()) };
        let all = i64::try_from(self.len).unwrap_or(i64::MAX);
        let slots =
            if self.ring { i64::from(i32::MAX) } else { i64::try_from(self.capacity).unwrap_or(i64::MAX) };
        let named = |name: &Option<String>, option: &str| name.clone().unwrap_or_else(|| option.to_owned());
        for (entry, (&end, &new)) in ends.iter().zip(&new).enumerate() {
            if !(0..=all).contains(&new) {
                let message = format!("element {entry} is {new}, expected 0 to {all}");
                return Err(Error::invalid(named(&self.q_lengths, "q_len"), message));
            }
            if !(new..=slots).contains(&end) {
                let message = format!(
                    "element {entry} is {end}, expected {new} to {slots}: the cache has no room for more"
                );
                return Err(Error::invalid(named(&self.kv_lengths, "kv_len"), message));
            }
        }
        let (Some(name), Some(table)) = (&self.block_table, table) else { return Ok(()) };
        // Of each page its first place, and whether rows are written there.
        let mut seen: BTreeMap<i64, (usize, bool)> = BTreeMap::new();
        for (entry, (&end, &new)) in ends.iter().zip(&new).enumerate() {
            let [first, end] = [end - new, end].map(|p| usize::try_from(p).unwrap_or(0));
            // With a block's scale its older rows change.
            let first =
                if self.k_scale.is_some() { first / self.quant_block * self.quant_block } else { first };
            for place in 0..end.div_ceil(self.page) {
                let written = new > 0 && (place + 1) * self.page > first;
                let at = entry * self.places() + place;
                let page = table.get(at).copied().unwrap_or(-1);
                if !usize::try_from(page).is_ok_and(|page| page < self.pool()) {
                    if !written {
                        continue;
                    }
                    let last = self.pool() - 1;
                    let message = format!(
                        "element {at} is {page}, expected a page from 0 to {last}: rows are written there"
                    );
                    return Err(Error::invalid(name.as_str(), message));
                }
                if let Some((other, was_written)) = seen.insert(page, (at, written))
                    && (written || was_written)
                {
                    let message = format!("elements {other} and {at} are both page {page}, which is written");
                    return Err(Error::invalid(name.as_str(), message));
                }
            }
        }
        Ok(())
    }

    /// Positions for the rotation, `[B, T]`; `None` if rows' own count.
    pub(super) fn rotary_positions(&self, inputs: &[(&str, &HostTensor)]) -> Result<Option<Vec<i64>>, Error> {
        let Some(name) = &self.positions else { return Ok(None) };
        let positions = whole(inputs, name, &[self.batch, self.len])?;
        positions.map(Some).ok_or_else(|| Error::invalid(name.as_str(), "the tensor is missing"))
    }
}

/// A tensor's integers; `None` if it is not on the host.
fn whole(inputs: &[(&str, &HostTensor)], name: &str, shape: &[usize]) -> Result<Option<Vec<i64>>, Error> {
    let Ok(tensor) = tensor_named(inputs, name) else { return Ok(None) };
    if tensor.shape() != shape {
        return Err(Error::invalid(name, format!("expected shape {shape:?}, got {:?}", tensor.shape())));
    }
    let element = |(at, value): (usize, f64)| {
        let value32 = crate::spec::integer(value).filter(|&value| i32::try_from(value).is_ok());
        value32.ok_or_else(|| Error::invalid(name, format!("element {at} is {value}, expected an i32")))
    };
    tensor.to_f64().into_iter().enumerate().map(element).collect::<Result<_, _>>().map(Some)
}
