//! A device with its queue: creating buffers, waiting, and noticing that it is gone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use foveal_kernels::Limits;

use crate::Error;
use crate::device::scope::{Caught, scoped};
use crate::error::ErrorKind;

/// A device and its queue.
#[derive(Debug)]
pub(crate) struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    /// Only the engine's own devices tell by callback.
    lost: Arc<Lost>,
    wait_limit: Duration,
}

impl Gpu {
    /// A device of the engine's own: loss is recorded, and errors outside scopes are logged where wgpu would panic.
    pub(crate) fn own(device: wgpu::Device, queue: wgpu::Queue, wait_limit: Duration) -> Self {
        let lost = Arc::new(Lost::default());
        let record = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            let message =
                if message.is_empty() { format!("{reason:?}") } else { format!("{reason:?}: {message}") };
            log::debug!("device lost: {message}");
            record.set(message);
        });
        // A browser reports such errors in its console, and wgpu 30 panics on internal ones on their way to a handler.
        if cfg!(not(target_family = "wasm")) {
            device.on_uncaptured_error(Arc::new(|error| {
                log::error!("wgpu, outside of the engine's calls: {error}");
            }));
        }
        Self { device, queue, lost, wait_limit }
    }

    /// The host's device, on which nothing is installed.
    pub(crate) fn borrowed(device: wgpu::Device, queue: wgpu::Queue, wait_limit: Duration) -> Self {
        Self { device, queue, lost: Arc::default(), wait_limit }
    }

    /// An error if the device is known to be lost. Costs nothing.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.lost.reason.get().map_or(Ok(()), |reason| Err(lost_error(reason)))
    }

    /// From now on the device counts as lost.
    pub(crate) fn mark_lost(&self, reason: String) {
        self.lost.set(reason);
    }

    /// Waits until the device is known to be lost.
    pub(crate) async fn lost(&self) -> Error {
        lost_error(&self.lost.wait().await)
    }

    /// An error if the device, the engine's or the host's, is lost. wgpu raises nothing when objects are created on a
    /// lost device, but does not map them: a request that is turned down tells.
    pub(crate) async fn probe(&self) -> Result<(), Error> {
        if cfg!(not(target_family = "wasm")) {
            return self.probe_now();
        }
        self.check()?;
        let (mapped, buffer, caught) = self.map_probe();
        let full = is_full(&caught.check("probe").await);
        let answer = mapped.wait().await;
        let ((), _) = scoped(&self.device, || buffer.unmap());
        self.judge_probe(answer || full)
    }

    /// [`Gpu::probe`] without waiting: native backends turn requests down at once, a browser has only told if the device
    /// was lost a while ago.
    pub(crate) fn probe_now(&self) -> Result<(), Error> {
        self.check()?;
        let (mapped, buffer, caught) = self.map_probe();
        let answer = mapped.get();
        let ((), _) = scoped(&self.device, || buffer.unmap());
        let full = matches!(caught.check_now("probe"), Ok(result) if is_full(&result));
        self.judge_probe(answer != Some(false) || full)
    }

    fn map_probe(&self) -> (Arc<Signal>, wgpu::Buffer, Caught) {
        let mapped = Arc::new(Signal::default());
        let signal = Arc::clone(&mapped);
        let descriptor = wgpu::BufferDescriptor {
            label: Some("foveal.probe"),
            size: 4,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        let (buffer, caught) = scoped(&self.device, || {
            let buffer = self.device.create_buffer(&descriptor);
            buffer.map_async(wgpu::MapMode::Read, .., move |result| signal.set(result.is_ok()));
            buffer
        });
        (mapped, buffer, caught)
    }

    fn judge_probe(&self, alive: bool) -> Result<(), Error> {
        if alive {
            return Ok(());
        }
        self.lost.set("it maps buffers no more".to_owned());
        self.check()
    }

    /// The device's loss, if it is behind `error`; else `error`.
    pub(crate) async fn explain(&self, error: Error) -> Error {
        self.probe().await.err().filter(|cause| cause.kind() == ErrorKind::DeviceLost).unwrap_or(error)
    }

    /// [`Gpu::explain`] of a result.
    pub(crate) async fn explained<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// [`Gpu::explain`] without waiting.
    pub(crate) fn explain_now(&self, error: Error) -> Error {
        self.probe_now().err().filter(|cause| cause.kind() == ErrorKind::DeviceLost).unwrap_or(error)
    }

    /// Waits until a submission is done. Natively this blocks the thread that polls the future; in a browser, whose event
    /// loop waits, it is everything that was submitted until now.
    pub(crate) async fn wait(&self, index: &wgpu::SubmissionIndex) -> Result<(), Error> {
        if cfg!(target_family = "wasm") {
            let done = Arc::new(Signal::default());
            let signal = Arc::clone(&done);
            self.queue.on_submitted_work_done(move || signal.set(true));
            done.wait().await;
            return self.check();
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
                self.probe_now()?;
                let message = format!("it has not finished within {:?}, the wait limit", self.wait_limit);
                Err(Error::new(ErrorKind::Timeout, "device", message))
            }
            Ok(Err(wgpu::PollError::WrongSubmissionIndex(..))) => {
                self.probe_now()?;
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
            if cfg!(not(target_family = "wasm")) {
                self.wait(&filled).await?;
            }
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
        let bytes = self.explained(read.await).await;
        let ((), caught) = scoped(&self.device, || buffer.unmap());
        // The bytes are there or the error is; that unmapping a lost buffer fails as well is not news.
        let _ = caught.check("unmapping a buffer").await;
        bytes
    }
}

fn lost_error(reason: &str) -> Error {
    Error::lost(format!("the device was lost: {reason}"))
}

/// Whether a call failed for want of memory.
fn is_full(result: &Result<(), Error>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::OutOfMemory)
}

/// Why a device was lost, once it is.
#[derive(Debug, Default)]
struct Lost {
    reason: OnceLock<String>,
    waiting: Mutex<Vec<Waker>>,
}

impl Lost {
    fn set(&self, reason: String) {
        // The first reason is the cause; later ones are dropped.
        let _ = self.reason.set(reason);
        for waker in std::mem::take(&mut *lock(&self.waiting)) {
            waker.wake();
        }
    }

    async fn wait(&self) -> String {
        std::future::poll_fn(|context| {
            // The lock is taken first, so that a loss cannot come between the look and the waker.
            let mut waiting = lock(&self.waiting);
            if let Some(reason) = self.reason.get() {
                return Poll::Ready(reason.clone());
            }
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
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
