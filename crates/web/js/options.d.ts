// Options of the operators. Made of their tables: tests/tests/cpu/types.rs says how.

import type { BlockMask, DeviceBlockMask } from "./foveal.js";

/** Options of attention. */
export interface AttentionOptions {
  /** which keys a query sees: `causal & window(255, 0)`, `same(doc)`, ... (default: all) */
  mask?: string;
  /**
   * what becomes of the scaled score s: `s + bias[h, q, k]`, `softcap(s, 30.0)`, `alibi(softcap(s, 30.0))` (default: s)
   */
  score?: string;
  /** order of the dimensions of q, k, v and o (default: bhtd) */
  layout?: "bhtd" | "bthd";
  /** factor of the scores, or the name of a tensor [H] of them (default: 1/sqrt(Dk)) */
  scale?: number | string;
  /** divide the rows of q and k by their norms first */
  qkNorm?: "l2";
  /**
   * turns elements i and i + d/2, or 2i and 2i + 1, of q and k by their positions: key j is at j, query i at i + nk -
   * nq (default: none)
   */
  rope?: "none" | "halves" | "pairs";
  /** base of the frequencies, from 1 to 1e30 (default: 10000) */
  ropeBase?: number;
  /** elements of a row that are turned, even (default: all) */
  ropeDim?: number;
  /** what is turned; of keys that `append` has turned as it wrote them, q alone (default: qk) */
  ropeOf?: "qk" | "q";
  /** a tensor [B, Tq] of i32, of packed queries [1, Tq]: their positions for the rotation (default: i + nk - nq) */
  pos?: string;
  /** the same of keys, [B, Tk] or [1, Tk] (default: 0, 1, ...); may be the tensor of pos */
  kPos?: string;
  /** a tensor [H] of logits that enter the softmax denominators, and nothing else */
  sinkLogits?: string;
  /**
   * blocks to visit: {"q_block":64,"kv_block":64,"row_ptr":NAME,"index":NAME[,"partial":NAME]}, or "random":DENSITY in
   * place of the names; lists read on the device:
   * {"q_block":64,"kv_block":64,"counts":NAME,"indices":NAME[,"most":N,"batch":B,"heads":H]}
   */
  blockMask?: BlockMask | DeviceBlockMask;
  /**
   * a tensor [B] of i32, read on the device: how many queries each batch entry has, which is `nq` in expressions
   * (default: Tq)
   */
  qLen?: string;
  /**
   * a tensor [B] of i32, read on the device: how many keys each batch entry has, which is `nk` in expressions (default:
   * Tk); may be the tensor of q_len
   */
  kvLen?: string;
  /**
   * a tensor [S + 1] of i32, rising from 0: S sequences of queries lie one after the other, q and o are [1, H, Tq, D];
   * of a shape, B is S
   */
  cuSeqlensQ?: string;
  /** the same of keys and values, [1, G, Tk, D]; may be the tensor of cu_seqlens_q */
  cuSeqlensK?: string;
  /**
   * a tensor [B, Tk / page] of i32: k and v lie in pages, [pages, G, page, D] or [pages, page, G, D] as the layout
   * says; -1 is no page
   */
  blockTable?: string;
  /** keys of a page: a multiple of 16 (default: as k has them, or 16) */
  page?: number;
  /** pages that there are (default: as k has them, or as many as all entries have room for) */
  pages?: number;
  /**
   * a tensor [B, G, ceil(Tk / quant_block)] of f32: k holds integers, i8 or two i4 in a byte, and a key is scale times
   * integer
   */
  kScale?: string;
  /** the same of v; given with k_scale */
  vScale?: string;
  /**
   * a tensor [B, H, ceil(Tq / quant_block)] of f32, given with k_scale: q holds i8, and a query is scale times integer
   */
  qScale?: string;
  /** keys, or queries, that share a scale, by their numbers in an entry (default: 64) */
  quantBlock?: number;
  /** scales a key/value head (default: as k_scale has them, or as many as Tk keys need) */
  quantBlocks?: number;
  /** how the integers of k and v are stored where no tensors are given (default: as k has them, or i8) */
  kvDtype?: "i8" | "i4";
  /**
   * keys, from the first, that are the same for every batch entry, in the same pages: visited once for all of them
   * (default: 0)
   */
  sharedPrefix?: number;
  /**
   * parts of the keys, each for a workgroup of its own: with a number (1 to 256) a batch entry's bits do not depend on
   * the batch (default: auto, as many as fill the adapter)
   */
  splits?: "auto" | number;
  /** f16 rounds q, k and v to f16 first, so that matrix units can multiply them (default: stored, as they are) */
  precision?: "stored" | "f16";
  /** types and sizes of tables where no tensors are given: {"doc":"i32[1,4096]"} */
  tables?: Record<string, string>;
  /** compute lse too: ln of the softmax denominators */
  lse?: boolean;
}

