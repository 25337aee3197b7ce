// Attention, linear attention and block-sparse masks on WebGPU, right on this adapter or an error.
//
// Shapes are outermost first, `[B, H, T, D]` in the layout `bhtd` (the default) and `[B, T, H, D]` in `bthd`.

/** How elements are stored. Arithmetic is in 32-bit floats, whatever the storage. `u8` and `i32` are for tables, lists and lengths. */
export type Dtype = "f32" | "f16" | "bf16" | "u8" | "i8" | "i32";

/**
 * A tensor in memory of the page: dense, row-major.
 *
 * `f32` lies in a `Float32Array`, `i32` in an `Int32Array`, `u8` in a `Uint8Array`, `i8` in an `Int8Array`, `f16` and `bf16` in a `Uint16Array` of bit
 * patterns (`f16` in a `Float16Array` too, where the browser has them).
 */
export interface HostTensor {
  data: Float32Array | Int32Array | Uint8Array | Int8Array | Uint16Array;
  /** Sizes, outermost first; their product is `data.length`. */
  shape: readonly number[];
  /** Needed for a `Uint16Array` only, which may be `f16` (assumed) or `bf16`. */
  dtype?: Dtype;
}

/** A tensor on the GPU. Results that stay there can be inputs of other calls without being read back. */
export class Tensor {
  private constructor();
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  /** Copies it to memory of the page. */
  read(): Promise<HostTensor>;
  /** Gives its memory back. Using it afterwards is an error of kind `usage`. */
  free(): void;
}

/** A tensor as calls take it. */
export type Input = Tensor | HostTensor;

export interface EngineOptions {
  /** Which adapter, where there are several. Default: `high-performance`. */
  powerPreference?: "high-performance" | "low-power";
  /** Whether each variant runs a small case against the reference before it is first used. Default: true. */
  selfCheck?: boolean;
}

export type ErrorKind =
  /** A call does not fit what it is called with: a shape, a name, an option. */
  | "usage"
  /** An expression that cannot be read, or names what is not there: `column` and `length` say where. */
  | "invalid"
  /** Something this version does not serve. */
  | "unsupported"
  /** The adapter's limits do not allow it. */
  | "limit"
  /** No variant is right on this adapter. */
  | "refused"
  /** There is no WebGPU here, or no adapter. */
  | "no-adapter"
  | "out-of-memory"
  /** The device is gone. Make another engine. */
  | "device-lost"
  | "timeout"
  | "driver"
  | "internal";

/** The error of every rejected promise. `message` names the argument, what was expected and what came. */
export class FovealError extends Error {
  readonly kind: ErrorKind;
  /** The argument it is about, e.g. "tensor `k`" or `mask`. */
  readonly argument: string;
  /** Of errors in expressions: the first wrong character, counted from 0, and how many are wrong, at least 1. */
  readonly column?: number;
  readonly length?: number;
}

/**
 * Options of attention: `o = softmax(score(scale * q k^T) where mask) v`.
 *
 * Options may also have the names that they have in JSON and in Rust, `kv_len` for `kvLen`. Errors name those.
 */
export interface AttentionOptions {
  /** Which pairs of a query and a key are seen, e.g. `causal & window(255, 0)`. Default: all. */
  mask?: string;
  /** Expression of the scaled score `s`, e.g. `softcap(50.0)` or `s + bias[h, q, k]`. Default: `s`. */
  score?: string;
  /** Default: `1 / sqrt(Dk)`; or the name of a tensor `[H]`. */
  scale?: number | string;
  layout?: "bhtd" | "bthd";
  /** Whether `lse` is computed: the natural logarithm of each row's softmax denominator, `[B, H, Tq]`. Default: false. */
  lse?: boolean;
  /** Norm in which rows of q and k are first scaled to length 1. */
  qkNorm?: "l2";
  /** The name of a tensor `[H]` of logits that enter the denominator only. */
  sinkLogits?: string;
  /** Parts of the keys, each for a workgroup of its own: 1 to 256. With a number a batch entry's bits do not depend on the batch. */
  splits?: "auto" | number;
  blockMask?: BlockMask | DeviceBlockMask;
  /** The names of `i32` tensors `[B]` that say how many of the queries, and of the keys, each batch entry has; read on the GPU. */
  qLen?: string;
  kvLen?: string;
  /**
   * The names of `i32` tensors `[S + 1]` that rise from 0: S sequences lie one after the other, without padding; q and o are
   * `[1, H, Tq, D]`, k and v `[1, G, Tk, D]`. Read on the GPU.
   */
  cuSeqlensQ?: string;
  cuSeqlensK?: string;
  /** The name of an `i32` tensor `[B, Tk / page]`: k and v lie in pages, `[pages, G, page, D]`. -1 is no page. Read on the GPU. */
  blockTable?: string;
  /** The names of `f32` tensors `[B, G, blocks]`: k and v are integers, `i8` or two of four bits in a `u8`, times these scales. */
  kScale?: string;
  vScale?: string;
  /** Keys that share a scale. Default: 64. */
  quantBlock?: number;
}

