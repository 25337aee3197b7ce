//! Each pass on small inputs.

use crate::support::{library, specialise};
use foveal_shaders::{BindingKind, Request};

/// A kernel around statements, with a few things for them to use.
pub(crate) fn kernel(statements: &str) -> String {
    format!(
        "const N: u32 = 4u;
         const SIGNED: i32 = -3;
         const ON: bool = true;
         const EPSILON: f32 = 0.5;
         const TWICE = 2u * N;
         const UNROLL_N: u32 = 3u;
         alias Row = array<f32, 2>;
         @group(0) @binding(0) var<storage, read_write> data: array<f32>;
         @group(0) @binding(1) var<storage, read> ints: array<u32>;
         fn side() -> u32 {{ data[9] += 1.0; return 1u; }}
         @compute @workgroup_size(1)
         fn main(@builtin(local_invocation_index) x: u32) {{
             {statements}
         }}"
    )
}

/// The specialised body of `main`, one statement after the other.
fn body(statements: &str) -> String {
    body_of(statements, |r| r)
}

fn body_of(statements: &str, with: impl Fn(Request) -> Request) -> String {
    let text = kernel(statements);
    let library = library(&[("test/kernel", &text)]);
    let kernel = specialise(&library, &with(Request::new("test/kernel")));
    let (_, main) = kernel.text.split_once("x: u32) {").unwrap();
    main.trim().strip_suffix('}').unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn arrays_left(statements: &str) -> Vec<String> {
    let text = kernel(statements);
    specialise(&library(&[("test/kernel", &text)]), &Request::new("test/kernel")).arrays_left
}

#[test]
fn constants_keep_their_names_until_they_are_computed_with() {
    assert_eq!(body("data[x] = f32(x * N);"), "data[x] = f32(x * N);");
    assert_eq!(body("data[x] = f32(x * (N + 1u));"), "data[x] = f32(x * 5u);");
    assert_eq!(body("data[x] = f32(x * TWICE + ints[N]);"), "data[x] = f32(x * TWICE + ints[4u]);");
    assert_eq!(body_of("data[x] = f32(x * (N + 1u));", |r| r.tunable("N", 7u32)), "data[x] = f32(x * 8u);");
}

#[test]
fn lets_of_known_value_vanish() {
    assert_eq!(body("let a = N * 2u; let b = a + 1u; data[b] = 1.0;"), "data[9u] = 1.0;");
    assert_eq!(body("const A = 3; let b: u32 = A; data[b] = f32(A);"), "data[3u] = f32(3);");
    assert_eq!(body("let a = SIGNED; data[x] = f32(a * i32(x));"), "data[x] = f32((-3i) * i32(x));");
}

#[test]
fn identities_of_integers_are_simplified() {
    assert_eq!(body("data[x + 0u] = f32(1u * x);"), "data[x] = f32(x);");
    assert_eq!(body("data[0u * x + 0u] = 1.0;"), "data[0u] = 1.0;");
    assert_eq!(body("data[(x * 1u - 0u) / 1u] = 1.0;"), "data[x] = 1.0;");
    // Not where a vector, a call or a float is on the other side.
    assert_eq!(body("let v = vec2u(x) * 0u; data[v.x] = 1.0;"), "let v = vec2u(x) * 0u; data[v.x] = 1.0;");
    assert_eq!(body("data[0u * side()] = 1.0;"), "data[0u * side()] = 1.0;");
    assert_eq!(body("data[x] = data[x] + 0.0 * 2.0;"), "data[x] = data[x] + 0.0 * 2.0;");
    assert_eq!(body("data[x] = data[x] + 0;"), "data[x] = data[x] + 0;");
}

#[test]
fn integer_functions_of_known_values_are_computed() {
    assert_eq!(body("data[max(N, 9u) + min(2, N)] = 1.0;"), "data[11u] = 1.0;");
    assert_eq!(body("data[u32(SIGNED + 5) + clamp(N, 0u, 3u)] = 1.0;"), "data[5u] = 1.0;");
    assert_eq!(body("data[select(1u, 2u, ON) + u32(abs(SIGNED))] = 1.0;"), "data[5u] = 1.0;");
}

#[test]
fn constant_conditions_keep_the_live_branch() {
    assert_eq!(body("if (N > 3u) { data[0] = 1.0; } else { data[1] = 1.0; }"), "data[0] = 1.0;");
    assert_eq!(body("if (!ON) { data[0] = 1.0; } else if (N == 4u) { data[1] = 1.0; }"), "data[1] = 1.0;");
    assert_eq!(
        body("if (x > 1u) { data[0] = 1.0; } else if (ON) { data[1] = 1.0; } else { data[2] = 1.0; }"),
        "if (x > 1u) { data[0] = 1.0; } else { data[1] = 1.0; }"
    );
    assert_eq!(body("if (!ON && 1u / (N - 4u) > 0u) { data[0] = 1.0; }"), "");
    assert_eq!(body("if (ON && x > 2u) { data[0] = 1.0; }"), "if (x > 2u) { data[0] = 1.0; }");
    assert_eq!(body("if (EPSILON > 0.0) { data[0] = 1.0; }"), "data[0] = 1.0;");
    assert_eq!(body("while (!ON) { data[0] = 1.0; }"), "");
    assert_eq!(
        body(
            "switch N { case 1u: { data[0] = 1.0; } case 4u, 5u: { data[1] = 1.0; } default: { data[2] = 1.0; } }"
        ),
        "data[1] = 1.0;"
    );
}

#[test]
fn a_live_branch_does_not_leak_its_names() {
    assert_eq!(
        body("let a = data[0]; if (ON) { let a = data[1]; data[2] = a; } data[3] = a;"),
        "let a = data[0]; let a_1 = data[1]; data[2] = a_1; data[3] = a;"
    );
}

#[test]
fn what_follows_a_return_is_dropped() {
    assert_eq!(body("if (ON) { return; } data[0] = 1.0;"), "return;");
}

#[test]
fn loops_over_arrays_are_unrolled_into_scalars() {
    assert_eq!(
        body(
            "var a: array<f32, 2>; for (var i = 0u; i < 2u; i++) { a[i] = data[i]; } data[x] = a[0] + a[1];"
        ),
        "var a_0: f32; var a_1: f32; a_0 = data[0u]; a_1 = data[1u]; data[x] = a_0 + a_1;"
    );
    // Through a `let`, and with every kind of header.
    for header in
        ["var i = 0; i <= 1; i += 1", "var i = 1i; i >= 0i; i--", "var i: i32 = 0; i != 2; i = i + 1"]
    {
        let text = body(&format!(
            "var a: array<f32, 2>; for ({header}) {{ let j = i + 0; a[j] = 2.0; }} data[x] = a[1];"
        ));
        assert!(text.contains("a_0 = 2.0;") && text.contains("a_1 = 2.0;"), "{text}");
    }
}

#[test]
fn unrolled_bodies_share_one_block_with_new_names() {
    assert_eq!(
        body(
            "var a: Row; for (var i = 0u; i < 2u; i++) { let t = data[i]; a[i] = t * t; } data[x] = a[0] + a[1];"
        ),
        "var a_0: f32; var a_1: f32; let t_0 = data[0u]; a_0 = t_0 * t_0; let t_1 = data[1u]; a_1 = t_1 * t_1; \
         data[x] = a_0 + a_1;"
    );
    // A name that is taken is not made again.
    assert!(
        body("let t_0 = x; for (var i = 0u; i < UNROLL_N; i++) { let t = data[i]; data[t_0] = t; }")
            .contains("let t_0_1 =")
    );
}

#[test]
fn inner_bounds_may_depend_on_the_outer_variable() {
    assert_eq!(
        body(
            "var a: array<array<f32, 2>, 2>;
             for (var i = 0u; i < 2u; i++) { for (var j = 0u; j <= i; j++) { a[i][j] = f32(i + j); } }
             data[x] = a[1][1];"
        ),
        "var a_0_0: f32; var a_0_1: f32; var a_1_0: f32; var a_1_1: f32; \
         a_0_0 = f32(0u); a_1_0 = f32(1u); a_1_1 = f32(2u); data[x] = a_1_1;"
    );
}

#[test]
fn other_loops_stay_loops() {
    let rolled = "for (var i = 0u; i < N; i++) { data[i] = 1.0; }";
    assert_eq!(body(rolled), rolled);
    for statements in [
        "var a: Row; for (var i = 0u; i < 2u; i++) { if (x == i) { break; } a[i] = 1.0; } data[0] = a[x];",
        "var a: Row; for (var i = 0u; i < 2u; i++) { if (x == i) { continue; } a[i] = 1.0; } data[0] = a[x];",
        "var a: Row; for (var i = 0u; i < 2u; i++) { a[i] = 1.0; i += x; } data[0] = a[x];",
        "var a: Row; for (var i = 0u; i < x; i++) { a[i] = 1.0; } data[0] = a[0];",
        "var a: Row; for (var i = 0u; i < 2u; i++) { var t = i; a[t] = 1.0; } data[0] = a[0];",
        "for (var i = 0u; i < 8u; i += UNROLL_N) { data[i] = 1.0; }",
    ] {
        assert!(body(statements).contains("for (var i"), "{}", body(statements));
    }
    // A switch's `break` is not the loop's.
    let text = body(
        "var a: Row; for (var i = 0u; i < 2u; i++) { switch x { case 1u: { break; } default: { a[i] = 1.0; } } } data[0] = a[1];",
    );
    assert!(!text.contains("for (") && text.contains("a_1 = 1.0;"), "{text}");
}

#[test]
fn a_break_that_folding_drops_keeps_no_single_turn() {
    assert_eq!(
        body("for (var i = 0u; i < 1u; i++) { data[i] = 1.0; if N < 2u { break; } if N < 2u { continue; } }"),
        "data[0u] = 1.0;"
    );
    for live in ["if x == 1u { break; }", "if N > 2u { continue; }"] {
        let text = body(&format!("for (var i = 0u; i < 1u; i++) {{ {live} data[i] = 1.0; }}"));
        assert!(text.contains("for (var i"), "{text}");
    }
    // Of several turns, the later ones would have to be known too.
    let text = body("for (var i = 0u; i < UNROLL_N; i++) { data[i] = 1.0; if i == 7u { break; } }");
    assert!(text.contains("for (var i"), "{text}");
}

#[test]
fn the_author_may_ask_for_unrolling() {
    assert_eq!(
        body("for (var i = 0u; i < UNROLL_N; i++) { data[i] = 1.0; }"),
        "data[0u] = 1.0; data[1u] = 1.0; data[2u] = 1.0;"
    );
}

#[test]
fn loops_of_one_or_no_iteration_are_resolved() {
    assert_eq!(body("for (var i = 2u; i < 3u; i++) { data[i] = 1.0; }"), "data[2u] = 1.0;");
    assert_eq!(body("for (var i = N; i < 3u; i++) { data[i] = 1.0; }"), "");
}

#[test]
fn a_return_may_end_an_unrolled_loop() {
    assert_eq!(
        body(
            "for (var i = 0u; i < UNROLL_N; i++) { if (i == 1u) { return; } data[i] = 1.0; } data[7] = 1.0;"
        ),
        "data[0u] = 1.0; return;"
    );
}

#[test]
fn known_run_time_values_wrap_as_they_would() {
    // `i` and `j` are run-time values in WGSL: 0u - 1u is not an error there, nor is division by zero.
    assert_eq!(
        body(
            "for (var i = 0u; i < UNROLL_N; i++) { let j = i - 1u; if (j == 4294967295u) { data[8u / i] = 1.0; } }"
        ),
        "data[8u] = 1.0;"
    );
    // A literal zero divisor or a literal shift by 32 would be rejected: they get the run-time meaning.
    assert_eq!(
        body(
            "for (var i = 0u; i < UNROLL_N - 2u; i++) { data[x / i] = 1.0; data[x % i] = 1.0; data[x << (i + 33u)] = 1.0; }"
        ),
        "data[x] = 1.0; data[x % 1u] = 1.0; data[x << 1u] = 1.0;"
    );
    assert_eq!(
        body("var s = x; for (var i = 0u; i < UNROLL_N - 2u; i++) { s /= i; s %= i; } data[s] = 1.0;"),
        "var s = x; s /= 1u; s %= 1u; data[s] = 1.0;"
    );
}

#[test]
fn constructors_are_taken_apart() {
    assert_eq!(
        body("var a = array<f32, 2>(data[0], 2.0); a = Row(); a[1] += 1.0; data[x] = a[0] + a[1];"),
        "var a_0: f32 = data[0]; var a_1: f32 = 2.0; a_0 = 0.0f; a_1 = 0.0f; a_1 += 1.0; data[x] = a_0 + a_1;"
    );
    assert_eq!(
        body("let w = array<u32, 2>(x, 2u); data[w[1]] = f32(w[0]);"),
        "let w_0: u32 = x; let w_1: u32 = 2u; data[w_1] = f32(w_0);"
    );
    assert_eq!(
        body("var a = array<vec2f, 2>(); a[0].x = 1.0; a[1][1] = 2.0; data[x] = a[0].x + a[1].y;"),
        "var a_0: vec2f; var a_1: vec2f; a_0.x = 1.0; a_1[1] = 2.0; data[x] = a_0.x + a_1.y;"
    );
}

#[test]
fn a_constructor_that_reads_its_target_is_one_value() {
    let statements = "var a = Row(1.0, 2.0); a = Row(a[1], a[0]); data[x] = a[0];";
    assert_eq!(arrays_left(statements), ["main.a"]);
}

#[test]
fn arrays_with_other_uses_stay_arrays() {
    assert_eq!(arrays_left("var a: Row; data[0] = a[x];"), ["main.a"]);
    assert_eq!(
        arrays_left("var a: Row; var b = Row(1.0, 2.0); a = b; data[0] = a[0];"),
        ["main.a", "main.b"]
    );
    assert_eq!(arrays_left("var a: Row; let p = &a; (*p)[1] = 1.0; data[0] = a[0];"), ["main.a"]);
    assert_eq!(arrays_left("var a: Row; let p = &a[1]; *p = 1.0; data[0] = a[1];"), Vec::<String>::new());
    // Rows that are used whole stay, the array of rows does not.
    let statements = "var a: array<Row, 2>; a[1] = Row(1.0, 2.0); a[0] = a[1]; data[0] = a[1][x];";
    assert_eq!(arrays_left(statements), ["main.a"]);
    assert!(
        body(statements).contains("var a_1: array<f32, 2>; a_1 = Row(1.0, 2.0); a_0 = a_1;"),
        "{}",
        body(statements)
    );
}

#[test]
fn rolled_text_keeps_loops_and_arrays() {
    let statements =
        "var a: array<f32, 2>; for (var i = 0u; i < 2u; i++) { a[i] = data[i]; } data[x] = a[0] + a[1];";
    assert_eq!(
        body_of(statements, |r| r.unroll(false)),
        "var a: array<f32, 2>; for (var i = 0u; i < 2u; i++) { a[i] = data[i]; } data[x] = a[0] + a[1];"
    );
}

#[test]
fn locals_may_have_the_names_of_items() {
    let text = body("let side = data[0]; var data: array<f32, 2>; data[0] = side;");
    assert_eq!(text, "let side_1 = data[0]; var data_0: f32; var data_1: f32; data_0 = side_1;");
}

#[test]
fn modules_are_linked_and_shaken() {
    let library = library(&[
        (
            "root/kernel",
            "// What it computes.
// In two lines.

// Not part of the header.
import package::shared::io::{load, store};
import package::shared::maths::square;
const FANCY: bool = false;
@compute @workgroup_size(8, 4) fn main(@builtin(local_invocation_index) x: u32) {
    if (FANCY) { store(x, fancy(load(x))); } else { store(x, square(load(x))); }
}
fn fancy(v: f32) -> f32 { return v * table[1]; }
@group(0) @binding(5) var<storage, read> table: array<f32>;",
        ),
        (
            "shared/io",
            "@group(0) @binding(0) var<storage, read> source: array<f32>;
             @group(0) @binding(1) var<storage, read_write> target_: array<f32>;
             fn load(x: u32) -> f32 { return source[x]; }
             fn store(x: u32, v: f32) { target_[x] = v; }",
        ),
        (
            "shared/io_f16",
            "@group(0) @binding(0) var<storage, read> source: array<f16>;
             @group(0) @binding(1) var<storage, read_write> target_: array<f32>;
             fn load(x: u32) -> f32 { return f32(source[x]); }
             fn store(x: u32, v: f32) { target_[x] = v; }",
        ),
        // Imports may form a cycle.
        (
            "shared/maths",
            "import package::shared::more::{cube}; fn square(v: f32) -> f32 { return v * v; } fn unused() -> f32 { return cube(2.0); }",
        ),
        (
            "shared/more",
            "import package::shared::maths::{square}; fn cube(v: f32) -> f32 { return v * square(v); }",
        ),
    ]);
    let kernel = specialise(&library, &Request::new("root/kernel"));
    assert!(kernel.text.starts_with(
        "// What it computes.\n// In two lines.\n// Specialised from root/kernel: FANCY = false, unrolled\n"
    ));
    for absent in ["fancy", "table", "cube", "unused", "Not part", "FANCY:", "enable"] {
        assert!(!kernel.text.contains(absent), "{absent} in {}", kernel.text);
    }
    let slots: Vec<_> =
        kernel.interface.bindings.iter().map(|b| (b.index, b.name.as_str(), b.kind.clone())).collect();
    assert_eq!(
        slots,
        [
            (0, "source", BindingKind::Storage { read_only: true }),
            (1, "target_", BindingKind::Storage { read_only: false })
        ]
    );
    assert_eq!(kernel.interface.workgroup_size, [8, 4, 1]);
    assert!(!kernel.interface.uses_f16);

    let fancy = specialise(&library, &Request::new("root/kernel").tunable("FANCY", true));
    assert_eq!(fancy.interface.bindings.len(), 3);
    let half = specialise(&library, &Request::new("root/kernel").replace("shared/io", "shared/io_f16"));
    assert!(half.interface.uses_f16 && half.text.starts_with("enable f16;\n// What"));
}

#[test]
fn hooks_are_replaced() {
    let library = library(&[
        (
            "root/kernel",
            "import package::root::hooks::{hook_mask};
             @group(0) @binding(0) var<storage, read_write> o: array<u32>;
             fn helper(x: u32) -> u32 { return x + 2u; }
             @compute @workgroup_size(1) fn main() { o[0] = u32(hook_mask(helper(1u), 2u)); }",
        ),
        ("root/hooks", "fn hook_mask(q: u32, k: u32) -> bool { return true; }"),
    ]);
    let request = Request::new("root/kernel");
    assert!(specialise(&library, &request).text.contains("return true;"));
    let text = "const WIDTH: u32 = 3u;
        @group(0) @binding(7) var<storage, read> table: array<u32>;
        fn inside(a: u32) -> bool { return a < WIDTH + helper(a); }
        fn hook_mask(query: u32, key: u32) -> bool { return inside(key) && table[query] > 0u; }";
    let hooked = specialise(&library, &request.clone().hook("hook_mask", text).tunable("WIDTH", 5u32));
    assert!(
        hooked.text.contains("table[query] > 0u") && !hooked.text.contains("return true;"),
        "{}",
        hooked.text
    );
    assert!(hooked.text.contains("const WIDTH: u32 = 5u;"));
    assert_eq!(hooked.interface.bindings.len(), 2);
}
