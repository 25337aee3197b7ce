//! The contents of tensors that say where rows lie: lengths, borders of sequences, pages, scales.

use super::{Attention, device_inputs::integer, layout::Tensor};
use crate::{Error, HostTensor, expr::EntryLengths, spec::tensor_named};

/// Where the rows of batch entries lie.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// How many queries and keys each entry has, where it has lengths of its own.
    pub(super) lengths: EntryLengths,
    /// Where each packed sequence begins, and the last one ends.
    q_borders: Option<Vec<usize>>,
    k_borders: Option<Vec<usize>>,
    /// The page of each stretch of keys, entry by entry.
    pages: Option<Vec<Option<usize>>>,
}

impl Attention {
    /// Reads and checks the placement.
    ///
    /// # Errors
    /// If a tensor is missing, has another shape, or holds what cannot be.
    pub(super) fn placement(&self, inputs: &[(&str, &HostTensor)]) -> Result<Placement, Error> {
        self.placement_at_hand(inputs, |_| true)
    }

    /// The same of those tensors only that are there.
    pub(super) fn placement_at_hand(
        &self,
        inputs: &[(&str, &HostTensor)],
        there: impl Fn(&String) -> bool,
    ) -> Result<Placement, Error> {
        let given = |name: &Option<String>| name.clone().filter(&there);
        let borders =
            |name: &Option<String>, max| given(name).map(|name| self.borders(inputs, &name, max)).transpose();
        let q_borders = borders(&self.cu_seqlens_q, self.q_len)?;
        let k_borders = borders(&self.cu_seqlens_k, self.kv_len)?;
        let between = |borders: &Option<Vec<usize>>| {
            borders.as_ref().map(|borders| borders.windows(2).map(|pair| pair[1] - pair[0]).collect())
        };
        let lengths = |name: &Option<String>, max| self.lengths(inputs, given(name).as_ref(), max);
        Ok(Placement {
            lengths: EntryLengths {
                queries: lengths(&self.q_lengths, self.q_len)?.or_else(|| between(&q_borders)),
                keys: lengths(&self.kv_lengths, self.kv_len)?.or_else(|| between(&k_borders)),
            },
            q_borders,
            k_borders,
            pages: self.page_numbers(inputs, &there)?,
        })
    }

    /// Where packed sequences begin, and where the last one ends.
    fn borders(&self, inputs: &[(&str, &HostTensor)], name: &str, max: usize) -> Result<Vec<usize>, Error> {
        let tensor = tensor_named(inputs, name)?;
        if tensor.shape() != [self.batch + 1] {
            let message = format!(
                "expected {} elements, one more than there are sequences, got {:?}",
                self.batch + 1,
                tensor.shape()
            );
            return Err(Error::invalid(name, message));
        }
        let mut borders: Vec<usize> = Vec::with_capacity(self.batch + 1);
        for (at, value) in tensor.to_f64().into_iter().enumerate() {
            let least = borders.last().copied().unwrap_or(0);
            let most = if at == 0 { 0 } else { max };
            let border = integer(value).and_then(|value| usize::try_from(value).ok());
            borders.push(border.filter(|border| (least..=most).contains(border)).ok_or_else(|| {
                let message = match at {
                    0 => format!("element 0 is {value}, expected 0"),
                    _ => format!("element {at} is {value}, expected {least} (the element before) to {max}"),
                };
                Error::invalid(name, message)
            })?);
        }
        Ok(borders)
    }

