//! Whether emitted text is WGSL, and means what the steps say.

use naga::valid::{Capabilities, ValidationFlags, Validator};

use super::{
    super::{
        Class, Classifier, Comparison, Op, OwnLengths, Program, Region, Shape, Sizes, Table, Type, Variable,
        emit::{TableUses, function, helpers, table_params, tables},
    },
    build::Builder,
    random,
};
use crate::Dtype;

/// No batch entry has lengths of its own.
const OWN: OwnLengths = OwnLengths { queries: false, keys: false };

/// Functions that expressions call.
const MATH: &str = include_str!("../../../../../shaders/shared/math.wgsl");

/// A shader around the functions of a mask and a score.
fn shader(mask: &Program, score: &Program) -> String {
    shader_of(mask, score, OWN)
}

fn shader_of(mask: &Program, score: &Program, own: OwnLengths) -> String {
    let uses = TableUses::of(&[mask, score], own);
    format!(
        "{MATH}
struct Element {{ batch: u32, head: u32, query: u32, key: u32 }}
struct Params {{ q_len: u32, kv_len: u32, group: u32, q_heads: u32 }}
fn q_length(batch: u32) -> u32 {{ return params.q_len - batch; }}
fn kv_length(batch: u32) -> u32 {{ return params.kv_len - batch; }}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
{}{}{}{}
@compute @workgroup_size(1) fn main(@builtin(global_invocation_id) id: vec3u) {{
    let at = Element(0u, id.z, id.y, id.x);
    if mask_at(at) {{ o[id.x] = score_at(at, o[id.x]); }}
}}
",
        tables(&mask.tables, &uses, 2),
        helpers(&[mask, score], own),
        function(mask, "mask_at", own),
        function(score, "score_at", own),
    )
}

fn validate(text: &str) {
    let module =
        naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{}\n{text}", e.emit_to_string(text)));
    let capabilities = Capabilities::default() | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    let checked = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
    checked.unwrap_or_else(|e| panic!("{}\n{text}", e.emit_to_string(text)));
    wgsl_parse::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
}

fn some_tables() -> Vec<Table> {
    let table = |name: &str, element, shape: &[usize]| Table {
        name: name.to_owned(),
        element,
        shape: shape.to_vec(),
    };
    vec![
        table("bias", Dtype::F16, &[2, 4, 64, 80]),
        table("bias", Dtype::Bf16, &[64, 1]),
        table("größe", Dtype::F32, &[]),
        table("id", Dtype::I32, &[80]),
        table("keep", Dtype::U8, &[80]),
    ]
}

