//! Functions that take pointers to arrays become part of their callers.

use crate::support::{library, specialise, validate};
use foveal_shaders::{Error, ErrorKind, Library, Request, Specialised};

const FUNCTIONS: &str = "
fn fill(p: ptr<function, array<f32, 2>>, value: f32) {
    for (var i = 0u; i < 2u; i++) { (*p)[i] = value; }
}
fn total(p: ptr<function, array<f32, 2>>) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < 2u; i++) { sum += (*p)[i]; }
    return sum;
}
fn put(p: ptr<function, array<f32, 2>>, at: u32, value: f32) { (*p)[at] = value; }
fn fill_rows(p: ptr<function, array<array<f32, 2>, 2>>, value: f32) {
    for (var r = 0u; r < 2u; r++) { fill(&(*p)[r], value); }
}
fn swap(a: ptr<function, f32>, b: ptr<function, f32>) { let t = *a; *a = *b; *b = t; }
fn twice(p: ptr<function, f32>) { *p += *p; }
fn early(p: ptr<function, array<f32, 2>>, x: u32) -> f32 {
    if (x > 1u) {
        return 1.0;
    }
    return (*p)[0];
}
fn chosen(p: ptr<function, array<f32, 2>>) -> f32 {
    if (LAST) { return (*p)[1]; }
    return (*p)[0];
}
";

pub(crate) fn text(functions: &str, statements: &str) -> String {
    format!(
        "const LAST: bool = false;
         @group(0) @binding(0) var<storage, read_write> data: array<f32>;
         {functions}
         @compute @workgroup_size(1)
         fn main(@builtin(local_invocation_index) x: u32) {{
             {statements}
         }}"
    )
}

fn kernel(functions: &str, statements: &str, with: impl Fn(Request) -> Request) -> Specialised {
    let text = text(functions, statements);
    // As written, and as it comes out, it is WGSL.
    validate(&text);
    specialise(&library(&[("a", &text)]), &with(Request::new("a")))
}

/// The specialised statements of `main`.
fn body(statements: &str) -> String {
    body_with("", statements)
}

fn body_with(functions: &str, statements: &str) -> String {
    let kernel = kernel(&format!("{FUNCTIONS}{functions}"), statements, |r| r);
    assert_eq!(kernel.arrays_left, Vec::<String>::new(), "{}", kernel.text);
    main_of(&kernel)
}

