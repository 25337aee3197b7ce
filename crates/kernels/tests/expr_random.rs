//! Random expressions hold what is promised of every expression.

use foveal_kernels::Dtype;
use foveal_kernels::expr::{Expr, ExprKind, Op, Sizes, Table, Type};

fn table(name: &str, element: Dtype, shape: &[usize]) -> Table {
    Table { name: name.into(), element, shape: shape.to_vec() }
}

fn tables(sizes: &Sizes) -> Vec<Table> {
    let Sizes { batch, q_heads, q_len, kv_len, .. } = *sizes;
    vec![
        table("bias", Dtype::F32, &[1, q_heads, q_len, kv_len]),
        table("rel", Dtype::F16, &[q_heads, 25]),
        table("segments", Dtype::I32, &[batch, kv_len]),
        table("seg_q", Dtype::I32, &[q_len]),
        table("seg_k", Dtype::I32, &[kv_len]),
        table("bucket", Dtype::U8, &[q_len, kv_len]),
    ]
}

#[test]
fn random_expressions_parse_print_and_bind() {
    for (batch, kv_heads, group, q_len, kv_len) in [(2, 2, 3, 37, 100), (1, 1, 1, 64, 16), (1, 1, 4, 1, 1)] {
        let sizes = Sizes { batch, q_heads: kv_heads * group, kv_heads, q_len, kv_len };
        let tables = tables(&sizes);
        for seed in 0..4000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            for kind in [ExprKind::Mask, ExprKind::Score] {
                let size = 1 + rng.usize(..40);
                let given = if rng.u8(..5) == 0 { &[][..] } else { &tables[..] };
                let expression = Expr::random(&mut rng, kind, given, &sizes, size)
                    .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", error.excerpt()));
                let text = expression.to_string();
                let again: Expr = text.parse().unwrap_or_else(|error| panic!("{text}\n{error}"));
                assert_eq!(again, expression);
                assert_eq!(again.to_string(), text);
                again.check(kind).unwrap();
                let program = expression
                    .bind(given)
                    .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", error.excerpt()));
                let expected = if kind == ExprKind::Mask { Type::Bool } else { Type::Float };
                assert_eq!(program.steps.last().unwrap().ty, expected);
                assert_eq!(again.bind(given).unwrap().steps.len(), program.steps.len());
            }
        }
    }
}

#[test]
fn every_construct_is_drawn() {
    let sizes = Sizes { batch: 2, q_heads: 4, kv_heads: 2, q_len: 37, kv_len: 100 };
    let tables = tables(&sizes);
    let mut rng = fastrand::Rng::with_seed(7);
    let mut texts = String::new();
    let mut seen = std::collections::HashSet::new();
    for i in 0..3000 {
        let kind = if i % 2 == 0 { ExprKind::Mask } else { ExprKind::Score };
        let expression = Expr::random(&mut rng, kind, &tables, &sizes, 30).unwrap();
        for step in expression.bind(&tables).unwrap().steps {
            seen.insert(std::mem::discriminant(&step.op));
            if let Op::Shape { shape, .. } = step.op {
                texts += &format!("{shape:?}\n");
            }
        }
        texts += &format!("{expression}\n");
    }
    for construct in [
        "b",
        "h",
        "g",
        "q",
        "k",
        "nq",
        "nk",
        "qp",
        "s",
        "causal",
        "causal_top_left",
        "window(",
        "sinks(",
        "prefix(",
        "blocks(",
        "shifted_blocks(",
        "dilated(",
        "strided(",
        "same(",
        "disc(",
        "local(",
        "window2d(",
        "softcap(",
        "alibi",
        "slope(",
        "abs(",
        "min(",
        "max(",
        "clamp(",
        "floor(",
        "sqrt(",
        "exp(",
        "log(",
        "tanh(",
        "!",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "|",
        "&",
        "+",
        "-",
        "*",
        "/",
        "%",
        "bias[",
        "rel[",
        "segments[",
        "bucket[",
        "Band",
        "CausalTopLeft",
        "Below",
        "Blocks",
        "Dilated",
        "Strided",
        "Disc",
        "Local",
        "Window2d",
    ] {
        assert!(texts.contains(construct), "{construct} was never drawn");
    }
    assert_eq!(seen.len(), 26, "kinds of steps");
}
