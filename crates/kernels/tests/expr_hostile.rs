//! Any text gets an answer, soon, and never a panic.

use std::time::{Duration, Instant};

use foveal_kernels::expr::Expr;

/// Parses, and if that works prints, parses again and binds.
fn survives(text: &str) -> bool {
    let begun = Instant::now();
    let parsed = Expr::parse(text);
    let valid = parsed.is_ok();
    match parsed {
        Ok(expression) => {
            let canonical = expression.to_string();
            assert_eq!(canonical.parse(), Ok(expression.clone()), "{canonical}");
            drop(expression.bind(&[]));
            assert!(!format!("{expression:?}").is_empty());
        }
        Err(error) => {
            assert!(error.column <= text.chars().count() + 1);
            assert!(error.to_string().len() < 2000, "{error}");
            assert_eq!(error.excerpt().lines().count(), 2);
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    valid
}

#[test]
fn repetitions_up_to_a_megabyte() {
    let pieces = [
        "(",
        ")",
        "!",
        "-",
        "a|",
        "a",
        "a[",
        "q|",
        "causal|",
        "causal|causal&",
        "q+",
        "q-(",
        "-(",
        "!(",
        "abs(",
        "1",
        "1.",
        "1e",
        "e9",
        "9",
        ",",
        "[",
        "t[0",
        "t[t[",
        "same(",
        "same(t)&",
        "same(t)|",
        "max(q,",
        "q<",
        "q<k&",
        "true&",
        "1+",
        "1*",
        "2*",
        "-1-",
        "  ",
        "\n",
        "é",
        "\u{0}",
        "&&",
        "=",
        "_",
        "window(1,0)|",
        "window(q,k)&",
        "((q)",
        "softcap(3)+",
        "alibi+",
        "disc(q,k)==",
        "(q<k)==(",
        "s+",
        "1.5*",
    ];
    for piece in pieces {
        for bytes in [10_000, 60_000, 65_536, 1 << 20] {
            let n = bytes / piece.len();
            survives(&piece.repeat(n));
            for end in ["causal", "q", "s", ")", "1"] {
                survives(&(piece.repeat(n.saturating_sub(8)) + end));
            }
        }
    }
    assert!(survives(&("causal|".repeat(4999) + "causal")));
    assert!(survives(&("q-".repeat(4999) + "k")));
}

#[test]
fn every_character_and_random_bytes() {
    for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
        // Alone, and where an operator is expected; most of the range in passing.
        if c.is_ascii() || u32::from(c) % 97 == 0 || u32::from(c) < 0x3000 {
            survives(&c.to_string());
            survives(&format!("q < k{c}"));
        }
    }
    let all: String = (0..=u32::from(char::MAX)).filter_map(char::from_u32).collect();
    assert!(!survives(&all));
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..3000 {
        let bytes: Vec<u8> = (0..rng.usize(..300)).map(|_| rng.u8(..)).collect();
        survives(&String::from_utf8_lossy(&bytes));
        let printable: String = (0..rng.usize(..60)).map(|_| char::from(rng.u8(32..127))).collect();
        survives(&printable);
    }
}

#[test]
fn the_deepest_nesting_needs_little_stack() {
    // Every level of precedence at every level of nesting, on a small part of what a browser gives.
    let open = "true|true&1<1+1*(0==";
    let deep = format!("{}q{}", "q|q&q<q+q*max(q,".repeat(199), ")".repeat(199));
    let numbers = format!("{}q{}", "q+q*max(q,q-".repeat(199), ")".repeat(199));
    let texts = [deep, numbers, open.repeat(300), "q<-".repeat(400), "-(".repeat(300), "t[".repeat(300)];
    let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
        for text in &texts {
            survives(text);
        }
        survives(&texts[1])
    });
    assert!(thread.expect("a thread").join().expect("no overflow"));
}
