//! The assembly reader, the loop finder and the part cutter on small programs written by hand.

use gpu_stats::assembly::{Class, parse};
use gpu_stats::flow::{innermost, loops};
use gpu_stats::{Part, analyse, inner_loops, per_tile};

const NESTED: &str = include_str!("data/nested.s");
const ONE_WAVE: &str = include_str!("data/one_wave.s");

fn class(line: &str) -> Class {
    parse(line)[0].instructions[0].class()
}

#[test]
fn classes_and_widths() {
    let cases = [
        ("v_mac_f32_e32 v0, v8, v9", Class::Fma(1)),
        ("v_fmac_f32_e64_dpp v0, v8, v9 row_shr:1", Class::Fma(1)),
        ("v_fmaak_f32 v0, v8, v9, 0x3f800000", Class::Fma(1)),
        ("v_fma_mix_f32 v7, v9, v4, v4 op_sel:[1,0,0]", Class::Fma(1)),
        ("v_fma_mixlo_f16 v7, v9, v4, v4", Class::Fma(1)),
        ("v_fma_mix_f32 v71, s20, v69, neg(0) op_sel_hi:[1,0,0]", Class::Valu),
        ("v_pk_fma_f32 v[0:1], v[2:3], v[4:5], v[0:1]", Class::Fma(2)),
        ("v_pk_fma_f16 v0, v1, v2, v3", Class::Fma(2)),
        ("v_dot2_f32_f16 v0, v1, v2, v3", Class::Fma(2)),
        ("v_dual_fmac_f32 v0, v1, v2 :: v_dual_fmac_f32 v3, v4, v5", Class::Fma(2)),
        ("v_dual_mul_f32 v0, v1, v2 :: v_dual_fmac_f32 v3, v4, v5", Class::Fma(1)),
        ("v_dual_mul_f32 v0, v1, v2 :: v_dual_mov_b32 v3, v4", Class::Valu),
        ("v_mad_u32_u24 v0, v1, v2, v3", Class::Valu),
        ("v_mad_u64_u32 v[0:1], s0, v1, v2, v[0:1]", Class::SlowValu),
        ("v_mul_lo_u32 v0, v1, v2", Class::SlowValu),
        ("v_mul_u32_u24_e32 v0, v1, v2", Class::Valu),
        ("v_rcp_f32_e32 v0, v1", Class::Transcendental),
        ("v_exp_f32_e32 v0, v1", Class::Transcendental),
        ("v_ldexp_f32 v0, v1, v2", Class::Valu),
        ("ds_read_b128 v[0:3], v4", Class::LdsRead(16)),
        ("ds_load_b64 v[0:1], v4", Class::LdsRead(8)),
        ("ds_read2_b64 v[0:3], v4 offset1:1", Class::LdsRead(16)),
        ("ds_read2st64_b32 v[0:1], v4 offset1:1", Class::LdsRead(8)),
        ("ds_load_2addr_stride64_b32 v[0:1], v4 offset1:1", Class::LdsRead(8)),
        ("ds_read_u8 v0, v4", Class::LdsRead(1)),
        ("ds_write2_b32 v0, v1, v2", Class::LdsWrite(8)),
        ("ds_store_b96 v0, v[1:3]", Class::LdsWrite(12)),
        ("ds_bpermute_b32 v0, v1, v2", Class::LdsOther(4)),
        ("ds_add_u32 v0, v1", Class::LdsOther(4)),
        ("buffer_load_dwordx4 v[4:7], v4, s[4:7], 0 offen", Class::VmemLoad(16)),
        ("buffer_load_b96 v[4:6], v4, s[4:7], 0 offen", Class::VmemLoad(12)),
        ("buffer_load_short_d16_hi v4, v4, s[4:7], 0 offen", Class::VmemLoad(2)),
        ("buffer_load_d16_hi_b16 v4, v4, s[4:7], 0 offen", Class::VmemLoad(2)),
        ("global_load_ubyte v4, v[4:5], off", Class::VmemLoad(1)),
        ("scratch_store_dword off, v4, s0", Class::VmemStore(4)),
        ("buffer_gl0_inv", Class::VmemLoad(0)),
        ("s_load_dwordx4 s[4:7], s[4:5], 0x0", Class::Smem),
        ("s_buffer_load_b32 s1, s[8:11], 0x8", Class::Smem),
        ("s_and_saveexec_b64 s[0:1], vcc", Class::Salu),
        ("s_waitcnt_depctr 0xfff", Class::Wait),
        ("s_delay_alu instid0(VALU_DEP_1)", Class::Wait),
        ("s_cbranch_execz BB4", Class::Branch),
        ("s_barrier", Class::Barrier),
        ("(invalid instruction)", Class::Unknown),
    ];
    for (line, expected) in cases {
        if line.starts_with('(') {
            // An undecodable instruction is not the start of anything: it needs one before it.
            let blocks = parse(&format!("BB0:\n\ts_nop 0\n\t{line}\n"));
            assert_eq!(blocks[0].instructions[1].class(), expected, "{line}");
        } else {
            assert_eq!(class(line), expected, "{line}");
        }
    }
}

