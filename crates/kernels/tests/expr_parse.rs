//! The grammar: what binds how tightly, what is the same, and what is said where something is wrong.

use foveal_kernels::Dtype;
use foveal_kernels::expr::{Expr, ExprError, Structural, Table, Variable};

#[expect(clippy::panic, reason = "tests report by panicking")]
fn parse(text: &str) -> Expr {
    text.parse().unwrap_or_else(|error: ExprError| panic!("{text}: {error}"))
}

#[test]
fn operators_bind_as_documented() {
    for (text, explicit, canonical) in [
        ("causal|causal&causal", "causal | (causal & causal)", "causal | causal & causal"),
        ("(causal|causal)&causal", "((causal | causal)) & causal", "(causal | causal) & causal"),
        ("causal & (causal & causal)", "causal & ((causal & causal))", "causal & (causal & causal)"),
        ("causal & causal & causal", "(causal & causal) & causal", "causal & causal & causal"),
        ("q+k<h*2&q<k", "((q + k) < (h * 2)) & (q < k)", "q + k < h * 2 & q < k"),
        ("q - k - h", "(q - k) - h", "q - k - h"),
        ("q - (k - h)", "q - ((k - h))", "q - (k - h)"),
        ("q + k % h", "q + (k % h)", "q + k % h"),
        ("q / k * h", "(q / k) * h", "q / k * h"),
        ("-q % 3", "(-q) % 3", "-q % 3"),
        ("-(q % 3)", "-((q % 3))", "-(q % 3)"),
        ("q - -3", "q - (-3)", "q - -3"),
        ("q--3", "q - (-3)", "q - -3"),
        ("-2 * q", "(-2) * q", "-2 * q"),
        ("!causal & causal", "(!causal) & causal", "!causal & causal"),
        ("!(causal & causal)", "!((causal & causal))", "!(causal & causal)"),
        ("(q < k) == (k < h)", "((q < k)) == ((k < h))", "(q < k) == (k < h)"),
        ("max(q,k)+t[b,-k]", "(max(q, k)) + (t[b, (-k)])", "max(q, k) + t[b, -k]"),
    ] {
        assert_eq!(parse(text), parse(explicit), "{text}");
        assert_eq!(parse(text).to_string(), canonical);
    }
    assert_ne!(parse("causal & (causal & causal)"), parse("causal & causal & causal"));
}

#[test]
fn constants_are_computed_and_bools_that_cannot_matter_vanish() {
    for (text, canonical) in [
        ("window(2 * 8 - 1, 0)", "window(15, 0)"),
        ("q % (5 - 2) == 7 / 2", "q % 3 == 3"),
        ("-7 / 2 + -7 % 2 + 0 * q", "-3 + 0 * q"),
        ("true & causal", "causal"),
        ("causal | false", "causal"),
        ("causal & (1 > 2)", "false"),
        ("causal | !false", "true"),
        ("!!causal", "causal"),
        ("--q + -(-2) + abs(-3)", "q + 2 + 3"),
        ("floor(q) + clamp(9, 0, 5)", "q + 5"),
        ("s * -(2.5) + 1e3 + 1.50", "s * -2.5 + 1000.0 + 1.5"),
        ("s * 1e-7 + 1E20", "s * 1e-7 + 1e20"),
        ("s + 0.0 + -0.0", "s + 0.0 + -0.0"),
        ("s + 1.0 + 2.0", "s + 1.0 + 2.0"),
        ("q + 1 + 2", "q + 1 + 2"),
        ("q - -2147483648", "q - -2147483648"),
        (" \t\r\n causal\n& causal ", "causal & causal"),
    ] {
        assert_eq!(parse(text).to_string(), canonical, "{text}");
        assert_eq!(parse(canonical), parse(text), "{text}");
    }
}