fn main_of(kernel: &Specialised) -> String {
    let (_, main) = kernel.text.split_once("x: u32) {").unwrap();
    main.trim().strip_suffix('}').unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(crate) fn error(functions: &str, statements: &str) -> Error {
    let text = text(functions, statements);
    let library = Library::empty().with_modules(&[("a", &text)]).unwrap();
    match library.specialise(&Request::new("a")) {
        Ok(kernel) => panic!("no error, but\n{}", kernel.text),
        Err(error) => error,
    }
}

fn check(kind: ErrorKind, statements: &str, says: &str) {
    let error = error(FUNCTIONS, statements);
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    assert!(message.contains(says), "{message:?} does not say {says:?}");
}

#[test]
fn a_body_replaces_its_call() {
    assert_eq!(
        body("var a: array<f32, 2>; fill(&a, data[x]); data[x] = a[0] + a[1];"),
        "var a_0: f32; var a_1: f32; let value: f32 = data[x]; a_0 = value; a_1 = value; data[x] = a_0 + a_1;"
    );
    let kernel = kernel(FUNCTIONS, "var a: array<f32, 2>; fill(&a, 1.0);", |r| r);
    assert!(!kernel.text.contains("fn fill"), "{}", kernel.text);
}

#[test]
fn values_come_back() {
    let sum = "var a_0: f32; var a_1: f32; var sum = 0.0; sum += a_0; sum += a_1;";
    let array = "var a: array<f32, 2>;";
    assert_eq!(
        body(&format!("{array} let t = total(&a); data[x] = t;")),
        format!("{sum} let t: f32 = sum; data[x] = t;")
    );
    assert_eq!(
        body(&format!("{array} var t = total(&a); data[x] = t;")),
        format!("{sum} var t: f32 = sum; data[x] = t;")
    );
    assert_eq!(body(&format!("{array} a[1] = total(&a);")), format!("{sum} a_1 = sum;"));
    assert_eq!(body(&format!("{array} total(&a);")), format!("{sum} let unused: f32 = sum;"));
    // The target is found before the call.
    assert_eq!(
        body(&format!("{array} var i = x; data[i] = total(&a); i = 0u;")),
        format!(
            "var a_0: f32; var a_1: f32; var i = x; let index = i; var sum = 0.0; sum += a_0; sum += a_1; data[index] = sum; i = 0u;"
        )
    );
}

#[test]
fn known_arguments_stay_known() {
    assert_eq!(
        body("var a: array<f32, 2>; put(&a, 1u, 2.0); data[x] = a[1];"),
        "var a_0: f32; var a_1: f32; let value: f32 = 2.0; a_1 = value; data[x] = a_1;"
    );
    assert_eq!(
        body(
            "var a: array<f32, 2>; let v = data[x]; for (var i = 0u; i < 2u; i++) { put(&a, i, v); } data[x] = a[1];"
        ),
        "var a_0: f32; var a_1: f32; let v = data[x]; a_0 = v; a_1 = v; data[x] = a_1;"
    );
    // A `var` may change, so the parameter is a copy.
    assert_eq!(
        body("var a: array<f32, 2>; var v = data[x]; put(&a, 0u, v); data[x] = a[0];"),
        "var a_0: f32; var a_1: f32; var v = data[x]; let value: f32 = v; a_0 = value; data[x] = a_0;"
    );
}

#[test]
fn elements_of_arrays_are_places_too() {
    let text = body("var m: array<array<f32, 2>, 2>; fill(&m[1], 1.0); data[x] = m[1][0];");
    assert!(text.ends_with("let value: f32 = 1.0; m_1_0 = value; m_1_1 = value; data[x] = m_1_0;"), "{text}");
    let text = body("var m: array<array<f32, 2>, 2>; fill_rows(&m, data[x]); data[x] = m[1][0];");
    assert!(
        text.ends_with("let value: f32 = data[x]; m_0_0 = value; m_0_1 = value; m_1_0 = value; m_1_1 = value; data[x] = m_1_0;"),
        "{text}"
    );
    let text = body(
        "var a: array<f32, 2>; for (var i = 0u; i < 1u; i++) { swap(&a[i], &a[i + 1u]); } data[x] = a[0];",
    );
    assert!(text.ends_with("let t_0 = a_0; a_0 = a_1; a_1 = t_0; data[x] = a_0;"), "{text}");
}

#[test]
fn pointers_are_passed_on() {
    let functions = "
        fn both(p: ptr<function, array<f32, 2>>, q: ptr<function, f32>) { fill(p, 3.0); twice(q); swap(q, &(*p)[1]); }";
    assert_eq!(
        body_with(functions, "var a: array<f32, 2>; var b = data[x]; both(&a, &b); data[x] = b;"),
        "var a_0: f32; var a_1: f32; var b = data[x]; let value: f32 = 3.0; a_0 = value; a_1 = value; twice(&b); \
         let t = b; b = a_1; a_1 = t; data[x] = b;"
    );
}

#[test]
fn functions_without_arrays_stay_calls() {
    let text = "var b = data[x]; var c = 1.0; swap(&b, &c); data[x] = b + c;";
    assert_eq!(body(text), text);
    // So do those that cannot be inlined, if they are given an element alone.
    let functions = "
        fn capped(p: ptr<function, f32>) -> f32 { if (*p > 1.0) { return 1.0; } return *p; }";
    assert_eq!(
        body_with(functions, "var a: array<f32, 2>; data[x] = 1.0 + capped(&a[1]);"),
        "var a_0: f32; var a_1: f32; data[x] = 1.0 + capped(&a_1);"
    );
}

#[test]
fn names_do_not_meet() {
    // `sum` and `value` are the caller's; a local `min` would hide the function that another callee calls.
    let functions = "
        fn least(p: ptr<function, array<f32, 2>>) -> f32 { let t = least_of(p); return min(t, 1.0); }
        fn least_of(p: ptr<function, array<f32, 2>>) -> f32 { let min = (*p)[0]; return min; }";
    let text = body_with(
        functions,
        "var a: array<f32, 2>; let sum = data[x]; let value = sum; fill(&a, value + 1.0); let t = total(&a);
         let l = least(&a); data[x] = sum + value + t + l;",
    );
    assert_eq!(
        text,
        "var a_0: f32; var a_1: f32; let sum = data[x]; let value = sum; let value_1: f32 = value + 1.0; a_0 = value_1; \
         a_1 = value_1; var sum_1 = 0.0; sum_1 += a_0; sum_1 += a_1; let t: f32 = sum_1; let min_1 = a_0; \
         let t_1: f32 = min_1; let l: f32 = min(t_1, 1.0); data[x] = sum + value + t + l;"
    );
}

#[test]
fn callers_and_callees_do_not_see_each_others_names() {
    let functions = "fn least(p: ptr<function, array<f32, 2>>) -> f32 { return min((*p)[0], (*p)[1]); }";
    let text = body_with(
        functions,
        "var a: array<f32, 2>; let min = data[x]; let l = least(&a); data[x] = min + l;",
    );
    assert_eq!(
        text,
        "var a_0: f32; var a_1: f32; let min_1 = data[x]; let l: f32 = min(a_0, a_1); data[x] = min_1 + l;"
    );
    let functions = "fn read(p: ptr<function, array<f32, 2>>) -> f32 { return (*p)[0] + own; }";
    let error =
        error(functions, "var a: array<f32, 2>; let own = data[x]; let r = read(&a); data[x] = own + r;");
    assert_eq!(error.kind(), ErrorKind::Unresolved);
    assert_eq!(error.to_string(), "a:3: `own` is not declared in `read`");
}

#[test]
fn locals_of_turns_have_names_of_their_own() {
    assert_eq!(
        body("var a: array<f32, 2>; for (var i = 0u; i < 2u; i++) { put(&a, i, data[i]); } data[x] = a[0];"),
        "var a_0: f32; var a_1: f32; let value_0: f32 = data[0u]; a_0 = value_0; let value_1: f32 = data[1u]; a_1 = value_1; \
         data[x] = a_0;"
    );
    // Loops that stay loops have the body once.
    assert_eq!(
        body("var a: array<f32, 2>; for (var i = 0u; i < x; i++) { fill(&a, f32(i)); } data[x] = a[0];"),
        "var a_0: f32; var a_1: f32; for (var i = 0u; i < x; i++) { let value: f32 = f32(i); a_0 = value; a_1 = value; } \
         data[x] = a_0;"
    );
    // Local arrays of the function become scalars as well, as often as it is called.
    let functions = "
        fn copied(p: ptr<function, array<f32, 2>>) -> f32 {
            var c: array<f32, 2>;
            for (var i = 0u; i < 2u; i++) { c[i] = (*p)[1u - i]; }
            return c[0];
        }";
    assert_eq!(
        body_with(
            functions,
            "var a: array<f32, 2>; let s = copied(&a); let t = copied(&a); data[x] = s + t;"
        ),
        "var a_0: f32; var a_1: f32; var c_0: f32; var c_1: f32; c_0 = a_1; c_1 = a_0; let s: f32 = c_0; \
         var c2_0: f32; var c2_1: f32; c2_0 = a_1; c2_1 = a_0; let t: f32 = c2_0; data[x] = s + t;"
    );
}

#[test]
fn constants_decide_which_return_is_the_last() {
    assert_eq!(
        body("var a: array<f32, 2>; let c = chosen(&a); data[x] = c;"),
        "var a_0: f32; var a_1: f32; let c: f32 = a_0; data[x] = c;"
    );
    let kernel = kernel(FUNCTIONS, "var a: array<f32, 2>; let c = chosen(&a); data[x] = c;", |r| {
        r.tunable("LAST", true)
    });
    assert_eq!(main_of(&kernel), "var a_0: f32; var a_1: f32; let c: f32 = a_1; data[x] = c;");
}

#[test]
fn rolled_text_is_inlined_too() {
    let kernel = kernel(
        FUNCTIONS,
        "var m: array<array<f32, 2>, 2>; for (var r = 0u; r < 2u; r++) { fill(&m[r], 1.0); } data[x] = m[1][0];",
        |r| r.unroll(false),
    );
    assert_eq!(
        main_of(&kernel),
        "var m: array<array<f32, 2>, 2>; for (var r = 0u; r < 2u; r++) { let index = r; let value: f32 = 1.0; \
         for (var i = 0u; i < 2u; i++) { m[index][i] = value; } } data[x] = m[1][0];"
    );
}

#[test]
fn pointers_need_no_star_where_they_are_indexed() {
    let functions = "fn first(p: ptr<function, array<f32, 2>>) -> f32 { return p[0]; }";
    let text = text(functions, "var a: array<f32, 2>; let f = first(&a); data[x] = f;");
    let kernel = specialise(&library(&[("a", &text)]), &Request::new("a"));
    assert_eq!(main_of(&kernel), "var a_0: f32; var a_1: f32; let f: f32 = a_0; data[x] = f;");
}

#[test]
fn calls_stand_alone() {
    for statements in [
        "var a: array<f32, 2>; data[x] = 1.0 + total(&a);",
        "var a: array<f32, 2>; let t = max(total(&a), 1.0);",
        "var a: array<f32, 2>; var t = 1.0; t += total(&a);",
        "var a: array<f32, 2>; if (total(&a) > 1.0) { data[x] = 1.0; }",
        "var a: array<f32, 2>; for (var t = total(&a); t < 1.0; t += 1.0) { data[x] = 1.0; }",
        "var a: array<f32, 2>; for (var i = 0u; i < x; fill(&a, 1.0)) { i += 1u; }",
        "var a: array<f32, 2>; while (total(&a) < 1.0) { fill(&a, 1.0); }",
    ] {
        check(ErrorKind::Syntax, statements, "as a statement of its own");
    }
    // Code that is never reached may be anything.
    assert_eq!(body("var a: array<f32, 2>; if (LAST) { data[x] = 1.0 + total(&a); }"), "");
}

#[test]
fn early_returns_are_errors_with_their_place() {
    let early = error(FUNCTIONS, "var a: array<f32, 2>; let t = early(&a, x);");
    assert_eq!(
        early.to_string(),
        "a:20: the body of `early` replaces its call, because it takes a pointer to an array: it may have one `return`, as its \
         last statement"
    );
    let jumps = "fn stop(p: ptr<function, array<f32, 2>>) { if ((*p)[0] > 1.0) { break; } }";
    let statements = "var a: array<f32, 2>; loop { stop(&a); }";
    assert_eq!(error(jumps, statements).kind(), ErrorKind::Syntax);
    let endless = "fn none(p: ptr<function, array<f32, 2>>) -> f32 { (*p)[0] = 1.0; }";
    assert_eq!(error(endless, "var a: array<f32, 2>; let t = none(&a);").kind(), ErrorKind::Syntax);
}

#[test]
fn wrong_calls_are_errors() {
    check(ErrorKind::Syntax, "var a: array<f32, 2>; fill(&a);", "`fill` takes 2 arguments, found 1");
    check(ErrorKind::Syntax, "var a: array<f32, 2>; let t = fill(&a, 1.0);", "`fill` returns nothing");
    // In the caller's line, because the array is the caller's.
    let error = error(FUNCTIONS, "var a: array<f32, 2>;\n\nput(&a, 2u, 1.0);");
    assert_eq!(error.to_string(), "a:33: index 2 is outside of `a`, which has 2 elements here");
    assert_eq!(error.kind(), ErrorKind::Bounds);
    // An argument that is no pointer is the compiler's business.
    let text =
        text(FUNCTIONS, "var a: array<f32, 2>; fill(a, 1.0); fill(x, 1.0); fill(&x, 1.0); fill(1u, 1.0);");
    Library::empty().with_modules(&[("a", &text)]).unwrap().specialise(&Request::new("a")).unwrap();
}

#[test]
fn inlining_ends() {
    let again = "fn again(p: ptr<function, array<f32, 2>>) { again(p); }";
    let endless = error(again, "var a: array<f32, 2>; again(&a);");
    assert_eq!(
        (endless.kind(), endless.to_string()),
        (ErrorKind::Syntax, "a:3: `again` calls itself".to_owned())
    );

    // Twice as much with each: 2^30 bodies.
    let mut functions = "fn f0(p: ptr<function, array<f32, 2>>) {}\n".to_owned();
    for n in 1..30 {
        let inner = n - 1;
        functions += &format!(
            "fn f{n}(p: ptr<function, array<f32, 2>>, i: u32) {{ f{inner}(p, i); f{inner}(p, i); }}\n"
        );
    }
    let functions = functions.replacen("2>>) {}", "2>>, i: u32) {}", 1);
    let wide = error(&functions, "var a: array<f32, 2>; for (var i = 0u; i < 2u; i++) { f29(&a, i); }");
    assert_eq!(wide.kind(), ErrorKind::Limit, "{wide}");

    let mut functions = "fn f0(p: ptr<function, array<f32, 2>>) {}\n".to_owned();
    for n in 1..500 {
        functions += &format!("fn f{n}(p: ptr<function, array<f32, 2>>) {{ f{}(p); }}\n", n - 1);
    }
    let deep = error(&functions, "var a: array<f32, 2>; f499(&a);");
    assert_eq!(deep.kind(), ErrorKind::Limit, "{deep}");
}

#[test]
fn functions_of_other_modules_are_inlined() {
    let library = library(&[
        (
            "root",
            "import package::shared::fill::{fill};
             @group(0) @binding(0) var<storage, read_write> data: array<f32>;
             @compute @workgroup_size(1) fn main(@builtin(local_invocation_index) x: u32) {
                 var a: array<f32, 4>; fill(&a); data[x] = a[3]; }",
        ),
        (
            "shared/fill",
            "const COUNT: u32 = 4u;
             fn value(i: u32) -> f32 { return f32(i); }
             fn fill(p: ptr<function, array<f32, COUNT>>) { for (var i = 0u; i < COUNT; i++) { (*p)[i] = value(i); } }",
        ),
    ]);
    let kernel = specialise(&library, &Request::new("root"));
    assert!(kernel.text.contains("a_3 = value(3u);") && !kernel.text.contains("fn fill"), "{}", kernel.text);
    validate(&format!(
        "{}\n@compute @workgroup_size(1) fn main() {{}}",
        library.specialise_items(&Request::new("shared/fill")).unwrap()
    ));
}

#[test]
fn steps_import_from_their_kernel() {
    let modules = |stage: &str| {
        let root = format!(
            "import package::step::{{put}};
             import package::memory::{{{stage}}};
             const COUNT: u32 = 3u;
             @compute @workgroup_size(1) fn main(@builtin(local_invocation_index) x: u32) {{
                 var a: array<f32, COUNT>; put(&a, x); }}"
        );
        let step = "import package::kernel::{COUNT, stage};
            fn put(p: ptr<function, array<f32, COUNT>>, x: u32) { stage[x] = (*p)[COUNT - 1u]; }";
        let memory = format!("var<workgroup> {stage}: array<f32, 8>;");
        library(&[("root", &root), ("step", step), ("memory", &memory)])
    };
    let kernel = specialise(&modules("stage"), &Request::new("root"));
    assert!(kernel.text.contains("stage[x] = a_2;"), "{}", kernel.text);
    assert_eq!(modules("stage").roles("root").unwrap(), Vec::<String>::new());
    let error = modules("shelf").specialise(&Request::new("root")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unresolved);
    assert_eq!(
        error.to_string(),
        "step: imports `stage`, which `root` (in place of `kernel`) does not declare"
    );
}
