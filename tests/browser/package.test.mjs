// The package in a browser: what it computes and what it tells.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { inPage as within, missing, open, packageFolder } from "./browser.mjs";

const skip = missing() ?? false;
if (skip) console.log(`SKIPPED: ${skip}`);

describe("the package", { skip, concurrency: 1 }, () => {
  let browser;
  let page;

  before(async () => {
    browser = await open();
    page = await browser.page();
  });

  after(() => browser?.close());

  const inPage = (body, argument) => within(page, body, argument);

  test("is small", () => {
    const wasm = readFileSync(join(packageFolder, "foveal_web_bg.wasm"));
    const packed = gzipSync(wasm, { level: 9 }).length;
    console.log(`the module is ${wasm.length} bytes, ${packed} gzipped`);
    assert.ok(packed <= 800_000, `${packed}`);
  });

  test("says what it runs on", async () => {
    const info = await inPage(({ engine }) => engine.info);
    assert.equal(info.backend, "webgpu");
    assert.ok(info.name.length > 0);
    assert.ok(info.limits.max_buffer_size > 0);
    assert.deepEqual(Object.keys(info.refused), ["append", "attention", "combine", "linear"]);
  });

  for (const [operator, shape, options] of [
    ["attention", "1x2x64x32", { mask: "causal & window(20, 0)", lse: true }],
    ["attention", "2x4:2x33:70x40", { score: "softcap(5.0)", dtype: "f16" }],
    ["linear", "1x2x100x32", { rule: "delta", gate: "scalar", state_out: true }],
  ]) {
    test(`${operator} ${shape} is as the reference`, async () => {
      const errors = await inPage(
        async ({ foveal, engine, largest }, { operator, shape, options }) => {
          const { dtype, ...rest } = options;
          const problem = { ...(await foveal.inputs(operator, shape, options)), ...rest };
          const got = await engine[operator](problem);
          const expected = await foveal.reference(operator, problem);
          const half = (x) => (x.dtype === "f16" ? { data: new Float16Array(x.data.buffer) } : x);
          return Object.keys(expected).map((name) => [name, largest(half(got[name]), half(expected[name]))]);
        },
        { operator, shape, options },
      );
      assert.ok(errors.length > 0);
      for (const [name, error] of errors) assert.ok(error < 2e-3, `${name}: ${error}`);
    });
  }

  test("results can stay on the GPU", async () => {
    const error = await inPage(async ({ foveal, engine, largest }) => {
      const problem = await foveal.inputs("attention", "1x2x40x32");
      const { o } = await engine.attention(problem, { resident: true });
      const again = await engine.attention({ q: o, k: o, v: await engine.tensor(problem.v), mask: "causal" });
      const first = await o.read();
      const expected = await foveal.reference("attention", { q: first, k: first, v: problem.v, mask: "causal" });
      o.free();
      return largest(again.o, expected.o);
    });
    assert.ok(error < 1e-5, `${error}`);
  });

  test("tables decide about visibility, on the GPU too", async () => {
    const errors = await inPage(async ({ foveal, engine, largest }) => {
      const problem = { ...(await foveal.inputs("attention", "1x2x60x32")), mask: "same(doc)" };
      problem.doc = { data: Int32Array.from({ length: 60 }, (_, i) => Math.floor(i / 17)), shape: [1, 60] };
      const expected = await foveal.reference("attention", problem);
      const host = await engine.attention(problem);
      const resident = await engine.attention({ ...problem, doc: await engine.tensor(problem.doc) });
      return [largest(host.o, expected.o), largest(resident.o, expected.o)];
    });
    for (const error of errors) assert.ok(error < 1e-5, `${errors}`);
  });

  test("a repeated call neither plans nor compiles", async () => {
    const [first, second] = await inPage(async ({ foveal, engine }) => {
      const problem = await foveal.inputs("attention", "1x2x48x24");
      const time = async () => {
        const start = performance.now();
        await engine.attention(problem);
        return performance.now() - start;
      };
      return [await time(), Math.min(await time(), await time(), await time())];
    });
    assert.ok(second < first / 4, `${first} ms, then ${second} ms`);
  });

  test("plans explain themselves", async () => {
    const [described, bySize] = await inPage(async ({ engine }) => {
      const shape = [1, 2, 512, 64];
      return [
        await engine.plan("attention", { q: { shape }, k: { shape }, v: { shape }, mask: "causal" }),
        await engine.planShape("attention", "1x2x512x64", { mask: "causal" }),
      ];
    });
    assert.deepEqual(described, bySize);
    assert.match(described.explanation, /because/);
    assert.ok(described.passes.length > 0 && described.density > 0.5 && described.density < 0.52);
  });

  test("masks are drawn", async () => {
    const drawn = await inPage(async ({ foveal, caught }) => {
      const picture = await foveal.mask("causal&window(15,0)", { q: 128, k: 128, block: 16, picture: 64 });
      const doc = { data: Int32Array.from({ length: 128 }, (_, i) => i >> 5), shape: [1, 128] };
      const packed = await foveal.mask("same(doc)", { q: 128, k: 128, tables: { doc } });
      return {
        ...picture,
        blocks: [...picture.blocks],
        elements: [...picture.elements],
        packed: packed.density,
        long: (await foveal.mask("causal", { q: 131072, k: 131072, block: 1024, picture: 64 })).density,
        wrong: await caught(() => foveal.mask("causal & windw(3, 0)", { q: 8, k: 8 })),
        zero: await caught(() => foveal.mask("causal", { q: 0, k: 8 })),
      };
    });
    assert.equal(drawn.canonical, "causal & window(15, 0)");
    assert.deepEqual([drawn.blockRows, drawn.blockColumns, drawn.rows, drawn.columns], [8, 8, 64, 64]);
    assert.equal(drawn.blocks.filter((block) => block === 1).length, 15);
    assert.ok(Math.abs(drawn.density - (128 * 16 - 120) / 128 ** 2) < 1e-9, `${drawn.density}`);
    assert.equal(drawn.packed, 0.25);
    assert.ok(Math.abs(drawn.long - 0.5) < 1e-3, `${drawn.long}`);
    assert.equal(drawn.elements[63 * 64 + 63], 191);
    assert.deepEqual([drawn.wrong.kind, drawn.wrong.argument, drawn.wrong.column, drawn.wrong.length], ["invalid", "mask", 9, 5]);
    assert.deepEqual([drawn.zero.kind, drawn.zero.argument], ["usage", "q"]);
  });

  test("recipes name their papers", async () => {
    const recipes = await inPage(({ foveal }) => foveal.recipes());
    assert.ok(recipes.length > 10);
    for (const { operator, name, source, options, shape } of recipes) {
      assert.ok(operator && name && source && shape && typeof options === "object");
    }
  });

  test("block lists of the caller's are followed", async () => {
    const error = await inPage(async ({ foveal, engine, largest }) => {
      const list = (data) => ({ data: Int32Array.from(data), shape: [data.length] });
      const problem = {
        ...(await foveal.inputs("attention", "1x1x48x32")),
        block_mask: { q_block: 16, kv_block: 16, row_ptr: "rows", index: "blocks" },
        rows: list([0, 1, 3, 5]),
        blocks: list([0, 0, 1, 1, 2]),
      };
      const expected = await foveal.reference("attention", problem);
      return largest((await engine.attention(problem)).o, expected.o);
    });
    assert.ok(error < 1e-5, `${error}`);
  });

  test("lengths and lists of blocks may lie on the GPU", async () => {
    const { differences, refused } = await inPage(async ({ foveal, engine, caught, largest }) => {
      const values = (count) => Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898) * 2);
      const [shape, lists] = [[2, 2, 130, 16], [1, 1, 3]];
      const tensor = () => ({ data: values(2 * 2 * 130 * 16), shape });
      const problem = {
        q: tensor(), k: tensor(), v: tensor(),
        keys: { data: Int32Array.of(130, 70), shape: [2] }, kvLen: "keys",
        counts: { data: Int32Array.of(2, 1, 3), shape: lists },
        indices: { data: Int32Array.of(0, 2, 9, 1, 9, 9, 2, 0, 1), shape: [...lists, 3] },
        blockMask: { qBlock: 64, kvBlock: 64, counts: "counts", indices: "indices" },
      };
      const expected = await foveal.reference("attention", problem);
      const resident = { keys: await engine.tensor(problem.keys), indices: await engine.tensor(problem.indices) };
      const results = [await engine.attention(problem), await engine.attention({ ...problem, ...resident })];
      const wrong = { ...problem, keys: { data: Int32Array.of(130, 131), shape: [2] } };
      return {
        differences: results.map(({ o }) => largest(o, expected.o)),
        refused: await caught(() => engine.attention(wrong)),
      };
    });
    for (const difference of differences) assert.ok(difference < 1e-4, `${difference}`);
    assert.match(refused.message, /keys.*131, expected 0 to 130/);
  });

  test("a kernel is timed, and the adapter measured", { timeout: 180_000 }, async () => {
    const [timing, roofline] = await inPage(async ({ engine }) => [
      await engine.time("attention", "1x2x128x64", { mask: "causal" }, { seconds: 0.2 }),
      await engine.roofline(),
    ]);
    assert.ok(timing.samples >= 5 && timing.medianMs > 0 && timing.gflops > 0, JSON.stringify(timing));
    assert.ok(timing.p10Ms <= timing.medianMs && timing.medianMs <= timing.p90Ms);
    assert.ok(roofline.peakGflops > 0 && roofline.rows.length >= 5);
    console.log(JSON.stringify(timing), JSON.stringify(roofline));
  });

  test("a check can be cut short", async () => {
    const [done, repro] = await inPage(async ({ engine }) => {
      const controller = new AbortController();
      const onCase = () => controller.abort();
      const summary = await engine.check({ operator: "attention", variant: "naive", onCase, signal: controller.signal });
      return [summary.cases.length, summary.cases[0].repro];
    });
    assert.equal(done, 1);
    assert.match(repro, /^await engine\.check\(\{ operator: "attention", cases: ".+" \}\)$/);
  });

  test("bound kernels are recorded again and again", async () => {
    const { differences, moved, plan, errors } = await inPage(async ({ foveal, engine, caught, largest }) => {
      const problem = await foveal.inputs("attention", "1x2x48x32");
      const held = async (names) =>
        Object.fromEntries(await Promise.all(names.map(async (name) => [name, await engine.tensor(problem[name])])));
      const { q, k, v } = await held(["q", "k", "v"]);
      const kernel = await engine.prepare("attention", { q, k: { shape: k.shape }, v, mask: "causal", lse: true });
      const first = await kernel.bind({ q, k, v });
      // Its output is the queries of a second run in the same submission.
      const second = await kernel.bind({ q: first.tensors.o, k, v });
      const encoder = engine.encoder();
      first.encode(encoder);
      second.encode(encoder);
      encoder.submit();
      const results = [await first.tensors.o.read(), await second.tensors.o.read()];
      const one = await foveal.reference("attention", { ...problem, mask: "causal" });
      const two = await foveal.reference("attention", { ...problem, q: one.o, mask: "causal" });
      // Other queries, with the outputs of before to write to.
      const again = await kernel.bind({ q, k, v, o: first.tensors.o, lse: first.tensors.lse });
      q.write(two.o);
      const next = engine.encoder();
      again.encode(next);
      next.submit();
      const three = await foveal.reference("attention", { ...problem, q: two.o, mask: "causal" });
      const moved = largest(await again.tensors.o.read(), three.o);
      const other = await foveal.Engine.create();
      const errors = {
        missing: await caught(() => kernel.bind({ q, k })),
        unknown: await caught(() => kernel.bind({ q, k, v, w: q })),
        shape: await caught(() => kernel.bind({ q, k, v, lse: q })),
        host: await caught(() => kernel.bind({ q, k, v: problem.v })),
        overlap: await caught(() => kernel.bind({ q, k, v, o: q })),
        submitted: await caught(async () => first.encode(encoder)),
        twice: await caught(async () => encoder.submit()),
        foreign: await caught(async () => first.encode(other.encoder())),
        encoder: await caught(async () => first.encode(kernel)),
        written: await caught(async () => q.write({ data: new Float32Array(4), shape: [4] })),
        made: await caught(async () => new foveal.Kernel()),
        unread: await caught(() => engine.prepare("attention", { q, k, v, maks: q })),
      };
      other.destroy();
      first.free();
      first.free();
      errors.freed = await caught(async () => first.encode(engine.encoder()));
      kernel.free();
      errors.kernel = await caught(() => kernel.bind({ q, k, v }));
      return {
        differences: [largest(results[0], one.o), largest(results[1], two.o)],
        moved, plan: kernel.plan.variant, errors,
      };
    });
    for (const difference of [...differences, moved]) assert.ok(difference < 1e-5, `${differences} ${moved}`);
    assert.ok(plan.length > 0);
    const expected = {
      missing: /tensor `v`.*not bound/, unknown: /tensor `w`.*no such tensor/, shape: /tensor `lse`.*on the GPU/, host: /tensor `v`.*Tensor/,
      overlap: /overlap/, submitted: /submitted/, twice: /submitted/, foreign: /another engine/, encoder: /Encoder/, written: /tensor `source`.*\[4\] f32 here/,
      made: /engine.prepare/, unread: /maks/, freed: /freed/, kernel: /freed/,
    };
    for (const [name, message] of Object.entries(expected)) {
      assert.ok(errors[name].ours, `${name}: ${JSON.stringify(errors[name])}`);
      assert.equal(errors[name].kind, "usage", name);
      assert.match(errors[name].message, message, name);
    }
  });

  test("lists of a bound kernel are checked", async () => {
    const error = await inPage(async ({ foveal, engine, caught }) => {
      const { q, k, v } = await foveal.inputs("attention", "2x1x64x16");
      const [keys, wrong] = [Int32Array.of(64, 3), Int32Array.of(64, 65)].map((data) => ({ data, shape: [2] }));
      const kernel = await engine.prepare("attention", { q, k, v, keys, kvLen: "keys" });
      const [a, b, c, lengths] = await Promise.all([q, k, v, wrong].map((tensor) => engine.tensor(tensor)));
      return [await caught(() => kernel.bind({ q: a, k: b, v: c, keys: lengths })), await caught(async () => lengths.write(keys))];
    });
    assert.match(error[0].message, /keys.*65/);
    assert.match(error[1].message, /describes problems/);
  });

  test("the console has nothing to complain about", () => {
    assert.deepEqual(page.complaints, []);
  });
});
