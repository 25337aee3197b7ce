//! Kernels that calls like earlier ones find ready.

use std::cell::RefCell;

use foveal::Kernel;
use foveal_kernels::{Dtype, HostTensor};
use xxhash_rust::xxh3::Xxh3;

/// A page that calls with ever other sizes must not fill the GPU's memory with the scratch of kernels it is done with.
const MAX_KERNELS: usize = 64;
const MAX_SCRATCH_BYTES: u64 = 256 << 20;

/// Kernels by what they were called with, the one that was used last at the end.
#[derive(Debug, Default)]
pub(crate) struct Kernels {
    kept: RefCell<Vec<(u128, Kernel)>>,
}

impl Kernels {
    pub(crate) fn get(&self, key: u128) -> Option<Kernel> {
        let mut kept = self.kept.borrow_mut();
        let index = kept.iter().position(|(other, _)| *other == key)?;
        let entry = kept.remove(index);
        let kernel = entry.1.clone();
        kept.push(entry);
        Some(kernel)
    }

    pub(crate) fn insert(&self, key: u128, kernel: &Kernel) {
        let mut kept = self.kept.borrow_mut();
        kept.retain(|(other, _)| *other != key);
        kept.push((key, kernel.clone()));
        let bytes = |kept: &[(u128, Kernel)]| -> u64 {
            kept.iter().map(|(_, kernel)| kernel.plan().scratch_bytes()).sum()
        };
        while kept.len() > 1 && (kept.len() > MAX_KERNELS || bytes(&kept) > MAX_SCRATCH_BYTES) {
            kept.remove(0);
        }
    }

    pub(crate) fn clear(&self) {
        self.kept.borrow_mut().clear();
    }
}

/// Properties that calls with the same kernel share: words, and of each tensor its name, shape and storage type, with
/// its elements if those describe the problem.
pub(crate) fn key<'a>(
    words: [&str; 3],
    tensors: impl Iterator<Item = (&'a str, &'a [usize], Dtype, Option<&'a HostTensor>)>,
) -> u128 {
    let mut hash = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    words.iter().for_each(|word| part(word.as_bytes()));
    for (name, shape, dtype, elements) in tensors {
        part(name.as_bytes());
        part(format!("{shape:?} {dtype}").as_bytes());
        if let Some(elements) = elements {
            part(&elements.to_bytes(dtype));
        }
    }
    hash.digest128()
}
