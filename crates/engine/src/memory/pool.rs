//! Buffers that are used again.

use std::sync::{Arc, Mutex};

use foveal_kernels::Limits;

use crate::Error;
use crate::device::gpu::{Gpu, lock};

/// Idle buffers beyond this are given back to the driver, oldest first.
const IDLE_LIMIT_BYTES: u64 = 256 << 20;

/// Idle buffers by size.
///
/// Only buffers whose content need not last come from here: scratch, and tensors of
/// [`Engine::run`](crate::Engine::run). Two kernels may so use one buffer in turn; the queue's order and wgpu's
/// barriers keep them apart.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    buffers: Vec<wgpu::Buffer>,
    bytes: u64,
}

/// A buffer that goes back to its pool when it is dropped.
#[derive(Debug)]
pub(crate) struct Pooled {
    buffer: wgpu::Buffer,
    pool: Arc<Pool>,
}

impl Pooled {
    pub(crate) fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    pub(crate) fn is_of(&self, pool: &Arc<Pool>) -> bool {
        Arc::ptr_eq(&self.pool, pool)
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut idle = lock(&self.pool.idle);
        idle.bytes += self.buffer.size();
        idle.buffers.push(self.buffer.clone());
        let mut excess = idle.bytes.saturating_sub(IDLE_LIMIT_BYTES);
        let mut dropped = 0;
        while excess > 0 && dropped < idle.buffers.len() {
            let size = idle.buffers[dropped].size();
            excess = excess.saturating_sub(size);
            idle.bytes -= size;
            dropped += 1;
        }
        idle.buffers.drain(..dropped);
    }
}

impl Pool {
    /// A buffer of at least `size` bytes with any content. `MAP_READ` buffers can be read back, the others are for
    /// shaders and copies.
    pub(crate) async fn take(
        self: &Arc<Self>,
        gpu: &Gpu,
        label: &str,
        size: u64,
        usage: wgpu::BufferUsages,
        limits: &Limits,
    ) -> Result<Pooled, Error> {
        let class = size_class(size).min(limits.max_buffer_size & !3).max(size);
        let idle = {
            let mut idle = lock(&self.idle);
            let fits = |buffer: &wgpu::Buffer| buffer.size() == class && buffer.usage() == usage;
            let found = idle.buffers.iter().position(fits);
            found.map(|index| {
                idle.bytes -= class;
                idle.buffers.remove(index)
            })
        };
        let buffer = match idle {
            Some(buffer) => buffer,
            None => gpu.buffer(label, class, usage, limits).await?,
        };
        Ok(Pooled { buffer, pool: Arc::clone(self) })
    }

    /// Bytes of idle buffers.
    pub(crate) fn idle_bytes(&self) -> u64 {
        lock(&self.idle).bytes
    }

    /// Gives all idle buffers back to the driver.
    pub(crate) fn clear(&self) {
        *lock(&self.idle) = Idle::default();
    }
}

/// `size` rounded up so that few different sizes occur: to powers of two, and from a mebibyte on to quarters between
/// them, which wastes less than a quarter.
fn size_class(size: u64) -> u64 {
    const SMALLEST: u64 = 256;
    const FINE_FROM: u64 = 1 << 20;
    if size > 1 << 62 {
        return size;
    }
    let power = size.max(SMALLEST).next_power_of_two();
    if power <= FINE_FROM { power } else { size.next_multiple_of(power / 8) }
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn size_classes_hold_the_size_and_waste_less_than_a_quarter() {
        for size in
            (0..200).map(|i| 1 + i * 7919).chain([1 << 20, (1 << 20) + 4, 5 << 20, 1 << 31, (1 << 32) + 4])
        {
            let class = size_class(size);
            assert!(class >= size && class.is_multiple_of(4), "{size} -> {class}");
            assert!(size <= 1 << 20 || class <= size + size / 4, "{size} -> {class}");
            assert_eq!(size_class(class), class, "a class is its own class");
        }
    }
}
