BB0:
	v_mov_b32_e32 v0, 0                                         ; 7e000280
	s_mov_b32 s0, 0                                             ; be800380
BB1:
	s_cmp_ge_u32 s0, s1                                         ; bf090100
	s_cbranch_scc1 BB9                                          ; bf850010
BB2:
	buffer_load_dwordx4 v[4:7], v4, s[4:7], 0 offen             ; e0381000 80010404
	s_barrier                                                   ; bf8a0000
	s_waitcnt vmcnt(0)                                          ; bf8c3f70
	ds_write_b128 v8, v[4:7]                                    ; db7c0000 00000408
	s_waitcnt lgkmcnt(0)                                        ; bf8cc07f
	s_barrier                                                   ; bf8a0000
	s_mov_b32 s2, 0                                             ; be820380
BB3:
	s_cmp_ge_u32 s2, 16                                         ; bf099002
	s_cbranch_scc1 BB5                                          ; bf850005
BB4:
	ds_read_b128 v[8:11], v2                                    ; dbfc0000 08000002
	ds_read2_b64 v[12:15], v3 offset1:1                         ; d9dc0100 0c000003
	s_waitcnt lgkmcnt(0)                                        ; bf8cc07f
	v_fmac_f32_e32 v0, v8, v12                                  ; 56001908
	(then repeated 7 times)
	s_add_u32 s2, s2, 1                                         ; 80028102
	s_branch BB3                                                ; bf82fff0
BB5:
	v_exp_f32_e32 v0, v0                                        ; 7e004b00
	v_mul_f32_e32 v0, v0, v1                                    ; 10000300
	v_fma_f32 v1, v0, v1, v2                                    ; d54b0001 040a0300
	s_mov_b32 s2, 0                                             ; be820380
BB6:
	v_cmp_gt_u32_e32 vcc, v2, v3                                ; 7d880702
	s_cbranch_vccz BB7                                          ; bf860001
	v_mov_b32_e32 v9, 0                                         ; 7e120280
BB7:
	v_fma_f32 v1, v0, v1, v2                                    ; d54b0001 040a0300
	(then repeated 9 times)
	s_cmp_lt_u32 s2, 16                                         ; bf0a9002
	s_cbranch_scc1 BB6                                          ; bf85fff0
BB8:
	s_add_u32 s0, s0, 32                                        ; 8000a000
	s_branch BB1                                                ; bf82ffe0
BB9:
	buffer_store_dwordx2 v[0:1], v2, s[4:7], 0 offen            ; e0741000 80010002
	s_endpgm                                                    ; bf810000
	s_code_end                                                  ; bf9f0000
	(then repeated 63 times)

/* constant data */
[000000] 3f800000 3f800000
