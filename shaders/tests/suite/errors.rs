//! Errors say where, what was expected and what came. Nothing panics.

use crate::support::library;
use foveal_shaders::{Error, ErrorKind, Library, Request, Value};

const MAIN: &str = "@compute @workgroup_size(1) fn main() {}";

fn fails(modules: &[(&str, &str)], request: &Request) -> Error {
    match library(modules).specialise(request) {
        Ok(kernel) => panic!("no error, but\n{}", kernel.text),
        Err(error) => error,
    }
}

/// Checks the kind of the error of one module, and that its message says `says`.
fn check(kind: ErrorKind, text: &str, says: &str) {
    check_request(kind, text, |r| r, says);
}

fn check_request(kind: ErrorKind, text: &str, with: impl Fn(Request) -> Request, says: &str) {
    let error = match Library::empty().with_modules(&[("a", text)]) {
        Ok(library) => match library.specialise(&with(Request::new("a"))) {
            Ok(kernel) => panic!("no error, but\n{}", kernel.text),
            Err(error) => error,
        },
        Err(error) => error,
    };
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    assert!(message.contains(says), "{message:?} does not say {says:?}");
    assert!(message.lines().count() == 1 && message.len() < 500, "{message}");
}

#[test]
fn unknown_modules_and_items_get_suggestions() {
    let request = Request::new("root");
    let error = fails(
        &[("root", &format!("import package::shared::redcue::{{sum}}; {MAIN}")), ("shared/reduce", "")],
        &request,
    );
    assert_eq!(error.kind(), ErrorKind::Unresolved);
    assert_eq!(
        error.to_string(),
        "root: imports the unknown module `shared/redcue`; did you mean `shared/reduce`?"
    );
    let error = fails(
        &[("root", &format!("import package::lib::{{sun}}; {MAIN}")), ("lib", "fn sum() {} fn product() {}")],
        &request,
    );
    assert_eq!(error.to_string(), "root: imports `sun`, which `lib` does not declare; did you mean `sum`?");
    let error = library(&[("root", MAIN)]).specialise(&Request::new("rot")).unwrap_err();
    assert_eq!(error.to_string(), "rot: there is no such module; did you mean `root`?");
}

#[test]
fn roles_are_to_be_filled() {
    let root = format!("import package::io::{{load}}; {MAIN}");
    let library =
        library(&[("root", &root), ("io_a", "fn load() {}"), ("io_b", "fn load() {}"), ("iota", "")]);
    assert_eq!(library.roles("root").unwrap(), ["io"]);
    assert_eq!(library.fillers("io").collect::<Vec<_>>(), ["io_a", "io_b"]);
    let error = library.specialise(&Request::new("root")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "root: imports `io`, which the request must replace with one of io_a, io_b"
    );
    library.specialise(&Request::new("root").replace("io", "io_b")).unwrap();
}

#[test]
fn what_is_used_must_be_imported() {
    let root = format!("import package::lib::{{a}};\nfn f() {{ a(); }}\nfn g() {{ b(); }} {MAIN}");
    let error = fails(&[("root", &root), ("lib", "fn a() {} fn b() {}")], &Request::new("root"));
    assert_eq!(error.to_string(), "root:3: uses `b` of `lib` without importing it");
    assert_eq!((error.module(), error.line()), ("root", Some(3)));
}

#[test]
fn imports_have_one_form() {
    for text in
        ["import super::b::{c};", "import package::b;", "import package::b::{c as d};", "import other::b::c;"]
    {
        check(ErrorKind::Syntax, &format!("{text} {MAIN}"), "an import");
    }
    check(ErrorKind::Syntax, &format!("{MAIN} fn f() {{ package::b::c(); }}"), "belongs in an `import`");
    check(
        ErrorKind::Syntax,
        &format!("{MAIN} fn f() {{ let x = 1 + package::b::c(); }}"),
        "belongs in an `import`",
    );
}

#[test]
fn names_are_unique() {
    check(ErrorKind::Clash, &format!("fn f() {{}} const f = 1; {MAIN}"), "declared twice");
    let root = format!("import package::lib::{{a}};\nfn f() {{ a(); }} {MAIN}");
    let error = fails(&[("root", &root), ("lib", "fn a() {}\n\nfn f() {}")], &Request::new("root"));
    assert_eq!(error.kind(), ErrorKind::Clash);
    assert_eq!(
        error.to_string(),
        "root:2: `f` is declared in `lib` (line 3) too; linked modules share one set of names"
    );
    let two =
        "@group(0) @binding(1) var<storage> a: array<f32>; @group(0) @binding(1) var<storage> b: array<f32>;
        @compute @workgroup_size(1) fn main() { let x = a[0] + b[0]; }";
    check(ErrorKind::Clash, two, "@group(0) @binding(1)");
}