/// One of every operation that ints have, floats have, and truth values have.
fn with_everything() -> (Program, Program) {
    let mut b = Builder::new(some_tables());
    let variables = [
        Variable::Batch,
        Variable::Head,
        Variable::KvHead,
        Variable::Query,
        Variable::Key,
        Variable::QueryCount,
    ];
    let names = variables.map(|v| b.var(v));
    let distance = b.distance();
    let seven = b.int(7);
    let minus = b.int(-7);
    let mut ints = names.to_vec();
    let [_, h, _, q, k, nq] = names;
    for op in [Op::Divide, Op::Remainder] {
        let sixteen = b.int(16);
        for (x, y) in [
            (q, seven),
            (distance, seven),
            (distance, sixteen),
            (distance, minus),
            (q, nq),
            (distance, nq),
            (q, k),
            (seven, minus),
        ] {
            ints.push(b.push(op(x, y)));
        }
    }
    ints.push(b.push(Op::Negate(distance)));
    ints.push(b.push(Op::Abs(distance)));
    ints.push(b.push(Op::Min(q, k)));
    ints.push(b.push(Op::Max(distance, minus)));
    let id = b.push(Op::Lookup { table: 3, indices: vec![k] });
    ints.push(id);
    ints.push(b.push(Op::Lookup { table: 3, indices: vec![id] }));
    ints.push(b.push(Op::Lookup { table: 4, indices: vec![k] }));
    let sum = ints.iter().copied().reduce(|x, y| b.push(Op::Add(x, y))).unwrap();
    let ints_program = b;
    let mut b = Builder { program: ints_program.program.clone(), score: false };
    let zero = b.int(0);
    let mut mask = b.compare(Comparison::NotEqual, sum, zero);
    for by in [Comparison::Less, Comparison::LessEqual, Comparison::Greater, Comparison::GreaterEqual] {
        let numbers = b.compare(by, q, k);
        mask = b.compare(by, mask, numbers);
    }
    for shape in SHAPES {
        let shape = b.shape(shape);
        let denied = b.push(Op::Not(shape));
        let either = b.push(Op::Or(denied, mask));
        mask = b.push(Op::And(either, shape));
    }
    let mask = b.finish(mask);

    let mut b = ints_program;
    let s = b.var(Variable::Score);
    let real = b.push(Op::ToFloat(sum));
    let mut floats = vec![s, real, b.push(Op::Slope(h))];
    for x in [1.0, -0.1, 1e30, 1e-30, 1e300] {
        floats.push(b.push(Op::Float(x)));
    }
    let b_h_q_k = vec![names[0], h, q, k];
    floats.push(b.push(Op::Lookup { table: 0, indices: b_h_q_k }));
    floats.push(b.push(Op::Lookup { table: 1, indices: vec![q, sum] }));
    floats.push(b.push(Op::Lookup { table: 2, indices: vec![] }));
    for op in [Op::Sqrt, Op::Exp, Op::Log, Op::Tanh, Op::Negate, Op::Abs] {
        floats.push(b.push(op(s)));
    }
    let floor = b.push(Op::Floor(s));
    floats.push(b.push(Op::ToFloat(floor)));
    let mut score = s;
    for (op, &x) in [Op::Add, Op::Subtract, Op::Multiply, Op::Divide, Op::Remainder, Op::Min, Op::Max]
        .iter()
        .cycle()
        .zip(&floats)
    {
        score = b.push(op(score, x));
    }
    (mask, b.finish(score))
}

pub(super) const SHAPES: [Shape; 9] = [
    Shape::Band { left: Some(5), right: Some(0) },
    Shape::CausalTopLeft,
    Shape::Below(4),
    Shape::Blocks { n: 5, shift: -2 },
    Shape::Dilated(3),
    Shape::Strided { n: 4, r: 2 },
    Shape::Disc { w: 6, r: 2 },
    Shape::Local { w: 6, rx: 1, ry: 2 },
    Shape::Window2d { w: 6, m: 3, o: 1 },
];

#[test]
fn text_is_wgsl() {
    let (mask, score) = with_everything();
    let text = shader(&mask, &score);
    validate(&text);
    for helper in ["fn floor_divide(", "fn floor_remainder(", "fn alibi_slope("] {
        assert_eq!(text.matches(helper).count(), 1, "{text}");
    }
    for accessor in ["table_3_at", "table_3_clamped", "table_1_clamped", "table_0_at", "table_2_at"] {
        assert_eq!(text.matches(&format!("fn {accessor}(")).count(), 1, "{accessor}\n{text}");
    }
}

#[test]
fn random_text_is_wgsl() {
    let mut rng = fastrand::Rng::with_seed(9);
    for _ in 0..300 {
        let sizes = random::sizes(&mut rng);
        let (tables, _) = random::tables(&mut rng, sizes);
        let mask = random::mask(&mut rng, sizes, tables.clone());
        let score = random::score(&mut rng, sizes, tables);
        validate(&shader(&mask, &score));
        validate(&shader_of(&mask, &score, OwnLengths { queries: true, keys: true }));
    }
}

/// Lengths of batch entries come from the shader, and what they are read at stays within tables.
#[test]
fn lengths_of_batch_entries_are_asked_for() {
    let text = "window(3, 0) & id[k % nk] != id[qp]";
    let tables = vec![Table::new("id", Dtype::I32, vec![80])];
    let mask = text.parse::<crate::expr::Expr>().unwrap().bind(&tables).unwrap();
    let plain = function(&mask, "mask_at", OWN);
    assert!(plain.contains("params.kv_len") && plain.contains("table_0_at(") && !plain.contains("clamped"));
    let keys = function(&mask, "mask_at", OwnLengths { queries: false, keys: true });
    assert!(keys.contains("let nk = i32(kv_length(at.batch));"), "{keys}");
    assert!(keys.contains("let nq = i32(params.q_len);"), "{keys}");
    // An entry may have no key: nothing is divided by it.
    assert!(keys.contains("floor_remainder(k, nk)") && !keys.contains("table_0_at("), "{keys}");
}

