//! Expressions written in Rust are those written as text.

use foveal_kernels::expr::build::{
    Build, alibi, blocks, causal, causal_top_left, dilated, disc, local, prefix, same, same_pair,
    shifted_blocks, sinks, slope, softcap, strided, table, var, window, window2d,
};
use foveal_kernels::expr::{Expr, ExprError};

#[test]
fn built_equals_parsed() -> Result<(), ExprError> {
    let distance = || (var::q() - var::k()).abs();
    for (built, text) in [
        (causal() & window(255, 0), "causal & window(255, 0)"),
        (causal_top_left() | sinks(4) | prefix(3), "causal_top_left | sinks(4) | prefix(3)"),
        (causal() & (sinks(1) | !dilated(2)), "causal & (sinks(1) | !dilated(2))"),
        (blocks(8).equal(shifted_blocks(8, -4)), "blocks(8) == shifted_blocks(8, -4)"),
        (strided(4, 2).not_equal(disc(7, 2)), "strided(4, 2) != disc(7, 2)"),
        (local(7, 1, 2) & window2d(7, 4, 2), "local(7, 1, 2) & window2d(7, 4, 2)"),
        (same("t") & same_pair("tq", "tk"), "same(t) & same(tq, tk)"),
        ((var::q() * 2 + 1).less(var::nk() - var::nq()), "q * 2 + 1 < nk - nq"),
        ((var::q() * (var::k() + 1)).greater(-var::h()), "q * (k + 1) > -h"),
        (distance().less_equal(12) & (distance() % 3).equal(0), "abs(q - k) <= 12 & abs(q - k) % 3 == 0"),
        ((var::qp() / 2).greater_equal(var::g()), "qp / 2 >= g"),
        (table("m").at([var::b(), var::q() / 16]).not_equal(0), "m[b, q / 16] != 0"),
        (Build::from(true) & causal(), "causal"),
    ] {
        let mask = built.mask()?;
        assert_eq!(mask, text.parse::<Expr>()?);
        assert_eq!(mask.to_string(), text.parse::<Expr>()?.to_string());
    }
    for (built, text) in [
        (softcap(30.0), "softcap(30.0)"),
        (alibi(), "alibi"),
        (var::s().softcap(30.0).alibi() + 1, "alibi(softcap(s, 30.0)) + 1"),
        (var::s() - slope(var::h()) * distance(), "s - slope(h) * abs(q - k)"),
        ((var::s() / 2.0).tanh() * 2.0, "tanh(s / 2.0) * 2.0"),
        (
            var::s().clamp(-1, 1.5).exp() + var::k().min(3).max(var::b()),
            "exp(clamp(s, -1, 1.5)) + max(min(k, 3), b)",
        ),
        (var::s().sqrt().log() + var::s().floor(), "log(sqrt(s)) + floor(s)"),
        (Build::from("s + 1".parse::<Expr>()?) * 2, "(s + 1) * 2"),
    ] {
        assert_eq!(built.score()?, text.parse::<Expr>()?);
    }
    Ok(())
}

#[test]
fn mistakes_wait_for_the_check() {
    for (built, message) in [
        (causal() & var::q(), "`&` takes bools"),
        (causal() & softcap(1).greater(0), "`softcap` is of scores"),
        (var::q() + 1, "a mask is a bool"),
        (same("causal"), "can't be the name of a table"),
        (same("a b"), "can't be the name of a table"),
        (causal() & table("1) | (1").at([var::q()]).less(2), "can't be the name of a table"),
        (table("t").at([] as [Build; 0]).less(1), "one index a dimension"),
        (var::q().less(f64::NAN), "not NaN"),
        (var::q().less(f64::INFINITY), "not inf"),
        (blocks(0), "at least 1"),
    ] {
        let error = built.mask().expect_err(message);
        assert!(error.message.contains(message), "{error}");
    }
}

#[test]
fn sizes_beyond_the_limits_are_errors() {
    let mut doubled = causal();
    for _ in 0..200 {
        doubled = doubled.clone() & doubled;
    }
    assert!(doubled.mask().expect_err("too many").message.contains("10000"));
    let mut deep = var::q();
    for _ in 0..3000 {
        deep = Build::from(1) - deep;
    }
    assert!(deep.less(1).mask().expect_err("too deep").message.contains("200"));
    let mut long = var::q();
    for _ in 0..4000 {
        long = long + 1;
    }
    assert!(long.less(1).mask().is_ok());
    assert!((0..9000).fold(causal(), |x, _| !x).mask().is_err());
}
