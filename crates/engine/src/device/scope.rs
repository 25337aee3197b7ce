//! wgpu's error scopes, turned into values.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::Error;

#[cfg(not(target_family = "wasm"))]
type Popped = Pin<Box<dyn Future<Output = Option<wgpu::Error>> + Send>>;
#[cfg(target_family = "wasm")]
type Popped = Pin<Box<dyn Future<Output = Option<wgpu::Error>>>>;

/// Errors that the scopes around a call caught. Known at once on native backends; a browser tells later.
#[must_use = "errors that nobody looks at are lost"]
pub(crate) struct Caught {
    // Boxed: this is an error variant, and wgpu's errors are large.
    scopes: Box<[Scope; 3]>,
}

enum Scope {
    Waiting(Popped),
    Known(Option<wgpu::Error>),
}

/// Runs `call` with scopes for all errors that wgpu can raise.
///
/// Scopes belong to a thread and nest, so they are pushed and popped within this one synchronous call: a task that
/// moves between threads, or a host with scopes of its own on the same device, is not disturbed.
pub(crate) fn scoped<T>(device: &wgpu::Device, call: impl FnOnce() -> T) -> (T, Caught) {
    let validation = device.push_error_scope(wgpu::ErrorFilter::Validation);
    // wgpu 30 panics when it reads an internal error from a browser. Left to the browser's console, such an error leaves an
    // invalid object behind, whose first use is a validation error.
    let internal =
        cfg!(not(target_family = "wasm")).then(|| device.push_error_scope(wgpu::ErrorFilter::Internal));
    let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let value = call();
    // Popped innermost first; that is also the order in which causes are looked for, because running out of memory
    // leaves invalid objects behind, and what they raise is a consequence.
    let memory = Scope::Waiting(Box::pin(memory.pop()));
    let internal = internal.map_or(Scope::Known(None), |scope| Scope::Waiting(Box::pin(scope.pop())));
    let validation = Scope::Waiting(Box::pin(validation.pop()));
    (value, Caught { scopes: Box::new([memory, internal, validation]) })
}

impl Caught {
    /// Waits for the answer; `doing` says what the call was for.
    pub(crate) async fn check(mut self, doing: &str) -> Result<(), Error> {
        for scope in self.scopes.iter_mut() {
            if let Scope::Waiting(popped) = scope {
                *scope = Scope::Known(popped.await);
            }
        }
        self.first(doing)
    }

    /// The answer if it is known already, as it always is on native backends, or else `self`.
    pub(crate) fn check_now(mut self, doing: &str) -> Result<Result<(), Error>, Self> {
        let mut context = Context::from_waker(Waker::noop());
        for scope in self.scopes.iter_mut() {
            if let Scope::Waiting(popped) = scope {
                match popped.as_mut().poll(&mut context) {
                    Poll::Ready(error) => *scope = Scope::Known(error),
                    Poll::Pending => return Err(self),
                }
            }
        }
        Ok(self.first(doing))
    }

    fn first(mut self, doing: &str) -> Result<(), Error> {
        let error = self.scopes.iter_mut().find_map(|scope| match scope {
            Scope::Known(error) => error.take(),
            Scope::Waiting(_) => None,
        });
        error.map_or(Ok(()), |error| Err(Error::raised(doing, error)))
    }
}