/// Values that may be NaN are looked at; others are not.
#[test]
fn only_what_may_be_nan_is_looked_at() {
    let of = |text: &str| {
        let score = text.parse::<crate::expr::Expr>().unwrap().bind(&[]).unwrap();
        function(&score, "score_at", OWN)
    };
    for (text, looks) in [
        ("max(s, 0.0)", 1),
        ("min(s, s * 2.0)", 2),
        ("s + max(k * 0.5, 1.0)", 1),
        ("s + max(k, 3)", 0),
        ("s + min(slope(h), 0.5)", 0),
    ] {
        assert_eq!(of(text).matches("is_nan(").count(), looks, "{}", of(text));
    }
    assert!(of("softcap(30.0)").contains("safe_tanh("));
    assert!(
        of("s * 0.0 + 1.0").contains("!is_finite(s)")
            && !of("k * 0.5 + slope(h) * 0.0").contains("is_finite")
    );
}

/// The specialiser takes a mask as a hook.
#[test]
fn a_mask_fits_the_kernels() {
    let mut b = Builder::new(some_tables());
    let mut mask = b.shape(SHAPES[0]);
    for shape in SHAPES {
        let shape = b.shape(shape);
        mask = b.push(Op::Or(mask, shape));
    }
    let (q, k) = (b.q(), b.k());
    let keep = b.push(Op::Lookup { table: 4, indices: vec![k] });
    let distance = b.distance();
    let by = b.push(Op::Max(q, keep));
    let quotient = b.push(Op::Divide(distance, by));
    let kept = b.compare(Comparison::NotEqual, keep, quotient);
    let root = b.push(Op::And(mask, kept));
    let mask = b.finish(root);
    let text = [
        tables(&mask.tables, &TableUses::of(&[&mask], OWN), 16),
        helpers(&[&mask], OWN),
        function(&mask, "mask_at", OWN),
        "fn hook_mask_mod(at: Element, keys: vec4u) -> vec4<bool> { return vec4<bool>(mask_at(at)); }"
            .to_owned(),
    ];
    let request = foveal_shaders::Request::new("attention/naive")
        .replace("shared/inputs", "shared/inputs_f32")
        .replace("shared/kv", "shared/kv_like_q")
        .replace("shared/output", "shared/output_f32")
        .tunable("MASK_MOD", true)
        .hook("hook_mask_mod", text.concat());
    let kernel = foveal_shaders::Library::builtin().specialise(&request).unwrap_or_else(|e| panic!("{e}"));
    validate(&kernel.text);
    assert!(kernel.text.contains("table_4_at"), "{}", kernel.text);
}

/// Thousands of steps take neither a deep stack nor long.
#[test]
fn long_programs_are_handled() {
    let mut b = Builder::new(some_tables());
    let (mut mask, mut sum) = (b.shape(Shape::CausalTopLeft), b.q());
    for n in 0..600 {
        let (n, k) = (b.int(n), b.k());
        sum = b.push(Op::Add(sum, n));
        let product = b.push(Op::Multiply(sum, k));
        let part = b.compare(Comparison::NotEqual, product, n);
        mask = b.push(match sum % 3 {
            0 => Op::And(mask, part),
            1 => Op::Or(part, mask),
            _ => Op::Compare(Comparison::Equal, mask, part),
        });
    }
    let mask = b.finish(mask);
    let sizes = Sizes { batch: 1, q_heads: 1, kv_heads: 1, q_len: 1000, kv_len: 1000 };
    let classifier = Classifier::new(&mask, sizes);
    let region = Region { batch: 0..1, heads: 0..1, queries: 0..9, keys: 0..9 };
    assert_eq!(classifier.class(&region), Class::Mixed);
    validate(&shader(&mask, &with_everything().1));
}