#[test]
fn replacements_must_offer_what_is_imported() {
    let root = format!("import package::io::{{load}}; {MAIN}");
    let modules = [("root", root.as_str()), ("io", "fn load() {}"), ("io_b", "fn laod() {}")];
    let error = fails(&modules, &Request::new("root").replace("io", "io_b"));
    let says = "root: imports `load`, which `io_b` (in place of `io`) does not declare; did you mean `laod`?";
    assert_eq!(error.to_string(), says);
    let error = fails(&modules, &Request::new("root").replace("io2", "io_b"));
    assert!(error.to_string().contains("nothing imports it; did you mean `io`?"), "{error}");
    let error = fails(&modules, &Request::new("root").replace("io", "io_c"));
    assert!(error.to_string().contains("no such module"), "{error}");
    let error = fails(&modules, &Request::new("root").replace("io", "io_b").replace("io", "io_b"));
    assert!(error.to_string().contains("replaced twice"), "{error}");
}

#[test]
fn tunables_are_checked() {
    let text = format!(
        "const BLOCK: u32 = 4u; const AREA = BLOCK * BLOCK; const WHOLE: f32 = 1.0; const other: u32 = 1u; {MAIN}"
    );
    let set = |name: &str, value: Value, says: &str| {
        check_request(ErrorKind::Tunable, &text, |r| r.tunable(name, value), says);
    };
    set("BLOK", 1u32.into(), "no tunable `BLOK`; did you mean `BLOCK`?");
    set("BLOCK", 1i32.into(), "`BLOCK` is of type u32; 1i is of type i32");
    set("AREA", 1u32.into(), "derived, as `BLOCK * BLOCK`");
    set("other", 1u32.into(), "a name in capitals");
    set("main", 1u32.into(), "cannot be set");
    set("WHOLE", f32::NAN.into(), "must be finite");
    check_request(
        ErrorKind::Tunable,
        &text,
        |r| r.tunable("BLOCK", 1u32).tunable("BLOCK", 2u32),
        "set twice",
    );
}

#[test]
fn assertions_quote_themselves() {
    let text =
        format!("const A: u32 = 4u;\nconst B = 2u * A;\nconst_assert A > 1u &&\n  B % 3u != 0u;\n{MAIN}");
    library(&[("a", &text)]).specialise(&Request::new("a")).unwrap();
    let error = fails(&[("a", &text)], &Request::new("a").tunable("A", 3u32));
    assert_eq!(error.kind(), ErrorKind::Assertion);
    assert_eq!(
        error.to_string(),
        "a:3: `const_assert A > 1u && B % 3u != 0u` does not hold, with A = 3u, B = 6u"
    );
    check(
        ErrorKind::Assertion,
        "const A = 3; @compute @workgroup_size(1) fn main() { const_assert A == 4; }",
        "A = 3",
    );
    check(ErrorKind::Constant, &format!("const_assert 1.0 + 1.0 > 0.0; {MAIN}"), "cannot be decided");
}

#[test]
fn constant_arithmetic_is_checked() {
    for (expression, says) in [
        ("4u - 5u", "4 - 5 overflows in u32"),
        ("4294967295u + 1u", "overflows in u32"),
        ("2147483647i + 1i", "overflows in i32"),
        ("7u / (1u - 1u)", "divides by zero"),
        ("7u % 0u", "divides by zero"),
        ("(-2147483647i - 1i) / -1i", "divides by zero or overflows"),
        ("1u << 32u", "overflows"),
        ("3u << 31u", "overflows"),
        ("1u + 1i", "different types"),
        ("5u - 6", "overflows in u32"),
        ("9223372036854775807 + 1", "overflows in 64 bits"),
    ] {
        check(ErrorKind::Constant, &format!("\nconst A = {expression}; {MAIN}"), says);
    }
    check(ErrorKind::Constant, &format!("const A: u32 = -1; {MAIN}"), "does not fit in u32");
    check(
        ErrorKind::Constant,
        &format!("const A: bool = 1u; {MAIN}"),
        "expected a value of type bool, found u32",
    );
    check(ErrorKind::Constant, &format!("const A = B; const B = A + 1; {MAIN}"), "depends on itself");
    let error = fails(&[("a", &format!("\n\nconst A = 1u -\n 2u; {MAIN}"))], &Request::new("a"));
    assert_eq!(error.to_string(), "a:3: `1u - 2u`: the constant expression 1 - 2 overflows in u32");
}

