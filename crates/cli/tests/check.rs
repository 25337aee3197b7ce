//! Words of `foveal check` on an adapter.

mod common;

use common::{foveal_on_adapter, has_adapter};

#[test]
fn check_says_how_far_integers_move_the_outputs() {
    if !has_adapter() {
        return;
    }
    let line =
        ["check", "attention", "--shape", "1x2x5:40x16", "--k-scale", "ks", "--v-scale", "vs", "--lse"];
    let document = foveal_on_adapter(&[&line[..], &["--json"]].concat()).json();
    let bounds = &document["cases"][0]["quantisation"];
    let bound = |name: &str| bounds[name].as_f64().unwrap_or_default();
    assert!(bound("o") > 0.0 && bound("o") < 1.0 && bound("lse") > 0.0 && bound("lse") < 1.0, "{document}");
    let said = foveal_on_adapter(&line).out;
    assert!(said.contains("rounding to integers alone moves o by up to"), "{said}");
    let plain = foveal_on_adapter(&["check", "attention", "--shape", "1x2x5:40x16", "--json"]).json();
    assert!(plain["cases"][0]["quantisation"].is_null(), "{plain}");
}
