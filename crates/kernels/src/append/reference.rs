//! The definition, in f64.

use std::collections::BTreeMap;

use super::{Append, CacheDtype, values::Places};
use crate::{
    Access, Error, HostTensor, TensorSpec,
    check::Expected,
    rope::{Pairing, Rope},
    spec::{Integers, tensor_named},
};

/// One of k and v.
struct Side {
    /// The new rows.
    rows: Vec<f64>,
    width: usize,
    cache: &'static str,
    /// The name of the scales, where there are some.
    scale: Option<String>,
    rope: Rope,
}

/// A row that is written: its head, slot and elements.
type Written = BTreeMap<(usize, usize, usize), Vec<f64>>;

pub(super) fn reference(spec: &Append, inputs: &[(&str, &HostTensor)]) -> Result<Vec<Expected>, Error> {
    let missing = || Error::invalid("kv_len", "lengths and pages have to be on the host");
    let places = spec.places_of(inputs)?.ok_or_else(missing)?;
    let positions = spec.rotary_positions(inputs)?;
    let none = Rope { pairing: Pairing::None, ..spec.rotation() };
    let sides = [
        ("k", spec.key_dim, "k_cache", &spec.k_scale, spec.rotation()),
        ("v", spec.value_dim, "v_cache", &spec.v_scale, none),
    ];
    let (mut caches, mut scales) = (Vec::new(), Vec::new());
    for (name, width, cache, scale, rope) in sides {
        let rows = tensor_named(inputs, name)?.to_f64();
        let expected = spec.batch * spec.heads * spec.len * width;
        if rows.len() != expected {
            return Err(Error::invalid(name, format!("expected {expected} elements, got {}", rows.len())));
        }
        let side = Side { rows, width, cache, scale: scale.clone(), rope };
        let written = side.written(spec, &places, positions.as_deref());
        match spec.cached_as() {
            CacheDtype::Float(_) => caches.push(side.copied(spec, inputs, &places, &written)?),
            CacheDtype::Integers(integers) => {
                let [cache, scale] = side.quantised(spec, inputs, &places, &written, integers)?;
                caches.push(cache);
                scales.push(scale);
            }
        }
    }
    caches.extend(scales);
    if spec.q_rotated {
        caches.push(rotated_queries(spec, inputs, &places, positions.as_deref())?);
    }
    Ok(caches)
}

/// Every row of q, turned.
fn rotated_queries(
    spec: &Append,
    inputs: &[(&str, &HostTensor)],
    places: &Places,
    positions: Option<&[i64]>,
) -> Result<Expected, Error> {
    let mut values = tensor_named(inputs, "q")?.to_f64();
    let TensorSpec { name, shape, span, head_axis, .. } = spec.q_tensor("q_rotated", Access::Write);
    if values.len() != span {
        return Err(Error::invalid("q", format!("expected {span} elements, got {}", values.len())));
    }
    let strides = spec.q_strides();
    for entry in 0..spec.batch {
        for t in 0..spec.len {
            #[expect(clippy::cast_possible_wrap, reason = "positions have 31 bits")]
            let own = places.ends[entry] - places.new[entry] + t as i64;
            let position = positions.map_or(own, |positions| positions[entry * spec.len + t]);
            for head in 0..spec.q_heads {
                let at = entry * strides.batch + head * strides.head + t * strides.position;
                spec.rotation().rotate(&mut values[at..at + spec.key_dim], position);
            }
        }
    }
    Ok(Expected { name, shape, elements: None, values, allowance: None, head_axis })
}

/// The values of a tensor that is changed in place, before.
fn before(spec: &Append, inputs: &[(&str, &HostTensor)], name: &str) -> Result<Expected, Error> {
    let tensor = tensor_named(inputs, name)?;
    let found = spec.all_tensors().into_iter().find(|tensor_spec| tensor_spec.name == name);
    let tensor_spec = found.ok_or_else(|| Error::internal("reference", format!("there is no `{name}`")))?;
    if tensor.shape() != tensor_spec.shape {
        let message = format!("expected shape {:?}, got {:?}", tensor_spec.shape, tensor.shape());
        return Err(Error::invalid(name.to_owned(), message));
    }
    Ok(Expected {
        name: tensor_spec.name,
        shape: tensor_spec.shape,
        elements: None,
        values: tensor.to_f64(),
        allowance: None,
        head_axis: tensor_spec.head_axis,
    })
}

impl Side {
    /// The rows that have a place, rotated.
    fn written(&self, spec: &Append, places: &Places, positions: Option<&[i64]>) -> Written {
        let mut written = Written::new();
        let strides = spec.strides(self.width);
        for entry in 0..spec.batch {
            let (end, new) = (places.ends[entry], places.new[entry]);
            for t in 0..usize::try_from(new).unwrap_or(0).min(spec.len) {
                #[expect(clippy::cast_possible_wrap, reason = "positions have 31 bits")]
                let p = end - new + t as i64;
                let Some(slot) = spec.slot(p, end) else { continue };
                let turned = positions.map_or(p, |positions| positions[entry * spec.len + t]);
                for head in 0..spec.heads {
                    if spec.row_of([entry, head, slot], self.width, places.table.as_deref()).is_none() {
                        continue;
                    }
                    let at = entry * strides.batch + head * strides.head + t * strides.position;
                    let mut row = self.rows[at..at + self.width].to_vec();
                    self.rope.rotate(&mut row, turned);
                    written.insert((entry, head, slot), row);
                }
            }
        }
        written
    }

