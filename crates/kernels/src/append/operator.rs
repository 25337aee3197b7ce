//! Appending as an operator among others.

use super::{Append, CacheDtype, plan, reference, testing};
use crate::{
    Constraints, Dtype, Error, HostTensor, Name, Recipe, TensorSpec, Work,
    check::{Expected, Rows, Tolerance},
    operator::{Candidate, OperatorOf, OperatorSpec, Variant},
    plan::builder::PlanBuilder,
    rope::Pairing,
    spec::{
        PAGE_UNIT,
        options::Arguments,
        read::{self, shape_pairs, sizes, storage},
    },
};

/// Appending, as an [`crate::Operator`].
pub(crate) static OPERATOR: OperatorOf<Append> = OperatorOf::new();

/// Most slots that share a scale.
const MAX_QUANT_BLOCK: usize = 1024;

impl OperatorSpec for Append {
    const SUMMARY: &'static str = "new rows of k and v into a cache, a ring or pages, in place: cache[b, g, slot(p)] = rope(x[b, g, t], p)";
    const SHAPE_HELP: &'static str = "BxH:GxTxSxDk:Dv (4x32:8x1x4096x128)";
    const BENCH_SHAPES: &'static [&'static str] =
        &["8x8x1x4096x128", "1x8x1024x4096x128", "1x8x4096x4096x64"];
    const RECIPES: &'static [Recipe] = testing::RECIPES;

    type Analysis<'a> = ();
    type Schedule = plan::Schedule;

    fn of_shape(shape: &str) -> Result<Self, Error> {
        let wrong = || Error::invalid("shape", format!("expected {}, got `{shape}`", Self::SHAPE_HELP));
        let parts: Vec<&str> = shape.split('x').collect();
        let &[batch, heads, len, capacity, widths] = parts.as_slice() else { return Err(wrong()) };
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let [.., (q_heads, heads), (key_dim, value_dim)] =
            shape_pairs(&format!("1x1x{heads}x{widths}"), Self::SHAPE_HELP)?;
        let sizes = [number(batch)?, heads, number(len)?];
        let spec = Self::new(sizes, number(capacity)?, [key_dim, value_dim]);
        Ok(Self { q_heads, ..spec })
    }

    fn of_tensors(given: &Arguments<'_>) -> Result<Self, Error> {
        let layout = read::layout(given)?;
        let k = given.needed("k")?;
        let [batch, heads, len, key_dim] = sizes("k", k, layout)?;
        let [.., value_dim] = sizes("v", given.needed("v")?, layout)?;
        let cache = given.needed("k_cache")?;
        let [entries, _, slots, _] = sizes("k_cache", cache, layout)?;
        let mut spec = Self::new([batch, heads, len], slots, [key_dim, value_dim]);
        (spec.layout, spec.dtype) = (layout, storage("k", k)?);
        spec.kv_dtype = kv_dtype(cache, spec.dtype)?;
        if let Some(q) = given.tensor("q").filter(|_| given.option("q_rotated").is_some()) {
            [_, spec.q_heads, ..] = sizes("q", q, layout)?;
        }
        if let Some(input) = given.input("block_table") {
            let name = input.text()?;
            let &[_, places] = given.needed(name)?.shape() else {
                let message = format!("expected 2 dimensions [B, n], got {:?}", given.needed(name)?.shape());
                return Err(Error::invalid(name, message));
            };
            (spec.page, spec.pages, spec.capacity) = (slots, entries, places.saturating_mul(slots));
        }
        Ok(spec)
    }

    fn fit_tensors(&mut self, given: &Arguments<'_>) -> Result<(), Error> {
        let [k_cache, v_cache] = [given.needed("k_cache")?, given.needed("v_cache")?];
        let asked = self.cached_as();
        self.kv_dtype = kv_dtype(k_cache, self.dtype)?;
        if let Some(input) = given.input("kv_dtype").filter(|_| asked != self.cached_as()) {
            return Err(input.expected(&format!("{}, as k_cache is", self.cached_as())));
        }
        if v_cache.dtype() != k_cache.dtype() {
            let got = v_cache.dtype().map_or_else(|| "others".to_owned(), |dtype| dtype.to_string());
            let message =
                format!("expected elements of type {} as in k_cache, got {got}", self.cached_as().stored());
            return Err(Error::invalid("v_cache", message));
        }
        if self.block_table.is_some() {
            let [pages, _, page, _] = sizes("k_cache", k_cache, self.layout)?;
            if page != self.page {
                let message = format!("expected {page}, the slots of a page of k_cache, got {}", self.page);
                return Err(Error::invalid("page", message));
            }
            if pages != self.pages {
                let message = format!("expected {pages}, the pages of k_cache, got {}", self.pages);
                return Err(Error::invalid("pages", message));
            }
            if pages == self.batch.saturating_mul(self.places()) {
                self.pages = 0;
            }
        }
        self.validate()?;
        given.check_shapes(&self.all_tensors())
    }

    fn validate(&self) -> Result<(), Error> {
        let sizes = [("batch", self.batch), ("heads", self.heads), ("capacity", self.capacity)];
        let widths = [("key_dim", self.key_dim), ("value_dim", self.value_dim)];
        for (name, size) in sizes.into_iter().chain(widths) {
            if size == 0 {
                return Err(Error::invalid(name, "expected at least 1, got 0"));
            }
        }
        if !self.dtype.is_float() {
            return Err(Error::invalid("dtype", format!("expected f32, f16 or bf16, got {}", self.dtype)));
        }
        if let CacheDtype::Float(Dtype::I32 | Dtype::U8 | Dtype::I8) = self.cached_as() {
            let message = format!("expected f32, f16, bf16, i8 or i4, got {}", self.cached_as());
            return Err(Error::invalid("kv_dtype", message));
        }
        self.validate_kind()?;
        self.validate_quantised()?;
        self.rotation().validate(self.key_dim)?;
        // One tensor may say both lengths.
        let q_lengths = self.q_lengths.iter().filter(|name| self.kv_lengths.as_ref() != Some(name));
        let named = [&self.kv_lengths, &self.block_table, &self.positions, &self.k_scale, &self.v_scale];
        let named = named.into_iter().flatten().chain(q_lengths).map(String::as_str);
        let mut names = vec!["k", "v", "q", "q_rotated", "k_cache", "v_cache"];
        for name in named {
            if names.contains(&name) {
                let message = format!("expected another name, got that of two tensors: `{name}`");
                return Err(Error::invalid(name, message));
            }
            names.push(name);
        }
        self.validate_queries()?;
        let countable = |sizes: &[usize]| {
            let count = sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
            count.is_some_and(|count| count <= isize::MAX as usize / 8)
        };
        for (name, width) in [("k", self.key_dim), ("v", self.value_dim)] {
            if !countable(&[self.batch, self.q_heads.max(self.heads), self.len, width])
                || !countable(&self.cache_sizes(width))
            {
                return Err(Error::invalid(name, "has more elements than can be addressed"));
            }
        }
        Ok(())
    }

    fn shape(&self) -> String {
        let Self { batch, heads, q_heads, len, capacity, key_dim, value_dim, .. } = self;
        let heads = read::pair(if self.q_rotated { *q_heads } else { *heads }, *heads);
        format!("{batch}x{heads}x{len}x{capacity}x{}", read::pair(*key_dim, *value_dim))
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        self.all_tensors()
    }

    fn variants() -> Vec<Variant<Self>> {
        vec![
            Variant::new(
                "rows",
                "a thread four elements of a row, for caches of real numbers",
                |of, adapter| plan::rows(of.spec, adapter),
            ),
            Variant::new(
                "blocks",
                "a workgroup a block of slots, whose scale it finds and whose old rows it rounds anew, for quantised caches",
                |of, adapter| plan::blocks(of.spec, adapter),
            ),
        ]
    }

    fn analyse(&self) -> Result<(), Error> {
        Ok(())
    }

    fn passes(
        &self,
        taken: &Candidate<Self>,
        _: [&(); 2],
        _: &Constraints,
        mut plan: PlanBuilder,
    ) -> Result<PlanBuilder, Error> {
        taken.schedule.passes(self, &mut plan)?;
        Ok(plan)
    }

    fn self_check_problem(&self) -> Self {
        let page = self.page.min(16);
        let capacity = if self.block_table.is_some() { 3 * page } else { self.capacity.min(40) };
        let q_heads = if self.q_rotated { 6 } else { 3 };
        let small = Self { batch: 2, heads: 3, q_heads, page, pages: 0, capacity, ..self.clone() };
        // Without lengths all new rows have to find room.
        Self { len: self.len.min(21).min(capacity), odd_values: true, ..small }
    }

    fn random_inputs(&self, seed: u64) -> Vec<(Name, HostTensor)> {
        testing::random_inputs(self, seed)
    }

    fn check_values(&self, inputs: &[(&str, &HostTensor)]) -> Result<(), Error> {
        self.check_places(inputs)
    }

    fn reference(&self, inputs: &[(&str, &HostTensor)], _: Rows) -> Result<Vec<Expected>, Error> {
        reference::reference(self, inputs)
    }

    /// Copies are exact, or rounded to the storage type once. A rotated element is off by 2^-22 of the length of its pair, which
    /// may be five times the values' root mean square. Integers are exact, but for those that the reference says may fall to
    /// either side ([`Expected::allowance`]); scales are a quotient of one such element.
    fn tolerance(&self, output: &str) -> Tolerance {
        let cache = ["k_cache", "v_cache"].contains(&output);
        let stored = if output == "q_rotated" { CacheDtype::Float(self.dtype) } else { self.cached_as() };
        match stored {
            CacheDtype::Float(Dtype::F16) => Tolerance { rel_rmse: 4e-4, worst: 1e-3, floor: 1e-7 },
            CacheDtype::Float(Dtype::Bf16) => Tolerance { rel_rmse: 3e-3, worst: 5e-3, floor: 1e-7 },
            CacheDtype::Float(_) => Tolerance { rel_rmse: 4e-7, worst: 4e-6, floor: 1e-7 },
            _ if cache => Tolerance { rel_rmse: 0.0, worst: 0.0, floor: 0.0 },
            _ => Tolerance { rel_rmse: 1e-6, worst: 2e-6, floor: 1e-30 },
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate is reported with a few digits")]
    fn work(&self) -> Work {
        let entries = self.batch as f64;
        let rows = entries * self.heads as f64 * self.len as f64;
        let rotated = if self.rope == Pairing::None { 0.0 } else { 3.0 * self.rotation().dim as f64 };
        let elements = (self.key_dim + self.value_dim) as f64;
        let (quantising, kept) = match self.cached_as().bits() {
            // The largest, and a division; a block's old rows are read and written.
            Some(bits) => {
                let old =
                    entries * (self.heads as f64) * self.quant_block as f64 * elements * bits as f64 / 4.0;
                (2.0 * elements, bits as f64 / 8.0 + old / rows.max(1.0) / elements)
            }
            None => (0.0, self.cached_as().stored().size_bytes() as f64),
        };
        let q_rows = if self.q_rotated { entries * self.q_heads as f64 * self.len as f64 } else { 0.0 };
        // A copy counts as an operation: shares of a roof are shares of something.
        let flops = rows * (elements + rotated + quantising) + q_rows * rotated;
        let of_q = q_rows * (2 * self.key_dim * self.dtype.size_bytes()) as f64;
        let bytes = rows * elements * (self.dtype.size_bytes() as f64 + kept) + of_q;
        Work { flops, dense_flops: flops, bytes }
    }

    fn cases() -> Vec<(String, Self)> {
        testing::cases()
    }

    fn random(random: &mut fastrand::Rng) -> Self {
        testing::random(random)
    }
}

/// How a cache is stored; `None` if as k and v.
fn kv_dtype(cache: &HostTensor, dtype: Dtype) -> Result<Option<CacheDtype>, Error> {
    let cached_as = cache.dtype().and_then(CacheDtype::of).ok_or_else(|| {
        Error::invalid("k_cache", "expected elements of type f32, f16, bf16, i8 or u8 (two of i4)")
    })?;
    Ok(Some(cached_as).filter(|&cached_as| cached_as != CacheDtype::Float(dtype)))
}

impl Append {
    /// The kind of cache.
    fn validate_kind(&self) -> Result<(), Error> {
        if self.kv_lengths.is_none() && self.len > self.capacity && !self.ring {
            let message =
                format!("expected room for {} new rows, the capacity is {}", self.len, self.capacity);
            return Err(Error::invalid("kv_len", message));
        }
        if i32::try_from(self.capacity).is_err() || i32::try_from(self.len).is_err() {
            let message =
                format!("positions have 31 bits, got {} slots and {} new rows", self.capacity, self.len);
            return Err(Error::invalid("capacity", message));
        }
        if self.block_table.is_none() {
            return Ok(());
        }
        if self.ring {
            return Err(Error::invalid("ring", "expected none with `block_table`: pages are no ring"));
        }
        // Attention takes no others.
        if self.page == 0 || !self.page.is_multiple_of(PAGE_UNIT) {
            let message = format!("expected a multiple of {PAGE_UNIT}, got {}", self.page);
            return Err(Error::invalid("page", message));
        }
        if !self.capacity.is_multiple_of(self.page) {
            let message =
                format!("expected a capacity of whole pages of {}, got {}", self.page, self.capacity);
            return Err(Error::invalid("page", message));
        }
        if i32::try_from(self.pool()).is_err() {
            return Err(Error::invalid("pages", format!("pages have 31 bits, got {}", self.pool())));
        }
        Ok(())
    }

    fn validate_queries(&self) -> Result<(), Error> {
        if !self.q_rotated {
            return Ok(());
        }
        if self.rope == Pairing::None {
            return Err(Error::invalid("q_rotated", "expected `rope` halves or pairs with it, got none"));
        }
        if self.q_heads == 0 || !self.q_heads.is_multiple_of(self.heads) {
            let message =
                format!("expected a multiple of the {} heads of k, got {}", self.heads, self.q_heads);
            return Err(Error::invalid("q", message));
        }
        Ok(())
    }

    fn validate_quantised(&self) -> Result<(), Error> {
        let dtype = self.cached_as();
        let names = [("k_scale", &self.k_scale), ("v_scale", &self.v_scale)];
        let Some(bits) = dtype.bits() else {
            let given = names.iter().find_map(|(option, name)| name.as_ref().map(|name| (option, name)));
            let Some((option, name)) = given else { return Ok(()) };
            let message = format!("expected `kv_dtype` i8 or i4 with scales, got {dtype} with `{name}`");
            return Err(Error::invalid(*option, message));
        };
        if let Some((option, _)) = names.iter().find(|(_, name)| name.is_none()) {
            return Err(Error::invalid(
                *option,
                format!("expected the name of a tensor with {dtype}, got none"),
            ));
        }
        if !(1..=MAX_QUANT_BLOCK).contains(&self.quant_block) {
            let message = format!("expected 1 to {MAX_QUANT_BLOCK}, got {}", self.quant_block);
            return Err(Error::invalid("quant_block", message));
        }
        // Rows are whole words: two of them would else have to change one.
        let unit = 32 / bits;
        for (name, width) in [("key_dim", self.key_dim), ("value_dim", self.value_dim)] {
            if !width.is_multiple_of(unit) {
                let message = format!("expected a multiple of {unit} with {dtype}, got {width}");
                return Err(Error::invalid(name, message));
            }
        }
        Ok(())
    }
}
