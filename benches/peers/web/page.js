// The part in the browser: one library, one problem. Each gets arrays of the page and gives one back.

const { library, heads, tokens, dim, repeats, model } = window.job;
const count = heads * tokens * dim;

/** Numbers about as large as activations are, the same in every run. */
function numbers(seed) {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    let sum = 0;
    for (let i = 0; i < 4; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      sum += state / 2 ** 32 - 0.5;
    }
    return sum * Math.sqrt(3);
  });
}

/** `[H, T, D]` as `[T, H, D]`: how all three take it here. */
const [q, k, v] = [1, 2, 3].map(numbers);

/** Softmax attention in f64, from its definition. Rows are `[T, H, D]`. */
function expected() {
  const o = new Float64Array(count);
  const at = (t, h) => (t * heads + h) * dim;
  const weights = new Float64Array(tokens);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < tokens; i++) {
      let largest = -Infinity;
      for (let j = 0; j < tokens; j++) {
        let sum = 0;
        for (let d = 0; d < dim; d++) sum += q[at(i, h) + d] * k[at(j, h) + d];
        weights[j] = sum / Math.sqrt(dim);
        largest = Math.max(largest, weights[j]);
      }
      let total = 0;
      for (let j = 0; j < tokens; j++) total += weights[j] = Math.exp(weights[j] - largest);
      for (let j = 0; j < tokens; j++) {
        const weight = weights[j] / total;
        for (let d = 0; d < dim; d++) o[at(i, h) + d] += weight * v[at(j, h) + d];
      }
    }
  }
  return o;
}

const libraries = {
  async foveal() {
    const { Engine } = await import("/package/foveal.js");
    const engine = await Engine.create();
    const shape = [1, tokens, heads, dim];
    const input = (data) => ({ data, shape });
    return async () => {
      const problem = { q: input(q), k: input(k), v: input(v), layout: "bthd" };
      return (await engine.attention(problem)).o.data;
    };
  },
  async jax() {
    const jax = await import("/modules/@jax-js/jax/dist/index.js");
    await jax.init("webgpu");
    jax.defaultDevice("webgpu");
    const input = (data) => jax.numpy.array(data, { shape: [tokens, heads, dim], dtype: jax.numpy.float32 });
    return async () => jax.nn.dotProductAttention(input(q), input(k), input(v)).data();
  },
  async onnx() {
    const ort = await import("/modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs");
    ort.env.wasm.wasmPaths = "/modules/onnxruntime-web/dist/";
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create(Uint8Array.from(model), { executionProviders: ["webgpu"] });
    const input = (data) => new ort.Tensor("float32", data, [1, tokens, heads * dim]);
    return async () => (await session.run({ q: input(q), k: input(k), v: input(v) })).o.getData();
  },
};

async function measure() {
  const run = await libraries[library]();
  const begun = performance.now();
  const o = await run();
  const first = performance.now() - begun;
  const right = expected();
  let off = 0;
  let all = 0;
  for (let i = 0; i < count; i++) {
    off += (o[i] - right[i]) ** 2;
    all += right[i] ** 2;
  }
  const times = [];
  for (let i = 0; i < repeats; i++) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return { first, median: times[times.length >> 1], best: times[0], relRmse: Math.sqrt(off / all) };
}

window.result = measure().catch((error) => ({ error: String(error?.message ?? error) }));