/** Visible blocks whose lists are tensors on the GPU, `i32`: counts `[B or 1, H or 1, query blocks]`, indices `[.., maxBlocks]`. */
export interface DeviceBlockMask {
  /** Multiples of 64. */
  qBlock: number;
  kvBlock: number;
  counts: string;
  indices: string;
}

/** Lists of visible blocks, as compressed rows over (batch or 1, head or 1, query block): sizes, and the names of tensors. */
export interface BlockMask {
  qBlock: number;
  kvBlock: number;
  rowPtr: string;
  index: string;
}

/** Either of them with the names that it has in JSON. */
export type JsonBlockMask = { q_block: number; kv_block: number } & ({ row_ptr: string; index: string } | { counts: string; indices: string });

/** Options of linear attention; see the project's README for what they mean and which papers' operators they give. */
export interface LinearOptions {
  rule?: "add" | "delta" | "dplr";
  gate?: "none" | "constant" | "scalar" | "vector";
  steps?: number;
  causal?: boolean;
  direction?: "forward" | "reverse" | "both";
  featureMap?: "identity" | "relu" | "elu1" | "relu2" | "silu" | "l2norm" | "softmax" | "learned";
  normaliser?: "none" | "sum";
  eps?: number;
  scale?: number;
  layout?: "bhtd" | "bthd";
  eraseKey?: string;
  bonus?: string;
  /** The name of a tensor of step sizes `[B, HV, T]` by which gates and values are multiplied (Mamba-2). */
  dt?: string;
  /** The name of a tensor `[HV]`: outputs get this times their token's own value (Mamba-2's D). */
  skip?: string;
  /** `decay`: keys are `1 - exp(g)`, and there is no tensor k (HGRN2). */
  key?: "given" | "decay";
  kvLen?: string;
  stateLayout?: "kv" | "vk";
  stateOut?: boolean;
}

/** Options of every call that computes. */
export interface CallOptions {
  /** Leave the results on the GPU, as {@link Tensor}s. */
  resident?: boolean;
  /** Take this variant or fail. */
  variant?: string;
}

/** Tensors of a call by name: `q`, `k`, `v`, and whatever options and expressions name. One that nothing reads is an error. */
export type Tensors<T> = { q: T; k: T; v: T } & { [name: string]: T | string | number | boolean | BlockMask | DeviceBlockMask | JsonBlockMask | undefined };

/** The same of linear attention, which may make its keys of the gates. */
export type LinearTensors<T> = { q: T; k?: T; v: T } & { [name: string]: T | string | number | boolean | undefined };

/** The form of a call's results. */
export type Output<C extends CallOptions> = C extends { resident: true } ? Tensor : HostTensor;

export interface AttentionResult<T> {
  /** `[B, H, Tq, Dv]`, in the dtype of q. */
  o: T;
  /** f32 `[B, H, Tq]`, if the option `lse` asks for it. */
  lse?: T;
}

export interface LinearResult<T> {
  /** `[B, HV, T, Dv]`, in the dtype of q. */
  o: T;
  /** f32 `[B, HV, Dk, Dv]`, or as `stateLayout` has it, if the option `stateOut` asks for it. */
  state_out?: T;
  /** The sums of the normaliser `sum`, f32 `[B, 1, HV, Dk]`, beside `state_out`. */
  z_out?: T;
}

/** How a problem would run, and why so. */
export interface Plan {
  operator: string;
  /** The problem in a few words. */
  problem: string;
  variant: string;
  /** Why this variant and no other, and what it costs: some lines of text. */
  explanation: string;
  /** Memory beyond inputs and outputs. */
  scratchBytes: number;
  /** Each dispatch. */
  passes: { label: string; workgroups: [number, number, number] }[];
  /** Visible pairs over all pairs, where there is a mask. */
  density: number;
  flops: number;
}

export interface AdapterInfo {
  name: string;
  vendor: string;
  backend: string;
  kind: string;
  features: string[];
  limits: Record<string, number>;
  /** Variants of each operator that were refused on this adapter. */
  refused: Record<string, string[]>;
}

export interface Roofline {
  peakGflops: number;
  /** Measurements with units, in the order to be shown. */
  rows: { name: string; value: number; unit: string }[];
}

export interface CaseResult {
  operator: string;
  name: string;
  /** The problem in a few words. */
  problem: string;
  status: "passed" | "failed" | "skipped";
  /** Each variant that was tried: its worst relative RMSE over outputs and heads against the f64 reference. */
  variants: { variant: string; status: "passed" | "failed" | "skipped"; relRmse?: number; worst?: number; reason?: string }[];
  /** Code to paste that runs this case alone. */
  repro: string;
  milliseconds: number;
}