/** Options of linear. */
export interface LinearOptions {
  /**
   * how a token changes the state: S = D S + k v^T, the delta rule (tensor beta), or diagonal plus low rank (tensors a,
   * b) (default: add)
   */
  rule?: "add" | "delta" | "dplr";
  /**
   * the decay D = exp(g), g <= 0: g [HV], [B, HV, T] or [B, HV, T, Dk]; in the layout bthd [B, T, HV], [B, T, HV, Dk]
   * (default: none)
   */
  gate?: "none" | "constant" | "scalar" | "vector";
  /**
   * heads of q and o, a multiple of HV: several queries read each state, where no tensors are given (default: H and HV)
   */
  queryHeads?: number;
  /** one beta for all heads: [B, 1, T], in the layout bthd [B, T, 1] (default: if beta is given so) */
  sharedBeta?: boolean;
  /** delta steps a token: k, v and beta have T * N rows (default: 1) */
  steps?: number;
  /** a token reads what came before it and itself; false: all of its sequence (default: true) */
  causal?: boolean;
  /** the order of tokens; both: the sum of the two (default: forward) */
  direction?: "forward" | "reverse" | "both";
  /** what becomes of the rows of q and k first (default: identity) */
  featureMap?: "identity" | "relu" | "elu1" | "relu2" | "silu" | "l2norm" | "softmax" | "learned";
  /** width of q_weight and k_weight [H, Dk, F] of the learned feature map, where no tensors are given (default: Dk) */
  featureDim?: number;
  /** sum: divide outputs by q^T (sum of keys) + eps (default: none) */
  normaliser?: "none" | "sum";
  /** what is added to those denominators (default: 1e-6) */
  eps?: number;
  /** factor of q, after the feature map (default: 1/sqrt(Dk)) */
  scale?: number;
  /** a tensor like k that takes its place in what the delta rule erases */
  eraseKey?: string;
  /** a tensor [HV, Dk]: outputs read the state before the token's gate and write, and its own key times this */
  bonus?: string;
  /**
   * a tensor [B, HV, T] ([B, T, HV] in the layout bthd) of step sizes, 0 or more, by which gates and values are
   * multiplied (Mamba-2)
   */
  dt?: string;
  /** a tensor [HV]: outputs get this times their token's own value (Mamba-2's D) */
  skip?: string;
  /** decay: k = 1 - exp(g) in place of a tensor k (HGRN2) (default: given) */
  key?: "given" | "decay";
  /** order of the dimensions of q, k, v and o (default: bhtd) */
  layout?: "bhtd" | "bthd";
  /** a tensor [B] of lengths: tokens from there on change no state */
  kvLen?: string;
  /** how many sequences are packed (tensor cu_seqlens [N + 1]), where no tensors are given */
  sequences?: number;
  /** order of the dimensions of states: [N, HV, Dk, Dv] or [N, HV, Dv, Dk] (default: kv) */
  stateLayout?: "kv" | "vk";
  /** storage of states (default: f32) */
  stateDtype?: "f32" | "f16" | "bf16";
  /** compute states too, those after every C tokens and the last: [N, ceil(T / C), HV, Dk, Dv] (default: none) */
  checkpointEvery?: number;
  /** compute window_states too, those after each of the last W tokens: [N, W, HV, Dk, Dv] (default: none) */
  stateWindow?: number;
  /** begin from the tensor state_in (default: if it is given) */
  stateIn?: boolean;
  /** compute the last states too (default: true, but for both directions) */
  stateOut?: boolean;
  /** begin sums of keys from the tensor z_in (default: if it is given) */
  zIn?: boolean;
  /** what random gates, betas and keys are like (default: mild) */
  fill?: string;
}

/** Options of combine. */
export interface CombineOptions {
  /** order of the dimensions of o and its parts (default: bhtd) */
  layout?: "bhtd" | "bthd";
  /** a tensor [H] of logits that enter the softmax denominators, and nothing else */
  sinkLogits?: string;
}

/** Options of append. */
export interface AppendOptions {
  /** order of the dimensions of k, v and the caches (default: bhtd) */
  layout?: "bhtd" | "bthd";
  /** storage of the caches (default: that of k and v) */
  kvDtype?: "f32" | "f16" | "bf16" | "i8" | "i4";
  /** a position's slot is its remainder by the capacity */
  ring?: boolean;
  /** a tensor [B] of i32: rows of each entry, the new ones included (default: the new ones alone) */
  kvLen?: string;
  /** a tensor [B] of i32: new rows of each entry (default: all T) */
  qLen?: string;
  /** a tensor [B, n] of i32: the pages of each entry, -1 for none */
  blockTable?: string;
  /** slots of a page: a multiple of 16 (default: 16, or as the caches have them) */
  page?: number;
  /** pages of the pools (default: one for each place of the table, or as the caches have them) */
  pages?: number;
  /** a tensor [B, G, ceil(S / quant_block)] of f32: the scales of a quantised cache of keys */
  kScale?: string;
  /** the same of values */
  vScale?: string;
  /** slots that share a scale, from 1 to 1024 (default: 64) */
  quantBlock?: number;
  /** turns elements i and i + d/2, or 2i and 2i + 1, of k by its positions (default: none) */
  rope?: "none" | "halves" | "pairs";
  /** base of the frequencies, from 1 to 1e30 (default: 10000) */
  ropeBase?: number;
  /** elements of a row that are turned, even (default: all) */
  ropeDim?: number;
  /** a tensor [B, T] of i32: positions for the rotation (default: those in the cache) */
  pos?: string;
  /** turns a tensor q [B, H, T, Dk] by the same positions, into an output of this name */
  qRotated?: boolean;
}