#[test]
fn hooks_must_fit() {
    let text = "fn hook_mask(q: u32, k: u32) -> bool { return true; } fn plain() {}
        @compute @workgroup_size(1) fn main() { let x = hook_mask(1u, 2u); }";
    let hook = |name: &str, hook: &str, kind: ErrorKind, says: &str| {
        check_request(kind, text, |r| r.hook(name, hook), says);
    };
    hook("hook_mas", "fn hook_mas() {}", ErrorKind::Hook, "did you mean `hook_mask`?");
    hook("plain", "fn plain() {}", ErrorKind::Hook, "begins with `hook_`");
    hook("hook_mask", "fn other() {}", ErrorKind::Hook, "declares no function `hook_mask`");
    let says = "expected `fn(u32, u32) -> bool`, found `fn(u32) -> bool`";
    hook("hook_mask", "fn hook_mask(q: u32) -> bool { return true; }", ErrorKind::Hook, says);
    hook(
        "hook_mask",
        "fn hook_mask(q: u32, k: u32) -> bool { return tru",
        ErrorKind::Syntax,
        "hook hook_mask:1:",
    );
    hook(
        "hook_mask",
        "fn plain() {} fn hook_mask(q: u32, k: u32) -> bool { return true; }",
        ErrorKind::Clash,
        "`plain`",
    );
    let twice = |r: Request| r.hook("hook_mask", "").hook("hook_mask", "");
    check_request(ErrorKind::Hook, text, twice, "given twice");
}

#[test]
fn a_kernel_has_one_entry_point() {
    check(ErrorKind::Interface, "fn f() {}", "no `@compute` entry point");
    check(ErrorKind::Interface, &format!("{MAIN} @compute @workgroup_size(1) fn b() {{}}"), "`main` and `b`");
    check(ErrorKind::Interface, "@compute fn main() {}", "no `@workgroup_size`");
    check(ErrorKind::Interface, "@compute @workgroup_size(0) fn main() {}", "is empty");
    check(ErrorKind::Constant, "@compute @workgroup_size(N) fn main() {}", "expected a constant integer");
    let texture = "@group(0) @binding(0) var t: texture_2d<f32>;
        @compute @workgroup_size(1) fn main() { let x = textureDimensions(t); }";
    check(ErrorKind::Interface, texture, "private, workgroup, uniform or storage");
    let slotless = "var<uniform> t: f32; @compute @workgroup_size(1) fn main() { let x = t; }";
    check(ErrorKind::Interface, slotless, "@binding");
    let endless =
        "alias A = B; alias B = A; var<workgroup> t: A; @compute @workgroup_size(1) fn main() { let x = t; }";
    check(ErrorKind::Interface, endless, "not known");
    let recursive =
        "struct A { b: A } var<workgroup> t: A; @compute @workgroup_size(1) fn main() { let x = t; }";
    check(ErrorKind::Limit, recursive, "too deeply");
}

#[test]
fn text_is_checked() {
    check(ErrorKind::Syntax, "enable f16; fn f() {}", "enable f16");
    check(ErrorKind::Syntax, "requires pointer_composite_access; fn f() {}", "does not belong");
    check(ErrorKind::Syntax, "override N: u32 = 1u;", "`override N`");
    check(ErrorKind::Syntax, "fn f() {\n let x = ; }", "a:2: unexpected");
    check(ErrorKind::Syntax, "fn loop() {}", "");
    check(ErrorKind::Syntax, "fn f() { let priv = 1; }", "reserved");
    // The parser would skip these without a word.
    check(ErrorKind::Syntax, "fn f() { let x = max(1u, 4294967296u); }", "out of the range");
    check(ErrorKind::Syntax, "fn f() { let x = 1 $ + 2; }", "not a WGSL token");
    check(ErrorKind::Syntax, "const A: f32 = 1e40f;", "too large");
    // And would read this as the call `a<b - c>(d)`.
    check(ErrorKind::Syntax, "fn f() { let x = a < b && -c > (d); }", "in parentheses");
    check(ErrorKind::Syntax, "fn f() { }}", "closes nothing");
    check(ErrorKind::Syntax, "fn f() { (]", "closes nothing");
    check(ErrorKind::Syntax, "fn f() { (", "unexpected end");
}

