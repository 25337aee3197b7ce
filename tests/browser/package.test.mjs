// The package in a browser: what it computes, what it refuses, and that every shader compiles there.
//
//   FOVEAL_BROWSER_CASES   only cases whose name contains this (default: all)

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { missing, open, packageFolder } from "./browser.mjs";

const skip = missing() ?? false;
if (skip) console.log(`SKIPPED: ${skip}`);
const only = process.env.FOVEAL_BROWSER_CASES ?? "";

/** The bodies below run in the page, where this is a module of ours. */
const IMPORT = "/package/foveal.js";

describe("the package", { skip, concurrency: 1 }, () => {
  let browser;
  let page;

  before(async () => {
    browser = await open();
    page = await browser.page();
  });

  after(() => browser?.close());

  /** Runs a function in the page with the package, an engine and `caught(promise)`, which gives what a rejection carries. */
  const inPage = (body, argument, where = page) =>
    where.evaluate(
      async ({ url, body, argument }) => {
        const foveal = await import(url);
        globalThis.engine ??= await foveal.Engine.create();
        const caught = async (make) => {
          try {
            await make();
          } catch (error) {
            const { kind, argument, message, column, length } = error;
            return { ours: error instanceof foveal.FovealError, kind, argument, message, column, length };
          }
          return "nothing was thrown";
        };
        const largest = (a, b) => a.data.reduce((most, x, i) => Math.max(most, Math.abs(x - b.data[i])), 0);
        // eslint-disable-next-line no-eval
        return eval(`(${body})`)({ foveal, engine: globalThis.engine, caught, largest }, argument);
      },
      { url: IMPORT, body: body.toString(), argument },
    );

  test("is small", () => {
    const wasm = readFileSync(join(packageFolder, "foveal_web_bg.wasm"));
    const packed = gzipSync(wasm, { level: 9 }).length;
    console.log(`the module is ${wasm.length} bytes, ${packed} gzipped`);
    assert.ok(packed <= 700_000, `${packed}`);
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

  test("mistakes are errors that say what is wrong", async () => {
    const errors = await inPage(async ({ foveal, engine, caught }) => {
      const { q, k, v } = await foveal.inputs("attention", "1x2x16x32");
      const attention = (problem, call) => caught(() => engine.attention(problem, call));
      const detached = { ...q, data: q.data.slice() };
      structuredClone(detached.data, { transfer: [detached.data.buffer] });
      const freed = await engine.tensor(q);
      freed.free();
      freed.free();
      const other = await foveal.Engine.create();
      const foreign = await other.tensor(q);
      const errors = {
        shape: await attention({ q, k: { ...k, shape: [1, 2, 32, 16] }, v }),
        length: await attention({ q, k: { ...k, data: k.data.subarray(1) }, v }),
        type: await attention({ q: { ...q, data: new Float64Array(q.data) }, k, v }),
        dtype: await attention({ q: { ...q, dtype: "f16" }, k, v }),
        array: await attention({ q: q.data, k, v }),
        sizes: await attention({ q: { ...q, shape: [1, 2, -16, 32] }, k, v }),
        detached: await attention({ q: detached, k, v }),
        freed: await attention({ q: freed, k, v }),
        read: await caught(() => freed.read()),
        foreign: await attention({ q: foreign, k, v }),
        missing: await attention({ q, k }),
        unread: await attention({ q, k, v, maks: q }),
        option: await attention({ q, k, v, maks: "causal" }),
        nan: await attention({ q, k, v, scale: Number.NaN }),
        call: await attention({ q, k, v }, { residnet: true }),
        variant: await attention({ q, k, v }, { variant: "fast" }),
        expression: await attention({ q, k, v, mask: "causal & k <" }),
        table: await attention({ q, k, v, mask: "same(doc)" }),
        index: await attention({
          q, k, v,
          mask: "t[x[k]] > 0",
          t: { data: new Int32Array(4), shape: [4] },
          x: { data: new Int32Array(16).fill(9), shape: [16] },
        }),
        operator: await caught(() => foveal.inputs("convolution", "1x2x3x4")),
        sizesText: await caught(() => foveal.inputs("attention", "many")),
        cases: await caught(() => engine.check({ cases: "no such case" })),
        part: await caught(() => engine.check({ part: [2, 2] })),
        tensor: await caught(async () => new foveal.Tensor()),
      };
      other.destroy();
      return errors;
    });
    const expected = {
      shape: ["usage", /k/], length: ["usage", /tensor `k`.*1024.*1023/], type: ["usage", /Float64Array/],
      dtype: ["usage", /f32/], array: ["usage", /\{ data, shape \}/], sizes: ["usage", /whole sizes/],
      detached: ["usage", /tensor `q`.*detached/], freed: ["usage", /tensor `q`.*freed/], read: ["usage", /freed/],
      foreign: ["usage", /another engine/], missing: ["usage", /^v: /], unread: ["usage", /tensor `maks`.*nothing reads/],
      option: ["usage", /maks/], nan: ["usage", /scale.*NaN/], call: ["usage", /residnet/], variant: ["usage", /fast/],
      expression: ["invalid", /mask/], table: ["usage", /doc/], index: ["usage", /element 0 is 9/],
      operator: ["usage", /convolution/], sizesText: ["usage", /many/], cases: ["usage", /no such case/], part: ["usage", /part.*\[2,2\]/], tensor: ["usage", /Tensor/],
    };
    assert.deepEqual(Object.keys(errors), Object.keys(expected));
    for (const [name, [kind, message]] of Object.entries(expected)) {
      const error = errors[name];
      assert.ok(error.ours, `${name}: ${JSON.stringify(error)}`);
      assert.match(error.message, message, name);
      if (name !== "table") assert.equal(error.kind, kind, `${name}: ${error.message}`);
      assert.ok(error.argument, name);
    }
    assert.equal(errors.expression.column, 12);
  });

  test("a lost device ends pending and later calls", async () => {
    const lost = await inPage(async ({ foveal, caught }) => {
      const engine = await foveal.Engine.create();
      const problem = await foveal.inputs("attention", "1x2x16x16");
      const tensor = await engine.tensor(problem.q);
      const pending = caught(() => engine.attention(problem));
      engine.destroy();
      engine.destroy();
      return [await pending, await caught(() => engine.attention(problem)), await caught(() => tensor.read()),
        await caught(() => engine.time("attention", "1x1x8x8")), await caught(() => engine.check()), { kind: (await engine.lost).kind, ours: true }];
    });
    for (const error of lost) assert.deepEqual([error.ours, error.kind], [true, "device-lost"], JSON.stringify(error));
  });

  test("what is too large for the page's memory is an error", async () => {
    const errors = await inPage(async ({ foveal, engine, caught }) => [
      await caught(() => foveal.inputs("attention", "1x16x65536x128")),
      await caught(() => engine.time("attention", "1x16x65536x128")),
    ]);
    for (const { kind, argument } of errors) assert.deepEqual([kind, argument], ["limit", "memory"]);
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

  test("a trap ends all calls", async () => {
    const apart = await browser.page();
    const [pending, later] = await inPage(
      async ({ foveal, engine, caught }) => {
        const problem = await foveal.inputs("attention", "1x2x16x16");
        const pending = caught(() => engine.attention(problem));
        const trap = new WebAssembly.RuntimeError("unreachable");
        trap.stack = "at foveal_web_bg.wasm";
        globalThis.dispatchEvent(new ErrorEvent("error", { error: trap }));
        return [await pending, await caught(() => engine.attention(problem))];
      },
      undefined,
      apart,
    );
    for (const error of [pending, later]) assert.deepEqual([error.ours, error.kind], [true, "internal"]);
    await apart.close();
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

  test("every shader of every case and variant compiles", { timeout: 1_800_000 }, async () => {
    const { compiled, subgroups, wrong } = await page.evaluate(async (only) => {
      await (await import("/package/foveal.js")).init();
      const wasm = await import("/package/foveal_web.js");
      const adapter = await navigator.gpu.requestAdapter();
      const wanted = ["subgroups", "shader-f16"].filter((feature) => adapter.features.has(feature));
      const device = await adapter.requestDevice({ requiredFeatures: wanted });
      const size = wanted.includes("subgroups") ? (adapter.info.subgroupMinSize ?? 4) : undefined;
      const seen = new Set();
      const wrong = [];
      for (const { operator, name } of JSON.parse(wasm.cases(undefined, only, undefined, 1, undefined))) {
        for (const shader of JSON.parse(wasm.case_shaders(operator, name, size))) {
          if (seen.has(shader.text)) continue;
          seen.add(shader.text);
          const module = device.createShaderModule({ code: shader.text });
          const { messages } = await module.getCompilationInfo();
          const errors = messages.filter(({ type }) => type === "error");
          if (errors.length > 0) {
            const [{ message, lineNum }] = errors;
            const line = shader.text.split("\n")[lineNum - 1];
            wrong.push(`${operator} ${name} ${shader.variant} ${shader.label}: ${lineNum}: ${message} | ${line}`);
          }
        }
      }
      device.destroy();
      return { compiled: seen.size, subgroups: size, wrong };
    }, only);
    console.log(`${compiled} shaders compiled, subgroups of ${subgroups ?? "none"}`);
    assert.ok(compiled > 0);
    assert.deepEqual(wrong, []);
  });

  // Two browsers: what takes the time is compiling, which a browser does on one core.
  describe("all cases are right", { concurrency: 2 }, () => {
    for (const part of [[0, 2], [1, 2]]) {
      test(`${part}`, { timeout: 3_600_000 }, async () => {
        const apart = await open();
        try {
          await right(await apart.page(), part);
        } finally {
          await apart.close();
        }
      });
    }
  });

  async function right(page, part) {
    page.on("console", (message) => message.text().startsWith("case ") && console.log(message.text()));
    const summary = await inPage(
      ({ engine }, { cases, part }) =>
        engine.check({
          cases,
          part,
          onCase: ({ operator, name, status, variants, milliseconds, repro }, done, total) => {
            const tried = variants.map(({ variant, status, relRmse, reason }) =>
              status === "passed" ? `${variant} ${relRmse.toExponential(1)}` : `${variant} ${status} ${status === "failed" ? reason : ""}`);
            console.log(`case ${done}/${total} ${status} ${operator} ${name}: ${tried.join(", ")}; ${milliseconds.toFixed(0)} ms${status === "failed" ? `; again: ${repro}` : ""}`);
          },
        }),
      { cases: only, part },
      page,
    );
    const bad = summary.cases.filter(({ status }) => status === "failed").map(({ operator, name }) => `${operator} ${name}`);
    console.log(`${summary.passed} passed, ${summary.failed} failed, ${summary.skipped} skipped`);
    assert.deepEqual(bad, []);
    assert.ok(summary.passed > 0 || only !== "");
  }

  test("the console has nothing to complain about", () => {
    assert.deepEqual(page.complaints, []);
  });

  test("without WebGPU, what needs none still works", async () => {
    const plain = await open({ webgpu: false });
    try {
      const bare = await plain.page();
      const [kind, density] = await bare.evaluate(async (url) => {
        const foveal = await import(url);
        const kind = await foveal.Engine.create().then(() => "an engine", (error) => error.kind);
        return [kind, (await foveal.mask("causal", { q: 4, k: 4 })).density];
      }, IMPORT);
      assert.equal(kind, "no-adapter");
      assert.equal(density, 10 / 16);
    } finally {
      await plain.close();
    }
  });
});