/// Every error: text, column, part of the message.
const ERRORS: [(&str, usize, &str); 85] = [
    ("", 1, "empty"),
    (" \n", 1, "empty"),
    ("causal & windw(3, 0)", 10, "unknown name `windw`; did you mean `window`?"),
    ("causl", 1, "did you mean `causal`?"),
    ("q < segs", 5, "a table is indexed: `segs[..]`"),
    ("q < foo(3)", 5, "unknown name `foo`"),
    ("causal()", 1, "write it without parentheses"),
    ("s + alibi()", 5, "write it without parentheses"),
    ("window", 1, "`window(l, r)`"),
    ("causal | window(3)", 10, "takes 2 arguments, 1 is given"),
    ("sinks(1, 2, 3)", 1, "takes 1 argument, 3 are given"),
    ("q(3) < 2", 1, "not called"),
    ("true(3)", 1, "not called"),
    ("q[3] < 2", 1, "no table"),
    ("q < max[3]", 5, "no table"),
    ("a < b < c", 1, "unknown name `a`"),
    ("q < k < h", 7, "write `a < b & b < c`"),
    ("q == k != h", 8, "write `a < b & b < c`"),
    ("causal && causal", 8, "write `&`"),
    ("causal || causal", 8, "write `|`"),
    ("q = k", 3, "write `==`"),
    ("q === k", 3, "write `==`"),
    ("causal and causal", 8, "write `&`"),
    ("causal or causal", 8, "write `|`"),
    ("not causal", 1, "write `!`"),
    ("q ^ 2 < k", 3, "no power"),
    ("q ** 2 < k", 3, "no power"),
    ("q // 2 < k", 3, "rounds down"),
    ("q ≤ k", 3, "write `<=`"),
    ("causal ? 1 : 2", 8, "no conditional"),
    ("é < k", 1, "unexpected character `é`"),
    ("q < \u{1}", 5, "U+0001"),
    ("q < k)", 6, "closes nothing"),
    ("q < (k + (h)", 5, "`(` is never closed"),
    ("t[q, k < 3]", 6, "an index of `t` is an int"),
    ("t[q, k", 2, "`[` is never closed"),
    ("t[q) < 3", 4, "the bracket at column 2 is closed by `]`"),
    ("max(q, k] < 3", 9, "the bracket at column 4 is closed by `)`"),
    ("() < 3", 1, "nothing stands in `()`"),
    ("t[] < 3", 2, "one index a dimension"),
    ("q < ", 5, "the expression ends"),
    ("q < * k", 5, "expected an operand, not `*`"),
    ("window(1,, 2)", 10, "expected an operand, not `,`"),
    ("window(1, )", 11, "expected an operand, not `)`"),
    ("q k", 3, "expected an operator before `k`"),
    ("q 3", 3, "expected an operator before this number"),
    ("q < k, h", 6, "`,` stands only"),
    ("(q < k)[3]", 8, "only tables are indexed"),
    ("(q)(3)", 4, "only functions are called"),
    ("q < 3x", 5, "expected a decimal number"),
    ("q < 0x10", 5, "expected a decimal number"),
    ("q < 1.2.3", 5, "expected a decimal number"),
    ("s * .5", 5, "both sides of its point"),
    ("s * 5.", 5, "both sides of its point"),
    ("q < 2147483648", 5, "at most 2147483647"),
    ("q < 99999999999999999999999", 5, "at most 2147483647"),
    ("q < 2147483647 + 1", 16, "this is 2147483648"),
    ("s * 1e39", 5, "between"),
    ("s * 1e-60", 5, "between"),
    ("causal + 1", 1, "`+` takes numbers, this is a bool"),
    ("1 - causal", 5, "`-` takes numbers, this is a bool"),
    ("-causal", 2, "`-` takes numbers"),
    ("max(q, causal)", 8, "`max` takes numbers"),
    ("q & causal", 1, "`&` takes bools, this is an int"),
    ("causal & (mask[q, k])", 10, "write `mask[..] != 0`"),
    ("!mask[q, k]", 2, "write `mask[..] == 0`"),
    ("causal == 1", 8, "compares a bool with an int"),
    ("causal < causal", 1, "takes numbers"),
    ("q % 0 == 1", 5, "`%` by zero"),
    ("q % (2 - 2) == 1", 5, "`%` by zero"),
    ("s / 0.0", 5, "`/` by zero"),
    ("t[1.5] < 2", 3, "an index of `t` is an int, this is a float"),
    ("window(1.5, 0)", 8, "`l` of `window(l, r)` is an int"),
    ("causal & blocks(0)", 17, "`n` of `blocks(n)` is at least 1, not 0"),
    ("local(8, 1, -2)", 13, "`ry` of `local(w, rx, ry)` is at least 0"),
    ("softcap(0)", 9, "above 0"),
    ("softcap(s, 0.0)", 12, "above 0"),
    ("softcap(s, 1, 2)", 1, "takes 1 or 2 arguments, 3 are given"),
    ("alibi(s, 2)", 1, "takes no argument or 1, 2 are given"),
    (
        "causal & window(-1, 0)",
        17,
        "shows no key: it is `qp - l <= k & k <= qp + r`; no limit to the left is written `k <= qp`",
    ),
    ("window(3, -4)", 11, "no limit to the right is written `qp - 3 <= k`"),
    ("window(2 - 4, 1)", 8, "`window(-2, 1)` shows no key"),
    ("window(-1, -1)", 8, "without limits on either side there is no window to write"),
    ("disc(8, 0)", 9, "`r` of `disc(w, r)` is at least 1"),
    ("same(q)", 6, "no table"),
];

