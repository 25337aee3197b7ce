BB0:
	s_mov_b32 s0, 0                                             ; be800080
BB1:
	buffer_load_dwordx4 v[4:7], v4, s[4:7], 0 offen             ; e05c1000 80010404
	s_waitcnt vmcnt(0)                                          ; bf8c3f70
	ds_write_b128 v8, v[4:7]                                    ; d9be0000 00000408
	ds_write_b128 v9, v[4:7]                                    ; d9be0000 00000409
	ds_read_b128 v[8:11], v2                                    ; d9fe0000 08000002
	s_waitcnt lgkmcnt(0)                                        ; bf8cc07f
	v_mac_f32_e32 v0, v8, v9                                    ; 2c001308
	(then repeated 7 times)
	ds_write_b32 v3, v0                                         ; d81a0000 00000003
	ds_read_b32 v1, v2                                          ; d86c0000 01000002
	v_mac_f32_e32 v0, v1, v9                                    ; 2c001301
	s_cbranch_scc1 BB1                                          ; bf85fff0
	s_endpgm                                                    ; bf810000
