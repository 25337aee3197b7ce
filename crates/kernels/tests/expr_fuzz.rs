//! Texts that are nearly expressions. Briefly in every run, as long as one likes when asked:
//! `FOVEAL_FUZZ_SECONDS=3600 cargo test --release -p foveal-kernels --test expr_fuzz -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use foveal_kernels::Dtype;
use foveal_kernels::expr::{Expr, ExprKind, Sizes, Table, Type};

const SIZES: Sizes = Sizes { batch: 2, q_heads: 4, kv_heads: 2, q_len: 8, kv_len: 8 };

const TOKENS: [&str; 88] = [
    "b",
    "h",
    "g",
    "q",
    "k",
    "nq",
    "nk",
    "s",
    "qp",
    "causal",
    "causal_top_left",
    "window(",
    "sinks(",
    "prefix(",
    "blocks(",
    "shifted_blocks(",
    "dilated(",
    "strided(",
    "same(ids)",
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
    "true",
    "false",
    "ids[b, k]",
    "line[",
    "bias[b, h, q, k]",
    "ids",
    "0",
    "1",
    "2",
    "7",
    "-1",
    "2147483647",
    "-2147483648",
    "2147483648",
    "0.0",
    "-0.0",
    "1.5",
    "1e38",
    "1e-38",
    "0.1",
    "12.25",
    "(",
    "(",
    "(",
    ")",
    ")",
    ")",
    ")",
    "[",
    "]",
    "]",
    ",",
    ",",
    " | ",
    " & ",
    " == ",
    " != ",
    " < ",
    " <= ",
    " > ",
    " >= ",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    "!",
    "-",
    " ",
    "\n",
    "é",
    "&&",
    "=",
];

fn tables() -> Vec<Table> {
    let table =
        |name: &str, element, shape: &[usize]| Table { name: name.into(), element, shape: shape.to_vec() };
    vec![
        table("ids", Dtype::I32, &[2, 8]),
        table("line", Dtype::U8, &[8]),
        table("bias", Dtype::F16, &[1, 4, 8, 8]),
    ]
}

/// Time limit of a text.
const LIMIT: Duration = Duration::from_secs(5);

/// Checks every text, its time included, and says whether it is an expression.
fn check(text: &str, tables: &[Table]) -> bool {
    let mut min = Duration::MAX;
    // A busy machine may stop the process for seconds: a text is slow if it is slow each time.
    for _ in 0..3 {
        let begun = Instant::now();
        let valid = check_answer(text, tables);
        min = min.min(begun.elapsed());
        if min < LIMIT {
            return valid;
        }
    }
    assert!(min < LIMIT, "{min:?} at least for {text}");
    false
}

/// Checks the answer to every text, and says whether it is an expression.
fn check_answer(text: &str, tables: &[Table]) -> bool {
    let parsed = Expr::parse(text);
    let valid = parsed.is_ok();
    match parsed {
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{text}: {error}");
            assert_eq!(error.excerpt().lines().count(), 2, "{text}");
        }
        Ok(expression) => {
            let canonical = expression.to_string();
            assert_eq!(Expr::parse(&canonical).as_ref(), Ok(&expression), "{text}");
            assert!(!(expression.check(ExprKind::Mask).is_ok() && expression.check(ExprKind::Score).is_ok()));
            if let Ok(program) = expression.bind(tables) {
                let last = program.steps.last().map(|step| step.ty);
                assert_eq!(last, Some(if expression.is_bool() { Type::Bool } else { Type::Float }), "{text}");
                assert!(program.steps.len() < 200_000);
                assert_eq!(
                    canonical.parse::<Expr>().and_then(|e| e.bind(tables)).map(|p| p.steps.len()),
                    Ok(program.steps.len())
                );
            }
        }
    }
    valid
}

/// A text made of `corpus` or of tokens.
fn draw(rng: &mut fastrand::Rng, corpus: &[String], tables: &[Table]) -> String {
    let mut text = match rng.u8(..8) {
        0 => (0..rng.usize(..30)).map(|_| TOKENS[rng.usize(..TOKENS.len())]).collect(),
        1 => {
            let kind = if rng.bool() { ExprKind::Mask } else { ExprKind::Score };
            let size = rng.usize(..40);
            Expr::random(rng, kind, tables, &SIZES, size).map(|e| e.to_string()).unwrap_or_default()
        }
        _ => corpus.get(rng.usize(..corpus.len().max(1))).cloned().unwrap_or_default(),
    };
    for _ in 0..rng.usize(..6) {
        let place = |rng: &mut fastrand::Rng, text: &str| {
            let mut at = rng.usize(..=text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (a, b) = (place(rng, &text), place(rng, &text));
        let (a, b) = (a.min(b), a.max(b));
        match rng.u8(..7) {
            0 => text.insert_str(a, TOKENS[rng.usize(..TOKENS.len())]),
            1 => text.replace_range(a..b, ""),
            2 => text.insert(a, char::from(rng.u8(32..127))),
            3 if text.len() < 4000 => {
                let piece = text[a..b].to_owned();
                let at = place(rng, &text);
                text.insert_str(at, &piece);
            }
            4 => text = format!("{}({}){}", &text[..a], &text[a..b], &text[b..]),
            5 if text.len() < 4000 => {
                let other = corpus.get(rng.usize(..corpus.len().max(1))).cloned().unwrap_or_default();
                let sign = [" | ", " & ", " + ", " == ", " < ", " % "][rng.usize(..6)];
                text = if rng.bool() {
                    format!("({text}){sign}({other})")
                } else {
                    format!("{text}{sign}{other}")
                };
            }
            6 => text.replace_range(a..b, TOKENS[rng.usize(..TOKENS.len())]),
            _ => {}
        }
    }
    text
}

fn fuzz(time: Duration, seed: u64) -> (u64, u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let tables = tables();
    let mut corpus: Vec<String> =
        vec!["causal & window(3, 0) | same(ids)".into(), "s + bias[b, h, q, k]".into()];
    let (mut runs, mut valid) = (0, 0);
    let begun = Instant::now();
    while begun.elapsed() < time {
        let text = draw(&mut rng, &corpus, &tables);
        runs += 1;
        let outcome = std::panic::catch_unwind(|| check(&text, &tables));
        let survived = outcome.unwrap_or_else(|panic| {
            eprintln!("text {runs}: {text:?}");
            std::panic::resume_unwind(panic)
        });
        if survived {
            valid += 1;
            if corpus.len() < 2000 {
                corpus.push(text);
            } else {
                let old = rng.usize(..corpus.len());
                corpus[old] = text;
            }
        }
    }
    (runs, valid)
}

#[test]
fn nearly_expressions_are_answered() {
    let (runs, valid) = fuzz(Duration::from_secs(2), 1);
    assert!(valid > 10, "{valid} of {runs} texts were expressions");
}

#[test]
#[ignore = "runs for FOVEAL_FUZZ_SECONDS"]
fn fuzz_for_minutes() {
    let seconds = std::env::var("FOVEAL_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    let seed = std::env::var("FOVEAL_FUZZ_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("FOVEAL_FUZZ_SEED={seed}");
    let (runs, valid) = fuzz(Duration::from_secs(seconds), seed);
    println!("{runs} texts in {seconds} s, {valid} of them expressions");
}
