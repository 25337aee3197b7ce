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
   * parts of the keys, each for a workgroup of its own: with a number (1 to 256) a batch entry's bits do not depend on
   * the batch (default: auto, as many as fill the adapter)
   */
  splits?: "auto" | number;
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