#[test]
fn blocks_end_behind_branches_and_repeats_count() {
    let blocks = parse(NESTED);
    let labels: Vec<&str> = blocks.iter().map(|b| b.label.as_str()).collect();
    assert_eq!(labels, ["BB0", "BB1", "BB2", "BB3", "BB4", "BB5", "BB6", "BB6+1", "BB7", "BB8", "BB9"]);
    let fmas = |block: usize| {
        blocks[block].instructions.iter().filter(|i| matches!(i.class(), Class::Fma(_))).count()
    };
    assert_eq!((fmas(4), fmas(8)), (8, 10));
    // Neither the padding nor the constants behind the program are part of it.
    assert_eq!(blocks[10].instructions.len(), 2);
    assert_eq!(blocks[3].instructions[1].target(), Some("BB5"));
    assert_eq!(blocks[4].instructions[0].target(), None);
}

#[test]
fn loops_nest() {
    let blocks = parse(NESTED);
    let found = loops(&blocks);
    let shape: Vec<_> =
        found.iter().map(|l| (blocks[l.header].label.as_str(), l.blocks.len(), l.depth, l.parent)).collect();
    assert_eq!(shape, [("BB1", 9, 1, None), ("BB3", 2, 2, Some(0)), ("BB6", 3, 2, Some(0))]);
    let homes = innermost(blocks.len(), &found);
    assert_eq!(homes[0], None);
    assert_eq!(homes[4], Some(1));
    assert_eq!(homes[5], Some(0));
    assert_eq!(homes[7], Some(2));
}

#[test]
fn a_loop_of_three_levels_with_two_jumps_back() {
    let text = "BB0:\nBB1:\nBB2:\n\tv_nop\n\ts_cbranch_scc1 BB2\nBB3:\n\tBB3a:\n\ts_cbranch_scc0 BB1\nBB4:\n\
                \ts_cbranch_scc1 BB1\nBB5:\n\ts_cbranch_vccnz BB0\nBB6:\n\ts_endpgm\n";
    let blocks = parse(text);
    let found = loops(&blocks);
    let depths: Vec<_> = found.iter().map(|l| (l.depth, l.parent)).collect();
    assert_eq!(depths, [(1, None), (2, Some(0)), (3, Some(1))]);
}

/// Loop, multiply-adds and instructions of every part.
fn outline(parts: &[Part]) -> Vec<(Option<usize>, u32, u32)> {
    parts.iter().map(|p| (p.in_loop, p.counts.fmas, p.counts.instructions)).collect()
}

#[test]
fn parts_are_cut_at_loops_and_barriers() {
    let parts = analyse(NESTED);
    assert_eq!(
        outline(&parts),
        [
            (None, 0, 2),
            (Some(0), 0, 4),
            (Some(0), 0, 4),
            (Some(0), 0, 1),
            (Some(1), 8, 15),
            (Some(0), 1, 4),
            (Some(2), 10, 15),
            (Some(0), 0, 2),
            (None, 0, 2),
        ]
    );
    let all: usize = parse(NESTED).iter().map(|b| b.instructions.len()).sum();
    let covered: u32 = parts.iter().map(|p| p.counts.instructions).sum();
    assert_eq!(usize::try_from(covered).unwrap(), all);

    let hot: Vec<_> = parts.iter().filter(|p| p.hot()).map(|p| (p.index, p.innermost)).collect();
    assert_eq!(hot, [(4, true), (6, true)]);
    let score = &parts[4];
    assert_eq!(score.path, [0, 1]);
    assert_eq!(score.labels, ("BB3".to_owned(), "BB4".to_owned()));
    assert_eq!(score.counts.lds_bytes(), 32);
    assert!((score.counts.fma_share() - 8.0 / 15.0).abs() < 1e-12);
    assert!((score.counts.fma_share_without_waits() - 8.0 / 14.0).abs() < 1e-12);
    assert_eq!(parts[2].counts.barriers, 1);
    assert_eq!(parts[5].counts.transcendental, 1);
    assert_eq!(parts[5].counts.valu_mnemonics["v_mul_f32"], 1);
}

#[test]
fn a_dropped_barrier_shows_as_a_read_after_a_write() {
    let parts = analyse(ONE_WAVE);
    assert_eq!(
        outline(&parts),
        [(None, 0, 1), (Some(0), 0, 4), (Some(0), 8, 11), (Some(0), 1, 3), (None, 0, 1)]
    );
    assert!(parts[2].hot() && parts[2].innermost);
    // With a barrier anywhere the compiler kept all of them, and a read after a write means nothing.
    let kept = ONE_WAVE.replace("BB0:", "BB0:\n\ts_barrier");
    assert_eq!(outline(&analyse(&kept))[2..], [(Some(0), 9, 18), (None, 0, 1)]);
}

#[test]
fn turns_multiply_through_the_nest() {
    let parts = analyse(NESTED);
    assert_eq!(inner_loops(&parts).into_iter().collect::<Vec<_>>(), [1, 2]);
    let trips = per_tile(&parts, &[(1, 16.0)]);
    assert_eq!(trips, [(1, 1.0), (2, 1.0), (3, 1.0), (4, 16.0), (5, 1.0), (6, 1.0), (7, 1.0)]);
    assert!(per_tile(&analyse("BB0:\n\ts_endpgm\n"), &[]).is_empty());
}

#[test]
fn nothing_comes_of_nothing() {
    assert!(analyse("").is_empty());
    assert!(analyse("\n/* constant data */\n[000000] 0\n").is_empty());
}