export interface CheckOptions {
  /** Default: all operators. */
  operator?: string;
  /** Only cases whose name contains this. */
  cases?: string;
  /** Random cases instead of the table's, from `seed` (default 1) on. */
  random?: number;
  seed?: number;
  variant?: string;
  /** `[index, parts]`: only every `parts`-th case, from the `index`-th on, for workers that share a check. */
  part?: [index: number, parts: number];
  /** Called after each case. */
  onCase?: (result: CaseResult, done: number, total: number) => void;
  signal?: AbortSignal;
}

export interface CheckSummary {
  passed: number;
  failed: number;
  skipped: number;
  cases: CaseResult[];
}

export interface Timing {
  variant: string;
  medianMs: number;
  p10Ms: number;
  p90Ms: number;
  gflops: number;
  /** Whether the GPU's own clock was read; the page's if not. */
  timestamps: boolean;
  samples: number;
}

/** A mask as a picture: which blocks and elements it hides. */
export interface MaskPicture {
  /** The expression as it was understood. */
  canonical: string;
  /** Visible pairs over all pairs, and blocks that are visited over all blocks. */
  density: number;
  blockDensity: number;
  /** Rows and columns of `blocks`: a byte each, 0 hidden, 1 mixed, 2 wholly visible. */
  blockRows: number;
  blockColumns: number;
  blocks: Uint8Array;
  /** Rows and columns of `elements`: a byte each, the visible share of what it stands for, 0 to 255. */
  rows: number;
  columns: number;
  elements: Uint8Array;
}

export interface MaskOptions {
  q: number;
  k: number;
  /** Edge of a block. Default: 64. */
  block?: number;
  batch?: number;
  head?: number;
  /** Largest edge of `elements`; longer masks are averaged. Default: 512. */
  picture?: number;
  /** Tables that the expression names. */
  tables?: Record<string, HostTensor>;
}

export interface Recipe {
  operator: string;
  name: string;
  /** The paper. */
  source: string;
  options: Record<string, unknown>;
  /** Sizes of its example. */
  shape: string;
}

/** Loads the wasm module. Called by everything else; call it yourself to say where the module lies. */
export function init(module?: URL | string | Response | WebAssembly.Module | BufferSource): Promise<void>;

/** Named uses of the operators, with the papers they come from. */
export function recipes(): Promise<Recipe[]>;

/** Draws a mask, without a GPU. */
export function mask(expression: string, options: MaskOptions): Promise<MaskPicture>;

/** Computes a problem in f64 on the CPU, from its definition: slow, and right. Needs no WebGPU. */
export function reference(
  operator: string,
  problem: (Tensors<HostTensor> & AttentionOptions) | (LinearTensors<HostTensor> & LinearOptions) | { [name: string]: unknown },
): Promise<Record<string, HostTensor>>;

/** Random inputs of a problem by its sizes, e.g. `inputs("attention", "1x8x512x64", { mask: "causal" })`. */
export function inputs(
  operator: string,
  shape: string,
  options?: Record<string, unknown>,
  seed?: number,
): Promise<Record<string, HostTensor>>;

/** A WebGPU device with its kernels. */
export class Engine {
  private constructor();
  /** Opens a device. */
  static create(options?: EngineOptions): Promise<Engine>;
  readonly info: AdapterInfo;
  /** Resolves when the device is lost, with why. Never rejects. */
  readonly lost: Promise<FovealError>;
  /** Copies a tensor to the GPU. */
  tensor(source: HostTensor): Promise<Tensor>;
  /** Softmax attention: q `[B, H, Tq, Dk]`, k `[B, G, Tk, Dk]`, v `[B, G, Tk, Dv]` give o `[B, H, Tq, Dv]`. */
  attention<C extends CallOptions>(problem: Tensors<Input> & AttentionOptions, call?: C): Promise<AttentionResult<Output<C>>>;
  /** Linear attention: q, k `[B, H, T, Dk]`, v `[B, HV, T, Dv]`, gates g, beta and states give o `[B, HV, T, Dv]` and `state_out`. */
  linear<C extends CallOptions>(problem: LinearTensors<Input> & LinearOptions, call?: C): Promise<LinearResult<Output<C>>>;
  /** How a problem would run. Tensors may lack their `data`, but for lists of indices and lengths (`i32`, `u8`). */
  plan(
    operator: string,
    problem: { [name: string]: unknown },
    call?: { variant?: string },
  ): Promise<Plan>;
  /** The same for random inputs of given sizes, e.g. `planShape("attention", "1x8x512x64", { mask: "causal" })`. */
  planShape(operator: string, shape: string, options?: Record<string, unknown>, call?: { variant?: string }): Promise<Plan>;
  /** Runs cases against the f64 reference. */
  check(options?: CheckOptions): Promise<CheckSummary>;
  /** Times a problem by its sizes: at least 5 samples, for about `seconds` (default 0.5). */
  time(
    operator: string,
    shape: string,
    options?: Record<string, unknown>,
    call?: { variant?: string; seconds?: number },
  ): Promise<Timing>;
  /** Measures what the adapter can do. */
  roofline(): Promise<Roofline>;
  /** Destroys the device: pending calls reject, and so does every later one. */
  destroy(): void;
}