    fn page_numbers(
        &self,
        inputs: &[(&str, &HostTensor)],
        there: impl Fn(&String) -> bool,
    ) -> Result<Option<Vec<Option<usize>>>, Error> {
        let Some(pages) = self.pages.as_ref().filter(|pages| there(&pages.block_table)) else {
            return Ok(None);
        };
        let name = pages.block_table.as_str();
        let tensor = tensor_named(inputs, name)?;
        let shape = [self.batch, self.kv_len / pages.page];
        if tensor.shape() != shape {
            let message =
                format!("expected pages {shape:?} (B, pages of an entry), got {:?}", tensor.shape());
            return Err(Error::invalid(name, message));
        }
        let page = |(at, value): (usize, f64)| match integer(value) {
            Some(-1) => Ok(None),
            Some(page) if usize::try_from(page).is_ok_and(|page| page < pages.count) => {
                Ok(usize::try_from(page).ok())
            }
            _ => {
                let last = pages.count.saturating_sub(1);
                let message =
                    format!("element {at} is {value}, expected a page, 0 to {last}, or -1 for none");
                Err(Error::invalid(name, message))
            }
        };
        tensor.to_f64().into_iter().enumerate().map(page).collect::<Result<_, _>>().map(Some)
    }

    /// Checks the scales of integers.
    pub(super) fn check_scales(
        &self,
        inputs: &[(&str, &HostTensor)],
        lengths: &EntryLengths,
        there: impl Fn(&String) -> bool,
    ) -> Result<(), Error> {
        let Some(quantised) = &self.quantised else { return Ok(()) };
        let room = self.scales_of_head().saturating_mul(quantised.block);
        let longest = match &lengths.keys {
            Some(keys) => keys.iter().copied().max().unwrap_or(0),
            // Lengths that are not at hand are not looked at.
            None if self.own_lengths().keys => 0,
            None => self.kv_len,
        };
        if longest > room {
            let message = format!("expected scales for {longest} keys, got those for {room}");
            return Err(Error::invalid(quantised.k_scale.as_str(), message));
        }
        let names = [&quantised.k_scale, &quantised.v_scale].into_iter().chain(&quantised.q_scale);
        for name in names.filter(|name| there(name)) {
            let scales = tensor_named(inputs, name)?.to_f64();
            // Scales given as f64 are f32 where they are used.
            #[expect(clippy::cast_possible_truncation, reason = "whether f32 holds it is the question")]
            let finite = |scale: f64| (scale as f32).is_finite();
            if let Some(at) = scales.iter().position(|&scale| !finite(scale)) {
                let message =
                    format!("element {at} is {:?}, expected a scale that is finite in f32", scales[at]);
                return Err(Error::invalid(name.as_str(), message));
            }
        }
        Ok(())
    }

    /// Where a query of a packed sequence, or of a batch entry, lies: its entry, if it belongs to one, and its number in it.
    pub(super) fn query_at(
        &self,
        placement: &Placement,
        stored_batch: usize,
        position: usize,
    ) -> (Option<usize>, usize) {
        let Some(borders) = &placement.q_borders else { return (Some(stored_batch), position) };
        let entry = borders.partition_point(|&border| border <= position).saturating_sub(1);
        match borders.get(entry) {
            Some(first) if entry < self.batch => (Some(entry), position - first),
            _ => (None, 0),
        }
    }

    /// The stored batch entry and position of a key, if it is stored at all.
    pub(super) fn key_at(&self, placement: &Placement, entry: usize, key: usize) -> Option<(usize, usize)> {
        if let Some(borders) = &placement.k_borders {
            return Some((0, borders.get(entry)? + key));
        }
        let (Some(pages), Some(numbers)) = (&self.pages, &placement.pages) else { return Some((entry, key)) };
        let page = numbers.get(entry * (self.kv_len / pages.page) + key / pages.page).copied()??;
        Some((page, key % pages.page))
    }

    /// The number in its entry of a key that lies at `position` of a stored entry without pages.
    pub(super) fn key_number(&self, placement: &Placement, position: usize) -> usize {
        let Some(borders) = &placement.k_borders else { return position };
        let entry = borders.partition_point(|&border| border <= position).saturating_sub(1);
        position - borders.get(entry).copied().unwrap_or(0)
    }

    /// The rows of a tensor of keys, head by head, that are stored: `[stored batch, G, positions]`.
    pub(super) fn stored_row(&self, tensor: Tensor, [batch, head, position]: [usize; 3]) -> usize {
        let [heads, len, _] = self.sizes(tensor);
        (batch * heads + head) * len + position
    }
}
