//! The issue model against figures worked out by hand.

use gpu_stats::{Counts, Family, Part, Pipe, Setting, Whole, analyse, model, per_tile, whole};

fn full(family: Family, wave_size: u32) -> Setting {
    Setting { family, wave_size, waves_per_simd: 4.0 }
}

/// Counts of a stretch of code without any loop.
fn counts(lines: &[(&str, usize)]) -> Counts {
    let text: String =
        lines.iter().flat_map(|(line, n)| std::iter::repeat_n(format!("\t{line}\n"), *n)).collect();
    analyse(&text).first().map(|p: &Part| p.counts.clone()).unwrap_or_default()
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9, "{a} is not {b}");
}

#[test]
fn arithmetic_takes_lanes_over_width() {
    let code =
        counts(&[("v_fma_f32 v0, v1, v2, v0", 12), ("v_mul_f32 v0, v1, v2", 2), ("v_exp_f32 v0, v1", 1)]);
    for (family, wave_size, cycles) in [
        (Family::Vega10, 64, 4.0),
        (Family::Navi21, 64, 2.0),
        (Family::Navi21, 32, 1.0),
        (Family::Gfx1100, 32, 1.0),
    ] {
        let cost = model(&code, full(family, wave_size));
        close(cost.fma, 12.0 * cycles);
        close(cost.valu, (12.0 + 2.0 + 4.0) * cycles);
        assert_eq!(cost.binding(), Pipe::Valu);
        close(cost.share(), 12.0 / 18.0);
    }
}

#[test]
fn shared_pipes_are_scaled_to_all_simds() {
    let code = counts(&[("v_fma_f32 v0, v1, v2, v0", 1), ("ds_read_b128 v[0:3], v4", 2)]);
    // 2 x 16 bytes x 64 lanes / 128 a cycle = 16 cycles of the unit, which four (two) SIMDs wait for.
    close(model(&code, full(Family::Vega10, 64)).lds, 64.0);
    let cost = model(&code, full(Family::Navi21, 64));
    close(cost.lds, 32.0);
    assert_eq!(cost.binding(), Pipe::Lds);
    close(cost.share(), 2.0 / 32.0);

    let code = counts(&[("buffer_load_dwordx4 v[4:7], v4, s[4:7], 0 offen", 1)]);
    close(model(&code, full(Family::Vega10, 64)).vmem, 64.0);
    let cost = model(&code, full(Family::Navi21, 32));
    close(cost.vmem, 8.0);
    assert_eq!(cost.binding(), Pipe::Vmem);
}

#[test]
fn a_dual_issue_instruction_takes_one_slot() {
    let code = counts(&[("v_dual_fmac_f32 v0, v1, v2 :: v_dual_fmac_f32 v3, v4, v5", 3)]);
    assert_eq!((code.instructions, code.fma_instructions, code.fmas, code.dual), (3, 3, 6, 3));
    close(model(&code, full(Family::Gfx1100, 32)).valu, 3.0);
}

#[test]
fn waves_that_fit() {
    let waves = |family, wave_size, registers, lds, threads| {
        Setting::new(family, wave_size, registers, lds, threads).waves_per_simd
    };
    // Workgroup memory: six groups of one wave on the four SIMDs of a workgroup processor, three on a compute unit.
    close(waves(Family::Navi21, 64, 96, 20_480, 64), 1.5);
    close(waves(Family::Vega10, 64, 92, 20_480, 64), 0.75);
    // The same workgroup as two waves.
    close(waves(Family::Navi21, 32, 96, 20_480, 64), 3.0);
    // Registers: 512 / 184 is two waves, 1024 / 184 (192 allotted) five of half the size.
    close(waves(Family::Navi21, 64, 184, 0, 64), 2.0);
    close(waves(Family::Navi21, 32, 184, 0, 32), 5.0);
    // Nothing in the way.
    close(waves(Family::Navi10, 64, 8, 0, 64), 20.0);
    // Workgroups come whole: ten waves a SIMD are 40 of a unit, two groups of 16 waves.
    close(waves(Family::Vega10, 64, 24, 0, 1024), 8.0);
    close(waves(Family::Vega10, 64, 24, 1 << 20, 64), 0.0);
}

#[test]
fn idle_simds_stretch_arithmetic_only() {
    let code = counts(&[("v_fma_f32 v0, v1, v2, v0", 16), ("ds_read_b128 v[0:3], v4", 1)]);
    let half = Setting { waves_per_simd: 0.5, ..full(Family::Navi21, 64) };
    let cost = model(&code, half);
    close(cost.valu, 64.0);
    close(cost.lds, 16.0);
    close(cost.share(), 0.5);
}

#[test]
fn a_kernel_is_the_sum_of_its_parts() {
    let parts = analyse(include_str!("data/nested.s"));
    let setting = full(Family::Navi21, 32);
    let trips = per_tile(&parts, &[(1, 16.0), (2, 32.0)]);
    let sum = whole(&parts, &trips, setting);
    // Multiply-adds of the two inner loops; the one in the softmax is not counted as useful.
    close(sum.fma, 16.0 * 8.0 + 32.0 * 10.0);
    let by_hand: f64 = trips.iter().map(|&(i, n)| model(&parts[i].counts, setting).cycles() * n).sum();
    close(sum.cycles, by_hand);
    close(Whole { fma: 0.0, cycles: 0.0 }.share(), 0.0);
}
