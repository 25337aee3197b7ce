//! Functions that take pointers to storage, and modules that pass on what they import: one function reads several bindings, in
//! any format.

use crate::inline::{error, text};
use crate::support::{library, specialise, validate};
use foveal_shaders::{ErrorKind, Request};

#[test]
fn functions_that_take_storage_read_the_binding_they_are_given() {
    let functions = "
        @group(0) @binding(1) var<storage, read> p: array<u32>;
        @group(0) @binding(2) var<storage, read> q: array<u32>;
        fn element(words: ptr<storage, array<u32>, read>, at: u32) -> f32 {
            let word = words[at / 2u];
            return f32(word >> (at % 2u * 16u));
        }
        fn sum(words: ptr<storage, array<u32>, read>, first: u32) -> f32 {
            var all = 0.0;
            for (var i = 0u; i < 3u; i++) { let e = element(words, first + i); all += e; }
            return all;
        }
        fn of_q(first: u32) -> f32 { return sum(&q, first); }";
    let text = text(functions, "var q = of_q(x); q += 1.0; let b = element(&p, x); data[x] = q + b;");
    let kernel = specialise(&library(&[("a", &text)]), &Request::new("a"));
    assert!(!kernel.text.contains("ptr<") && !kernel.text.contains("fn sum"), "{}", kernel.text);
    // A buffer's index demands no unrolling, and the caller's `q` does not hide the buffer.
    assert!(
        kernel.text.contains("for (var i = 0u; i < 3u; i++) {")
            && kernel.text.contains("let word = q[at / 2u];")
            && kernel.text.contains("p[x / 2u]"),
        "{}",
        kernel.text
    );
    let items = library(&[("a", &text)]).specialise_items(&Request::new("a")).unwrap();
    validate(&items);
    let nested = format!("{functions} fn two() -> f32 {{ return 2.0 * sum(&q, 0u); }}");
    let error = error(&nested, "data[x] = two();");
    assert_eq!(error.kind(), ErrorKind::Syntax, "{error}");
}

#[test]
fn modules_pass_on_what_they_import() {
    let root = "import package::io::{read}; @compute @workgroup_size(1) fn main() { let x = read(); }";
    let format = "import package::rows::{read}; fn element() -> u32 { return 7u; }";
    let rows = "import package::io::{element}; fn read() -> u32 { return element() + 1u; }";
    let of = |format: &str| {
        let library = library(&[("root", root), ("io_a", format), ("rows", rows)]);
        library.specialise(&Request::new("root").replace("io", "io_a"))
    };
    assert!(of(format).unwrap().text.contains("return element() + 1u;"));
    let error = of("import package::rows::{read, element};").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unresolved);
    assert!(error.to_string().contains("passes it on: no module declares it"), "{error}");
}