#[test]
fn errors_stand_at_their_column() {
    for (text, column, message) in ERRORS {
        let error = Expr::parse(text).expect_err(text);
        assert!(error.message.contains(message), "{text}: {error}");
        assert_eq!(error.column, column, "{text}: {error}");
        assert_eq!(error.excerpt().lines().last().map(str::len), Some(column), "{text}");
        assert!(error.to_string().starts_with(&format!("column {column}: ")));
    }
}

#[test]
fn windows_that_show_something_are_taken() {
    for text in
        ["window(-3, 3)", "window(5, -5)", "window(0, 0)", "window(t[h], -1)", "sinks(0) | window(1, 0)"]
    {
        Expr::parse_mask(text).expect(text);
    }
}

#[test]
fn what_adds_the_score_twice_is_noted() {
    for (text, column) in [
        ("softcap(30.0) + alibi", Some(15)),
        ("bias[h, q, k] + (alibi + s)", Some(24)),
        ("30 * tanh(s / 30) + alibi", Some(19)),
        ("alibi(s) + bias[q] + softcap(2.0)", Some(20)),
        ("max(s, 0.0) + s", Some(13)),
        ("alibi(softcap(s, 30.0))", None),
        ("softcap(30.0) + bias[h, q, k]", None),
        ("s - slope(h) * abs(qp - k) + 0.5 * s", None),
        ("s * bias[h] + s", None),
        ("softcap(30.0) - s", None),
        ("exp(s) + s", None),
    ] {
        let notes = Expr::parse_score(text).expect(text).notes();
        assert_eq!(notes.first().map(|note| note.column), column, "{text}: {notes:?}");
        assert!(notes.iter().all(|note| note.message.contains("`alibi(softcap(s, 30.0))`")));
    }
}

#[test]
fn segments_are_named_without_indices() {
    for (text, column) in
        [("same(t[q])", 7), ("same(t, u, v)", 10), ("same()", 6), ("same(3)", 6), ("same(a, causal)", 9)]
    {
        assert_eq!(Expr::parse(text).expect_err(text).column, column, "{text}");
    }
}

#[test]
fn masks_and_scores_are_told_apart() {
    for (text, column, message) in [
        ("s + 1", 1, "compare"),
        ("t[q]", 1, "write `t[..] != 0`"),
        ("causal & s > 0", 10, "`s` is of scores"),
        ("causal & alibi > 0", 10, "`alibi` is of scores"),
        ("softcap(3.0) > 0", 1, "`softcap` is of scores"),
    ] {
        let error = Expr::parse_mask(text).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    }
    assert_eq!(Expr::parse_score("causal & causal").expect_err("a bool").column, 1);
    assert!(Expr::parse_score("q - k").is_ok());
    // Of something else than the score they are numbers like others.
    assert!(Expr::parse_mask("softcap(q - k, 3.0) > alibi(1)").is_ok());
    assert!(Expr::parse_score("t[q, k]").is_ok());
    let error = Expr::parse_mask("s").expect_err("a number").in_argument("mask");
    assert_eq!(error.argument(), "mask");
    assert_eq!(error.to_string().lines().count(), 3);
}

