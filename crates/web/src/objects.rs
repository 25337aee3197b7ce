//! Plain objects of the page.

use js_sys::{Object, Reflect};
use wasm_bindgen::JsValue;

/// Sets a field of a new object.
pub(crate) fn set(object: &Object, name: &str, value: impl Into<JsValue>) {
    // Only frozen objects and proxies refuse, and this one is new.
    let _ = Reflect::set(object, &name.into(), &value.into());
}