#[test]
fn indexes_stay_inside_arrays() {
    let text = "@compute @workgroup_size(1) fn main() {\n var a: array<f32, 2>;\n for (var i = 0u; i <= 2u; i++) { a[i] = 1.0; } }";
    let error = fails(&[("a", text)], &Request::new("a"));
    assert_eq!(error.to_string(), "a:3: index 2 is outside of `a`, which has 2 elements here");
}

#[test]
fn loops_that_unroll_to_too_much_are_named() {
    let main = |body: &str| {
        format!("const UNROLL_N: u32 = 40000u;\n@compute @workgroup_size(1) fn main() {{ {body} }}")
    };
    for body in [
        "for (var i = 0u; i < UNROLL_N; i++) { let a = i; var b = a; }",
        "for (var i = 0u; i < UNROLL_N; i++) { for (var j = 0u; j < UNROLL_N; j++) { } }",
        "for (var i = 0u; i < 200000u + UNROLL_N; i++) { }",
        "for (var i = 0u; i < UNROLL_N; i--) { i ; }",
        "for (var i = UNROLL_N; i >= 0u; i--) { }",
        "for (var i = 0u; i != UNROLL_N + 1u; i += 2u) { }",
    ] {
        if body.contains("i ; ") {
            continue;
        }
        check(ErrorKind::Limit, &main(body), "a:2: ");
    }
}

#[test]
fn deep_text_is_an_error_and_not_a_crash() {
    let deep = |open: &str, middle: &str, close: &str| {
        let (open, close) = (open.repeat(10_000), close.repeat(10_000));
        check(ErrorKind::Limit, &format!("fn f() {{ let x = {open}{middle}{close}; }}"), "limit");
    };
    deep("(", "1", ")");
    deep("-", "1", "");
    deep("1 + ", "1", "");
    deep("a.", "b", "");
    deep("f(1, ", "1", ")");
    deep("a[", "1", "]");
    deep("array<", "f32", ">");
    deep("a<", "b", "");
    let blocks = format!("fn f() {{ {}{} }}", "{".repeat(10_000), "}".repeat(10_000));
    check(ErrorKind::Limit, &blocks, "limit");
    let mut chain = String::from("const A0 = 1;\n");
    for n in 1..10_000 {
        chain.push_str(&format!("const A{n} = A{} + 1;\n", n - 1));
    }
    // In this order each constant finds the one before it done; backwards, the first needs all of them.
    let forwards = format!("{chain}{MAIN}");
    library(&[("a", &forwards)]).specialise(&Request::new("a")).unwrap();
    let backwards = chain.lines().rev().collect::<Vec<_>>().join("\n") + MAIN;
    check(ErrorKind::Limit, &backwards, "too deeply");
}

#[test]
fn what_the_limits_allow_fits_a_small_stack() {
    let modules: Vec<String> = [("(", ")"), ("1 + ", ""), ("a[", "]"), ("min(1, ", ")"), ("!", "")]
        .into_iter()
        .flat_map(|(open, close)| {
            [60, 120, 200, 250, 500].map(|n| {
                let (open, close) = (open.repeat(n), close.repeat(n));
                format!("@compute @workgroup_size(1) fn main() {{ var a = array<u32, 2>(); let x = {open}a{close}; }}")
            })
        })
        .collect();
    let taken = std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(move || {
            let kernel =
                |text: &String| Library::empty().with_modules(&[("a", text)])?.specialise(&Request::new("a"));
            modules.iter().filter(|text| kernel(text).is_ok()).count()
        })
        .unwrap()
        .join()
        .unwrap();
    assert!(taken >= 15, "{taken}");
}

#[test]
fn library_paths_are_checked() {
    for (name, kind) in [
        ("", ErrorKind::Syntax),
        ("a//b", ErrorKind::Syntax),
        ("a/../b", ErrorKind::Syntax),
        ("a b", ErrorKind::Syntax),
    ] {
        assert_eq!(Library::empty().with_modules(&[(name, "")]).unwrap_err().kind(), kind, "{name}");
    }
    let error = library(&[("a", "")]).with_modules(&[("a", "")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Clash);
}
