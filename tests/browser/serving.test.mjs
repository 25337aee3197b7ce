// Serving in a browser: a cache that grows, pages, packed sequences and integers, against attention written out here.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { inPage as within, missing, open } from "./browser.mjs";

const skip = missing() ?? false;
if (skip) console.log(`SKIPPED: ${skip}`);

/** In the page: tensors of values that repeat nowhere, and attention of one query over some keys. */
const TOOLS = `
  const noise = (count, seed) => Float32Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed));
  const tensor = (shape, seed) => ({ shape, data: noise(shape.reduce((n, size) => n * size, 1), seed) });
  const ints = (shape, values) => ({ shape, data: Int32Array.from(values.flat()) });
  const row = (of, [h, t], width) => of.data.subarray((h * of.shape.at(-2) + t) * width, (h * of.shape.at(-2) + t + 1) * width);
  // One query over rows of keys and values.
  const attend = (q, keys, values) => {
    const scores = keys.map((k) => k.reduce((sum, x, d) => sum + x * q[d], 0) / Math.sqrt(q.length));
    const most = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - most));
    const total = weights.reduce((sum, w) => sum + w, 0);
    return values[0].map((_, d) => values.reduce((sum, v, j) => sum + (weights[j] / total) * v[d], 0));
  };
  const off = (got, expected) => expected.reduce((most, x, d) => Math.max(most, Math.abs(x - got[d])), 0);
`;