#[test]
fn limits_are_errors() {
    let nested = |n: usize| format!("{}causal{}", "(".repeat(n), ")".repeat(n));
    assert!(Expr::parse(&nested(200)).is_ok());
    assert_eq!(Expr::parse(&nested(201)).expect_err("too deep").column, 201);
    let unary = |n: usize| format!("{}causal", "!".repeat(n));
    assert_eq!(parse(&unary(200)), parse("causal"));
    assert!(Expr::parse(&unary(201)).expect_err("too deep").message.contains("200"));
    let chain = |n: usize| vec!["q"; n].join("+");
    assert!(Expr::parse(&chain(5000)).is_ok());
    assert!(Expr::parse(&chain(5001)).expect_err("too many").message.contains("10000"));
    let long = |n: usize| format!("q{}", " ".repeat(n));
    assert!(Expr::parse(&long(65535)).is_ok());
    assert!(Expr::parse(&long(65536)).expect_err("too long").message.contains("65536"));
    // As long as is allowed, but not with a space on either side of each operator.
    let name = "a".repeat(20);
    let dense = vec![format!("{name}[k]"); 2600].join("+");
    assert!(dense.len() < 65536);
    assert!(Expr::parse(&dense).expect_err("too long").message.contains("space"));
    assert!(Expr::parse(&"a".repeat(256)).expect_err("name").message.contains("255"));
}

#[test]
fn what_an_expression_reads_is_known() {
    let score = parse("s + rel[bucket[q, k], h] + rel[0, h]");
    assert_eq!(score.table_names(), ["rel", "bucket"]);
    assert!(score.uses(Variable::Score) && score.uses(Variable::Head) && !score.uses(Variable::Batch));
    assert_eq!(parse("same(b1, a1) & same(a1)").table_names(), ["b1", "a1"]);
    for (text, variables) in [
        ("causal", &[Variable::Query, Variable::Key, Variable::QueryCount, Variable::KeyCount][..]),
        ("causal_top_left", &[Variable::Query, Variable::Key]),
        ("strided(3, 2)", &[Variable::Key]),
        ("sinks(h)", &[Variable::Head, Variable::Key]),
        ("qp < 3", &[Variable::Query, Variable::QueryCount, Variable::KeyCount]),
        ("g == b", &[Variable::Batch, Variable::KvHead]),
        ("causal & false", &[]),
    ] {
        use Variable::{Batch, Head, Key, KeyCount, KvHead, Query, QueryCount, Score};
        for variable in [Batch, Head, KvHead, Query, Key, QueryCount, KeyCount, Score] {
            assert_eq!(parse(text).uses(variable), variables.contains(&variable), "{text} {variable:?}");
        }
    }
    for (text, structural) in [
        ("causal", Some(Structural::Causal)),
        ("(causal & true)", Some(Structural::Causal)),
        ("causal_top_left", Some(Structural::CausalTopLeft)),
        ("1 < 2", Some(Structural::All)),
        ("false", None),
        ("causal & causal", None),
        ("q", None),
    ] {
        assert_eq!(parse(text).structural(), structural, "{text}");
    }
}

#[test]
fn binding_says_what_the_tables_lack() {
    let table =
        |name: &str, element, shape: &[usize]| Table { name: name.into(), element, shape: shape.to_vec() };
    let float = Dtype::F16;
    let tables = [
        table("bias", float, &[1, 2, 3, 4]),
        table("ids", Dtype::I32, &[2, 4]),
        table("line", float, &[4]),
        table("deep", Dtype::U8, &[1, 1, 1]),
    ];
    for (text, column, message) in [
        ("s + biass[b, h, q, k]", 5, "unknown table `biass`; did you mean `bias`?"),
        ("s + offsets[b]", 5, "the tables are bias, ids, line, deep"),
        ("s + bias[q, k]", 5, "`bias` has 4 dimensions, 2 indices are given"),
        ("s + line[q, k, 1]", 5, "`line` has 1 dimension, 3 indices are given"),
        ("s + ids[q]", 5, "`ids` has 2 dimensions, 1 index is given"),
        ("s + ids[b, line[k] + 1]", 12, "an index of `ids` is an int, this is a float"),
        ("causal & window(line[q], 0)", 17, "`l` of `window(l, r)` is an int"),
        ("s + slope(line[k])", 11, "`h` of `slope(h)` is an int"),
        ("same(line)", 1, "`line` is a float table"),
        ("same(ids, deep)", 1, "`deep` has 3 dimensions"),
    ] {
        let error = parse(text).bind(&tables).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
        assert!(error.excerpt().starts_with(text));
    }
    assert!(parse("causal & same(t)").bind(&[]).expect_err("none").message.contains("no tables are given"));
    let twice = [tables[0].clone(), tables[0].clone()];
    assert!(parse("causal").bind(&twice).expect_err("twice").message.contains("declared twice"));
    assert!(parse("causal").bind(&[table("q", float, &[1])]).is_err());
}
