//! A device with its queue: creating buffers, waiting, and noticing that it is gone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use foveal_kernels::Limits;

use crate::Error;
use crate::error::ErrorKind;
use crate::scope::scoped;

/// A device and its queue.
#[derive(Debug)]
pub(crate) struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    /// Why the device was lost, once it is. Only the engine's own devices tell by callback.
    lost: Arc<OnceLock<String>>,
    wait_limit: Duration,
}

impl Gpu {
    /// A device of the engine's own: loss is recorded, and errors outside scopes are logged where wgpu would panic.
    pub(crate) fn own(device: wgpu::Device, queue: wgpu::Queue, wait_limit: Duration) -> Self {
        let lost = Arc::new(OnceLock::new());
        let record = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            let message =
                if message.is_empty() { format!("{reason:?}") } else { format!("{reason:?}: {message}") };
            log::debug!("device lost: {message}");
            // The first reason is the cause; nobody needs the second.
            let _ = record.set(message);
        });
        device.on_uncaptured_error(Arc::new(|error| {
            log::error!("wgpu, outside of the engine's calls: {error}");
        }));
        Self { device, queue, lost, wait_limit }
    }

    /// The host's device, on which nothing is installed.
    pub(crate) fn borrowed(device: wgpu::Device, queue: wgpu::Queue, wait_limit: Duration) -> Self {
        Self { device, queue, lost: Arc::default(), wait_limit }
    }

    /// An error if the device is known to be lost. Costs nothing.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.lost.get().map_or(Ok(()), |reason| Err(Error::lost(format!("the device was lost: {reason}"))))
    }

    /// An error if the device is lost, whoever opened it. wgpu raises nothing when objects are created on a lost
    /// device, but does not map them: a request that is turned down at once tells.
    pub(crate) fn probe(&self) -> Result<(), Error> {
        self.check()?;
        let mapped = Arc::new(Signal::default());
        let signal = Arc::clone(&mapped);
        let descriptor = wgpu::BufferDescriptor {
            label: Some("foveal.probe"),
            size: 4,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        let (answer, caught) = scoped(&self.device, || {
            let buffer = self.device.create_buffer(&descriptor);
            buffer.map_async(wgpu::MapMode::Read, .., move |result| signal.set(result.is_ok()));
            let answer = mapped.get();
            buffer.unmap();
            answer
        });
        let full =
            matches!(caught.check_now("probe"), Ok(Err(error)) if error.kind() == ErrorKind::OutOfMemory);
        if answer != Some(false) || full {
            return Ok(());
        }
        let _ = self.lost.set("it maps buffers no more".to_owned());
        self.check()
    }

    /// What went wrong, if the device's loss is what is behind `error`.
    pub(crate) fn explain(&self, error: Error) -> Error {
        self.probe().err().filter(|cause| cause.kind() == ErrorKind::DeviceLost).unwrap_or(error)
    }

    /// Waits until a submission is done. Natively this blocks the thread that polls the future; a browser's event loop
    /// does the waiting there.
    pub(crate) fn wait(&self, index: &wgpu::SubmissionIndex) -> Result<(), Error> {
        if cfg!(target_family = "wasm") {
            return Ok(());
        }
        // One wait to the end. Waiting in steps, to look for something else in between, is not safe: wgpu-core 30
        // panics if a wait times out while another thread's poll finds the queue empty.
        let poll =
            wgpu::PollType::Wait { submission_index: Some(index.clone()), timeout: Some(self.wait_limit) };
        // It also panics when the driver reports that the device is lost. That is no reason to take the host down, and
        // its locks do not poison: its state is as good as that of any lost device.
        match catch_unwind(AssertUnwindSafe(|| self.device.poll(poll))) {
            Ok(Ok(_)) => self.check(),
            Ok(Err(wgpu::PollError::Timeout)) | Err(_) => {
                self.probe()?;
                let message = format!("it has not finished within {:?}, the wait limit", self.wait_limit);
                Err(Error::new(ErrorKind::Timeout, "device", message))
            }
            Ok(Err(wgpu::PollError::WrongSubmissionIndex(..))) => {
                self.probe()?;
                Err(Error::new(ErrorKind::Driver, "device", "it did not accept the work"))
            }
        }
    }

    /// Submits one command buffer, recorded by `record`, and returns its number.
    pub(crate) async fn submit(
        &self,
        label: &str,
        record: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<(), Error>,
    ) -> Result<wgpu::SubmissionIndex, Error> {
        self.check()?;
        let (index, caught) = scoped(&self.device, || {
            let descriptor = wgpu::CommandEncoderDescriptor { label: Some(label) };
            let mut encoder = self.device.create_command_encoder(&descriptor);
            record(&mut encoder)?;
            Ok(self.queue.submit([encoder.finish()]))
        });
        caught.check(label).await?;
        index
    }

    /// A buffer of `size` bytes. A size of zero is raised to four, because nothing can be done with an empty buffer.
    pub(crate) async fn buffer(
        &self,
        label: &str,
        size: u64,
        usage: wgpu::BufferUsages,
        limits: &Limits,
    ) -> Result<wgpu::Buffer, Error> {
        self.check()?;
        let rounded = size.max(4).checked_next_multiple_of(4).filter(|&size| size <= limits.max_buffer_size);
        let Some(size) = rounded else {
            let allowed = limits.max_buffer_size;
            let message = format!("{label} needs {size} bytes, the device allows {allowed} in a buffer");
            return Err(Error::limit("max_buffer_size", message));
        };
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
        let (buffer, caught) = scoped(&self.device, || self.device.create_buffer(&descriptor));
        caught.check(&format!("{label}, a buffer of {size} bytes")).await?;
        Ok(buffer)
    }

    /// Writes `bytes`, a multiple of four of them, before the next submission.
    pub(crate) async fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let ((), caught) = scoped(&self.device, || self.queue.write_buffer(buffer, offset, bytes));
        caught.check("writing to a buffer").await
    }

    /// The first `size` bytes of a `MAP_READ` buffer, once the submission that fills it is done.
    pub(crate) async fn read(
        &self,
        buffer: &wgpu::Buffer,
        size: u64,
        filled: wgpu::SubmissionIndex,
    ) -> Result<Vec<u8>, Error> {
        let mapped = Arc::new(Signal::default());
        let signal = Arc::clone(&mapped);
        let ((), caught) = scoped(&self.device, || {
            buffer.map_async(wgpu::MapMode::Read, 0..size, move |result| signal.set(result.is_ok()));
        });
        let read = async {
            caught.check("mapping a buffer").await?;
            self.wait(&filled)?;
            // The wait has run the callback. If it has not, the device went away, and waiting would be forever.
            let answer = if cfg!(target_family = "wasm") { Some(mapped.wait().await) } else { mapped.get() };
            if answer != Some(true) {
                return Err(Error::new(
                    ErrorKind::Driver,
                    "mapping a buffer",
                    "the device gave no access to it",
                ));
            }
            let view = buffer
                .get_mapped_range(0..size)
                .map_err(|error| Error::new(ErrorKind::Driver, "mapping a buffer", error.to_string()))?;
            Ok(view.to_vec())
        };
        let bytes = read.await.map_err(|error| self.explain(error));
        let ((), caught) = scoped(&self.device, || buffer.unmap());
        // The bytes are there or the error is; that unmapping a lost buffer fails as well is not news.
        let _ = caught.check("unmapping a buffer").await;
        bytes
    }
}

/// A value that a callback delivers.
#[derive(Debug, Default)]
struct Signal {
    state: Mutex<(Option<bool>, Option<Waker>)>,
}

impl Signal {
    fn set(&self, value: bool) {
        let mut state = lock(&self.state);
        state.0 = Some(value);
        let waker = state.1.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn get(&self) -> Option<bool> {
        lock(&self.state).0
    }

    async fn wait(&self) -> bool {
        std::future::poll_fn(|context| {
            let mut state = lock(&self.state);
            match state.0 {
                Some(value) => Poll::Ready(value),
                None => {
                    state.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// Locks without caring whether another thread panicked: every critical section of this crate leaves its data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
