//! Errors as the page sees them: plain objects, which `foveal.js` turns into `FovealError`s.

use std::cell::RefCell;

use foveal::{Error, ErrorKind};
use foveal_kernels::TextSpan;
use js_sys::{Function, Object};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};

use crate::objects::set;

/// An error, with the name of its kind in `foveal.d.ts`.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: &'static str,
    argument: String,
    message: String,
    place: Option<TextSpan>,
}

impl Failure {
    pub(crate) fn usage(argument: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: "usage", argument: argument.into(), message: message.into(), place: None }
    }

    pub(crate) fn limit(argument: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: "limit", argument: argument.into(), message: message.into(), place: None }
    }

    pub(crate) fn internal(argument: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: "internal", argument: argument.into(), message: message.into(), place: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Usage if error.place().is_some() => "invalid",
            ErrorKind::Usage => "usage",
            ErrorKind::NoAdapter => "no-adapter",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Limit => "limit",
            ErrorKind::Refused => "refused",
            ErrorKind::OutOfMemory => "out-of-memory",
            ErrorKind::DeviceLost => "device-lost",
            ErrorKind::Timeout => "timeout",
            // A kernel that a browser's validation rejects has passed the engine's own checks: not the page's fault.
            ErrorKind::Validation | ErrorKind::Driver => "driver",
            _ => "internal",
        };
        let text = error.to_string();
        let message =
            text.strip_prefix(error.argument()).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text);
        Self {
            kind,
            argument: error.argument().to_owned(),
            message: message.to_owned(),
            place: error.place(),
        }
    }
}

impl From<foveal_kernels::Error> for Failure {
    fn from(error: foveal_kernels::Error) -> Self {
        Self::from(Error::from(error))
    }
}

#[expect(clippy::cast_precision_loss, reason = "columns of a text")]
impl From<Failure> for JsValue {
    fn from(failure: Failure) -> Self {
        let object = Object::new();
        set(&object, "kind", failure.kind);
        set(&object, "argument", failure.argument);
        set(&object, "message", failure.message);
        if let Some(TextSpan { column, length }) = failure.place {
            set(&object, "column", column as f64);
            set(&object, "length", length as f64);
        }
        object.into()
    }
}

thread_local! {
    static ON_PANIC: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Has `handler` called with the message if this code panics. Panics are faults of Foveal's; the module cannot go on after
/// one, and promises that wait for it would wait forever.
#[wasm_bindgen]
pub fn on_panic(handler: Function) {
    ON_PANIC.set(Some(handler));
    std::panic::set_hook(Box::new(|info| {
        ON_PANIC.with_borrow(|handler| {
            if let Some(handler) = handler {
                // An error of the handler cannot be reported.
                let _ = handler.call1(&JsValue::NULL, &JsValue::from(info.to_string()));
            }
        });
    }));
}
