//! Any text: it parses or is refused; what parses prints as text that means the same, and binds or is refused.

#![no_main]

use foveal_kernels::Dtype;
use foveal_kernels::expr::{Expr, Table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let expression = match Expr::parse(text) {
        Ok(expression) => expression,
        Err(error) => {
            assert!(error.column <= text.chars().count() + 1);
            return;
        }
    };
    let canonical = expression.to_string();
    assert_eq!(Expr::parse(&canonical).as_ref(), Ok(&expression), "{canonical}");
    let table =
        |name: &str, element, shape: &[usize]| Table { name: name.into(), element, shape: shape.to_vec() };
    let tables = [
        table("ids", Dtype::I32, &[2, 8]),
        table("line", Dtype::U8, &[8]),
        table("bias", Dtype::F16, &[1, 2, 8, 8]),
    ];
    for given in [&tables[..], &[]] {
        if let Ok(program) = expression.bind(given) {
            assert!(!program.steps.is_empty());
        }
    }
});
