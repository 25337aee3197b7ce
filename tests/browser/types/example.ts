// Typical calls, as TypeScript sees them: `types.test.mjs` has the compiler look at them.

import { Engine, FovealError, mask, reference, type HostTensor, type Tensor } from "foveal";

const shape = [1, 8, 64, 32];
const input = (): HostTensor => ({ data: new Float32Array(8 * 64 * 32), shape });

export async function attend(): Promise<Float32Array> {
  const engine = await Engine.create({ powerPreference: "low-power" });
  const q: Tensor = await engine.tensor(input());
  const { o } = await engine.attention({ q, k: input(), v: input(), mask: "causal & same(doc)", doc: input() }, { resident: true });
  const next = await engine.linear({ q: o, k: o, v: o, rule: "delta", gate: "scalar", g: input(), beta: input() });
  const decays = await engine.linear({ q, v: q, gate: "vector", key: "decay", g: input() }, { resident: true });
  decays.o.free();
  const lists = { q_block: 64, kv_block: 64, counts: "n", indices: "at" };
  await engine.attention({ q, k: input(), v: input(), kv_len: "keys", keys: input(), block_mask: lists, n: input(), at: input() });
  const blockMask = { qBlock: 64, kvBlock: 64, counts: "n", indices: "at" };
  const { lse } = await engine.attention({ q, k: input(), v: input(), lse: true, kvLen: "keys", keys: input(), blockMask, n: input(), at: input() });
  console.log(lse?.data.length);
  const summary = await engine.check({ operator: "linear", onCase: ({ name, status }) => console.log(name, status) });
  console.log(summary.failed, (await engine.planShape("attention", "1x8x512x64")).explanation);
  const { data } = next.o;
  if (!(data instanceof Float32Array)) throw new TypeError(`${next.o.dtype}`);
  return data;
}

export async function draw(expression: string): Promise<number | undefined> {
  try {
    return (await mask(expression, { q: 128, k: 128 })).density;
  } catch (error) {
    if (error instanceof FovealError && error.kind === "invalid") return error.column;
    throw error;
  }
}

export const right = reference("attention", { q: input(), k: input(), v: input(), mask: "causal" });

export async function refused(engine: Engine): Promise<void> {
  // @ts-expect-error q and v are always needed
  await engine.attention({ k: input() });
  // @ts-expect-error there is no such output
  (await engine.attention({ q: input(), k: input(), v: input() })).attention;
  // @ts-expect-error there is no such rule
  await engine.linear({ q: input(), k: input(), v: input(), rule: "hebb" });
  // @ts-expect-error engines are made by `Engine.create`
  new Engine();
}

export async function frames(engine: Engine, q: Tensor, k: Tensor, v: Tensor): Promise<Tensor> {
  const kernel = await engine.prepare("attention", { q, k, v, mask: "causal" }, { variant: kernelOf(q) });
  const bound = await kernel.bind({ q, k, v });
  const encoder = engine.encoder();
  bound.encode(encoder);
  encoder.submit();
  q.write(input());
  // @ts-expect-error it records into encoders
  bound.encode(kernel);
  return bound.tensors.o;
}

const kernelOf = (tensor: Tensor): string | undefined => (tensor.dtype === "f32" ? undefined : "tiled");