    /// A cache of real numbers.
    fn copied(
        &self,
        spec: &Append,
        inputs: &[(&str, &HostTensor)],
        places: &Places,
        written: &Written,
    ) -> Result<Expected, Error> {
        let mut cache = before(spec, inputs, self.cache)?;
        for (&(entry, head, slot), row) in written {
            if let Some(at) = spec.row_of([entry, head, slot], self.width, places.table.as_deref()) {
                cache.values[at..at + self.width].copy_from_slice(row);
            }
        }
        Ok(cache)
    }

    /// A quantised cache, and its scales.
    fn quantised(
        &self,
        spec: &Append,
        inputs: &[(&str, &HostTensor)],
        places: &Places,
        written: &Written,
        stored: Integers,
    ) -> Result<[Expected; 2], Error> {
        let mut cache = before(spec, inputs, self.cache)?;
        let mut scales = before(spec, inputs, self.scale.as_deref().unwrap_or_default())?;
        let mut integers = CacheIntegers::of(std::mem::take(&mut cache.values), stored);
        let blocks = spec.blocks();
        for entry in 0..spec.batch {
            let first = places.ends[entry] - places.new[entry];
            for head in 0..spec.heads {
                for block in 0..blocks {
                    let slots = block * spec.quant_block..((block + 1) * spec.quant_block).min(spec.capacity);
                    let new: Vec<(usize, &Vec<f64>)> = slots
                        .clone()
                        .filter_map(|slot| Some((slot, written.get(&(entry, head, slot))?)))
                        .collect();
                    if new.is_empty() {
                        continue;
                    }
                    let row_of = |slot| spec.row_of([entry, head, slot], self.width, places.table.as_deref());
                    // Slots that hold something, and are not written now.
                    let old: Vec<usize> = slots
                        .filter(|&slot| i64::try_from(slot).is_ok_and(|slot| slot < first))
                        .filter(|&slot| !written.contains_key(&(entry, head, slot)))
                        .filter_map(row_of)
                        .collect();
                    let new: Vec<(usize, &Vec<f64>)> =
                        new.into_iter().filter_map(|(slot, row)| Some((row_of(slot)?, row))).collect();
                    let scale = &mut scales.values[(entry * spec.heads + head) * blocks + block];
                    *scale = integers.append(*scale, &old, &new, self.width);
                }
            }
        }
        integers.store(&mut cache);
        Ok([cache, scales])
    }
}

/// The integers of a quantised cache, one an element, with those that rounding may take to either side.
struct CacheIntegers {
    stored: Integers,
    values: Vec<f64>,
    /// How far each may be off as it is stored.
    allowance: Vec<f64>,
}

impl CacheIntegers {
    fn of(elements: Vec<f64>, stored: Integers) -> Self {
        let values = stored.unpacked(elements);
        let allowance = vec![0.0; values.len()];
        Self { stored, values, allowance }
    }

    /// Writes new rows to a block, and rounds its old rows anew. Rows are given by where they begin. Returns the scale.
    fn append(&mut self, was: f64, old: &[usize], new: &[(usize, &Vec<f64>)], width: usize) -> f64 {
        let most = if self.stored == Integers::I8 { 127.0 } else { 7.0 };
        let largest = |values: &[f64]| values.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
        let finite = new.iter().all(|(_, row)| row.iter().all(|x| x.is_finite()));
        if !finite || !old.is_empty() && !was.is_finite() {
            for &(at, _) in new {
                self.values[at..at + width].fill(0.0);
            }
            return f64::NAN;
        }
        let of_old = old.iter().map(|&at| largest(&self.values[at..at + width])).fold(0.0, f64::max);
        let of_new = new.iter().map(|(_, row)| largest(row)).fold(0.0, f64::max);
        let kept = if old.is_empty() { 0.0 } else { was.abs() * (of_old / most) };
        let scale = kept.max(of_new / most);
        let scale = if scale < f64::from(f32::MIN_POSITIVE) { 0.0 } else { scale };
        for &at in old {
            for at in at..at + width {
                let unrounded = if scale == 0.0 { 0.0 } else { self.values[at] * (was / scale) };
                self.put(at, unrounded, most);
            }
        }
        for &(at, row) in new {
            for (at, x) in (at..).zip(row) {
                self.put(at, if scale == 0.0 { 0.0 } else { x / scale }, most);
            }
        }
        scale
    }

    /// A quotient in f32, of elements and scales that are off by 2^-21 of the largest, is off by `most` 2^-19 at most: nearer
    /// to a half than that, an integer may come out as either neighbour.
    fn put(&mut self, at: usize, unrounded: f64, most: f64) {
        let held = unrounded.clamp(-most, most);
        self.values[at] = held.round_ties_even();
        let to_half = (held.abs().fract() - 0.5).abs();
        if to_half < most * 2f64.powi(-19) {
            let other = held.floor() + held.ceil() - self.values[at];
            let stored = |x: f64| if self.stored == Integers::I8 { x } else { x.rem_euclid(16.0) };
            self.allowance[at] = (stored(other) - stored(self.values[at])).abs();
        }
    }

    /// The integers as the cache's bytes.
    fn store(self, cache: &mut Expected) {
        if self.stored == Integers::I8 {
            (cache.values, cache.allowance) = (self.values, Some(self.allowance));
            return;
        }
        let byte = |pair: &[f64]| pair[0].rem_euclid(16.0) + 16.0 * pair[1].rem_euclid(16.0);
        let allowed = |pair: &[f64]| pair[0] + 16.0 * pair[1];
        cache.values = self.values.chunks_exact(2).map(byte).collect();
        cache.allowance = Some(self.allowance.chunks_exact(2).map(allowed).collect());
    }
}