#[test]
fn a_mask_reads_like_one() {
    let mut b = Builder::new(some_tables());
    let causal = b.shape(Shape::Band { left: None, right: Some(0) });
    let k = b.k();
    let keep = b.push(Op::Lookup { table: 4, indices: vec![k] });
    let zero = b.int(0);
    let kept = b.compare(Comparison::NotEqual, keep, zero);
    let mask = b.push(Op::And(causal, kept));
    let mask = b.finish(mask);
    let expected = "fn visible(at: Element) -> bool {
    let q = i32(at.query);
    let k = i32(at.key);
    let nk = i32(params.kv_len);
    let nq = i32(params.q_len);
    let x0 = q + nk;
    let x1 = x0 - nq;
    let x2 = x1 - k;
    let x3 = (x2 >= 0i);
    let x4 = table_4_at(k);
    let x5 = (x4 != 0i);
    let x6 = x3 & x5;
    return x6;
}
";
    assert_eq!(function(&mask, "visible", OWN), expected);
    assert_eq!(helpers(&[&mask], OWN), "");
    let uses = TableUses::of(&[&mask], OWN);
    let fields = table_params(&mask.tables, &uses);
    assert_eq!(fields, [("t4_size_0".to_owned(), 80), ("t4_stride_0".to_owned(), 1)]);
    assert_eq!(
        (0..6).map(|table| uses.is_read(table)).collect::<Vec<_>>(),
        [false, false, false, false, true, false]
    );
}

#[test]
fn strides_are_zero_where_a_table_broadcasts() {
    let (mask, score) = with_everything();
    let fields = table_params(&mask.tables, &TableUses::of(&[&mask, &score], OWN));
    let values: Vec<_> = fields.iter().filter(|(name, _)| name.contains("stride")).map(|(_, v)| *v).collect();
    assert_eq!(values, [4 * 64 * 80, 64 * 80, 80, 1, 1, 0, 1, 1]);
    assert_eq!(mask.steps.last().map(|step| step.ty), Some(Type::Bool));
}

/// The forms that [`function`] writes for quotients and remainders, transcribed, are right.
#[test]
fn division_rounds_down() {
    for a in -300..=300_i32 {
        for b in 1..=20_i32 {
            let exact = (f64::from(a) / f64::from(b)).floor();
            let flip = a >> 31;
            let quotient = ((a ^ flip).cast_unsigned() / b.cast_unsigned()).cast_signed() ^ flip;
            assert_eq!(f64::from(quotient), exact, "{a} / {b}");
            assert_eq!(a - quotient * b, a.rem_euclid(b), "{a} % {b}");
            if b.count_ones() == 1 {
                assert_eq!(f64::from(a >> b.trailing_zeros()), exact, "{a} / {b}");
                assert_eq!(a & (b - 1), a.rem_euclid(b), "{a} % {b}");
            }
        }
        for b in -20..=20_i32 {
            let select = |no: i32, yes: i32, condition: bool| if condition { yes } else { no };
            let divisor = select(b, 1, b == 0);
            let truncated = a / divisor;
            let rest = a - truncated * divisor;
            let up = (rest != 0) & ((rest ^ divisor) < 0);
            let quotient = select(truncated - select(0, 1, up), 0, b == 0);
            let remainder = select(rest + select(0, divisor, up), 0, b == 0);
            let (a, b) = (i64::from(a), i64::from(b));
            assert_eq!(i64::from(quotient), crate::expr::ir::arithmetic::floor_divide(a, b), "{a} / {b}");
            assert_eq!(i64::from(remainder), crate::expr::ir::arithmetic::floor_remainder(a, b), "{a} % {b}");
        }
    }
    for a in [i32::MIN, i32::MIN + 1, i32::MAX] {
        let flip = a >> 31;
        let quotient = ((a ^ flip).cast_unsigned() / 7).cast_signed() ^ flip;
        assert_eq!(quotient, a.div_euclid(7));
    }
}
