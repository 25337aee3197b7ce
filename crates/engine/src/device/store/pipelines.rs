//! Compiled pipelines, as the driver wants them kept.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use foveal_kernels::AdapterProfile;
use xxhash_rust::xxh3::xxh3_128;

use crate::device::gpu::lock;
use crate::device::scope::scoped;
use crate::device::store::files;
use crate::device::store::key::key;
use crate::device::trusted;

/// A file that grew beyond this is not worth its reading.
const LIMIT_BYTES: usize = 64 << 20;

const MAGIC: [u8; 8] = *b"FOVEALPC";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 8 + 4 + 16 + 8 + 16;

/// The driver's cache of compiled pipelines, kept in a file.
#[derive(Debug)]
pub(crate) struct StoredPipelines {
    cache: wgpu::PipelineCache,
    path: PathBuf,
    key: u128,
    /// Checksum of what the file holds.
    written: Mutex<Option<u128>>,
}

impl StoredPipelines {
    /// The cache for this adapter and driver, with what the file holds if it is sound.
    pub(crate) fn open(
        dir: &Path,
        device: &wgpu::Device,
        info: &wgpu::AdapterInfo,
        profile: &AdapterProfile,
    ) -> Option<Self> {
        let key = key(profile, &wgpu::util::pipeline_cache_key(info)?);
        let path = dir.join(format!("pipelines-{key:032x}.bin"));
        let file = files::read(&path, (LIMIT_BYTES + HEADER_BYTES) as u64);
        let data = file.as_deref().and_then(|file| {
            let data = unframe(file, key);
            if data.is_none() {
                log::debug!("{} is damaged or foreign and ignored", path.display());
            }
            data
        });
        let create = |data| {
            let (cache, caught) = scoped(device, || trusted::pipeline_cache(device, data));
            matches!(caught.check_now("pipeline cache"), Ok(Ok(()))).then_some(cache)
        };
        let cache = create(data).or_else(|| create(None))?;
        Some(Self { cache, path, key, written: Mutex::new(data.map(xxh3_128)) })
    }

    pub(crate) fn cache(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Writes the cache if it has changed.
    pub(crate) fn save(&self) {
        let Some(data) = self.cache.get_data().filter(|data| !data.is_empty() && data.len() <= LIMIT_BYTES)
        else {
            return;
        };
        let checksum = xxh3_128(&data);
        let mut written = lock(&self.written);
        if *written != Some(checksum) {
            files::write(&self.path, &[&header(&data, self.key), &data]);
            *written = Some(checksum);
        }
    }
}

fn header(data: &[u8], key: u128) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend(MAGIC);
    header.extend(FORMAT.to_le_bytes());
    header.extend(key.to_le_bytes());
    header.extend((data.len() as u64).to_le_bytes());
    header.extend(xxh3_128(data).to_le_bytes());
    header
}

/// The data in a file, if every byte of it is as it was written for this key.
fn unframe(file: &[u8], key: u128) -> Option<&[u8]> {
    let (head, data) = file.split_at_checked(HEADER_BYTES)?;
    (head == header(data, key)).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_anywhere_makes_the_file_foreign() {
        let data = b"what a driver compiled".as_slice();
        let file = [header(data, 7).as_slice(), data].concat();
        assert_eq!(unframe(&file, 7), Some(data));
        assert_eq!(unframe(&file, 8), None, "another adapter's");
        for index in 0..file.len() {
            let mut damaged = file.clone();
            damaged[index] ^= 0x10;
            assert_eq!(unframe(&damaged, 7), None, "byte {index}");
            assert_eq!(unframe(&file[..index], 7), None, "cut to {index}");
        }
        assert_eq!(unframe(&[&file[..], b"x"].concat(), 7), None, "longer");
    }
}
