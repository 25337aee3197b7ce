//! Helpers of the tests.

use foveal_shaders::{Library, Request, Specialised};
use naga::valid::{Capabilities, ValidationFlags, Validator};

/// A library of these modules alone.
pub(crate) fn library(modules: &[(&str, &str)]) -> Library {
    Library::empty().with_modules(modules).unwrap_or_else(|e| panic!("{e}"))
}

/// Panics, with the text, unless naga takes it.
pub(crate) fn validate(text: &str) -> naga::Module {
    let module = match naga::front::wgsl::parse_str(text) {
        Ok(module) => module,
        Err(e) => panic!("{}\n{text}", e.emit_to_string(text)),
    };
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    if let Err(e) = validator.validate(&module) {
        panic!("{}\n{text}", e.emit_to_string(text));
    }
    module
}

/// The specialised kernel, after naga has taken its text.
pub(crate) fn specialise(library: &Library, request: &Request) -> Specialised {
    let kernel = library.specialise(request).unwrap_or_else(|e| panic!("{e}"));
    validate(&kernel.text);
    kernel
}