describe("serving in a browser", { skip, concurrency: 1 }, () => {
  let browser;
  let page;

  before(async () => {
    browser = await open();
    page = await browser.page();
  });

  after(() => browser?.close());

  /** `inPage` with TOOLS in scope. */
  const inPage = (body) => within(page, `(context) => { ${TOOLS} return (${body})(context); }`);

  test("packed sequences are attention each of its own", async () => {
    const worst = await inPage(async ({ engine }) => {
      const D = 16;
      const [H, counts] = [2, [[3, 5], [0, 2], [4, 4]]]; // queries and keys of each
      const [Tq, Tk] = [7, 11];
      const [q, k, v] = [tensor([1, H, Tq, D], 1), tensor([1, H, Tk, D], 2), tensor([1, H, Tk, D], 3)];
      const borders = (of) => counts.reduce((all, pair) => [...all, all.at(-1) + pair[of]], [0]);
      const [cu_q, cu_k] = [0, 1].map((of) => ints([4], borders(of)));
      const problem = { q, k, v, cuSeqlensQ: "cu_q", cuSeqlensK: "cu_k", cu_q, cu_k, mask: "causal" };
      const { o } = await engine.attention(problem);
      let worst = 0;
      for (let h = 0; h < H; h++) {
        for (const [s, [queries, keys]] of counts.entries()) {
          for (let i = 0; i < queries; i++) {
            const seen = Array.from({ length: i + 1 + keys - queries }, (_, j) => cu_k.data[s] + j);
            const expected = attend(
              row(q, [h, cu_q.data[s] + i], D),
              seen.map((t) => row(k, [h, t], D)),
              seen.map((t) => [...row(v, [h, t], D)]),
            );
            worst = Math.max(worst, off(row(o, [h, cu_q.data[s] + i], D), expected));
          }
        }
      }
      return worst;
    });
    assert.ok(worst < 1e-5, `${worst}`);
  });

  test("a step appends to pages and reads them, with a prefix that is shared", async () => {
    const { worst, caches, passes } = await inPage(async ({ engine }) => {
      const D = 16;
      const [B, H, PAGE, PAGES] = [3, 2, 16, 14];
      const SHARED = 64;
      const lengths = [70, 65, 90]; // with the new row
      // The first four pages are everyone's.
      const table = [[5, 0, 9, 3, 1, 2], [5, 0, 9, 3, 12, -1], [5, 0, 9, 3, 7, 8]];
      const pools = { k: tensor([PAGES, H, PAGE, D], 4), v: tensor([PAGES, H, PAGE, D], 5) };
      const [q, k, v] = [tensor([B, H, 1, D], 6), tensor([B, H, 1, D], 7), tensor([B, H, 1, D], 8)];
      const names = { kvLen: "n", blockTable: "table" };
      const host = { n: ints([B], lengths), table: ints([B, 6], table) };
      const appended = { k, v, k_cache: pools.k, v_cache: pools.v, ...names, ...host };
      const append = await engine.prepare("append", appended);
      const read = { q, k: pools.k, v: pools.v, ...names, ...host, sharedPrefix: SHARED };
      const attention = await engine.prepare("attention", read);
      const on = {};
      for (const [name, of] of Object.entries({ q, k, v, ...host, k_cache: pools.k, v_cache: pools.v })) on[name] = await engine.tensor(of);
      const { n, table: pages } = on;
      const growing = await append.bind({ k: on.k, v: on.v, k_cache: on.k_cache, v_cache: on.v_cache, n, table: pages });
      const reading = await attention.bind({ q: on.q, k: on.k_cache, v: on.v_cache, n, table: pages });
      const encoder = engine.encoder();
      growing.encode(encoder);
      reading.encode(encoder);
      encoder.submit();
      const o = await reading.tensors.o.read();
      const grown = { k: await on.k_cache.read(), v: await on.v_cache.read() };
      let [worst, caches] = [0, 0];
      for (let b = 0; b < B; b++) {
        for (let h = 0; h < H; h++) {
          const at = (t) => ((table[b][t >> 4] * H + h) * PAGE + (t & 15)) * D;
          const rows = { k: [], v: [] };
          for (const name of ["k", "v"]) {
            const fresh = { k, v }[name].data.subarray((b * H + h) * D, (b * H + h + 1) * D);
            for (let t = 0; t < lengths[b]; t++) {
              const expected = t === lengths[b] - 1 ? fresh : pools[name].data.subarray(at(t), at(t) + D);
              caches = Math.max(caches, off(grown[name].data.subarray(at(t), at(t) + D), [...expected]));
              rows[name].push([...expected]);
            }
          }
          const first = (b * H + h) * D;
          const expected = attend([...q.data.subarray(first, first + D)], rows.k, rows.v);
          worst = Math.max(worst, off(o.data.subarray(first, first + D), expected));
        }
      }
      return { worst, caches, passes: attention.plan.passes.map(({ label }) => label) };
    });
    assert.equal(caches, 0);
    assert.ok(worst < 1e-5, `${worst}`);
    assert.ok(passes.some((label) => label.endsWith("shared_prefix")), `${passes}`);
  });

  test("integers stand for their scales times them", async () => {
    const worst = await inPage(async ({ engine }) => {
      const D = 16;
      const [H, Tk, BLOCK] = [2, 40, 16];
      const whole = (seed) => Int8Array.from(noise(H * Tk * D, seed), (x) => Math.round(127 * x));
      const [q, k, v] = [tensor([1, H, 1, D], 9), whole(10), whole(11)];
      const scales = (seed) => ({ shape: [1, H, 3], data: noise(H * 3, seed).map((x) => 0.01 + 0.005 * x) });
      const [ks, vs] = [scales(12), scales(13)];
      const shape = [1, H, Tk, D];
      const integers = { k: { shape, data: k }, v: { shape, data: v } };
      const problem = { q, ...integers, kScale: "ks", vScale: "vs", quantBlock: BLOCK, ks, vs };
      const { o } = await engine.attention(problem);
      let worst = 0;
      for (let h = 0; h < H; h++) {
        const of = (data, scales) =>
          Array.from({ length: Tk }, (_, t) =>
            [...data.subarray((h * Tk + t) * D, (h * Tk + t + 1) * D)].map((x) => x * scales.data[h * 3 + Math.floor(t / BLOCK)]));
        const expected = attend([...q.data.subarray(h * D, (h + 1) * D)], of(k, ks), of(v, vs));
        worst = Math.max(worst, off(o.data.subarray(h * D, (h + 1) * D), expected));
      }
      return worst;
    });
    assert.ok(worst < 1e-5, `${worst}`);
  });

  test("what does not hold is an error that names the tensor", async () => {
    const wrong = await inPage(async ({ engine, caught }) => {
      const [q, k, v] = [tensor([2, 1, 1, 16], 1), tensor([8, 1, 16, 16], 2), tensor([8, 1, 16, 16], 3)];
      const paged = (pages, more) => ({ q, k, v, blockTable: "table", table: ints([2, 3], pages), ...more });
      return [
        await caught(() => engine.attention(paged([[0, 1, 2], [3, 4, 8]]))),
        await caught(() => engine.attention(paged([[0, 1, 2], [0, 4, 5]], { sharedPrefix: 32 }))),
        await caught(() => engine.attention(paged([[0, 1, 2], [0, 1, 5]], { sharedPrefix: 40 }))),
      ];
    });
    assert.deepEqual(wrong.map(({ ours, kind }) => [ours, kind]), Array(3).fill([true, "usage"]));
    assert.match(wrong[0].message, /element 5 is 8, expected a page/);
    assert.match(wrong[1].message, /element 4 is 4, expected 1 as of entry 0/);
    assert.match(wrong[2].message, /whole pages of 16 keys, got 40/);
  });

  test("the console has nothing to complain about", () => {
    assert.deepEqual(page.complaints, []);
  });
});
