// The package in a browser: what it refuses, and how it fails.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { IMPORT, inPage as within, missing, open } from "./browser.mjs";

const skip = missing() ?? false;
if (skip) console.log(`SKIPPED: ${skip}`);

describe("failures of the package", { skip, concurrency: 1 }, () => {
  let browser;
  let page;

  before(async () => {
    browser = await open();
    page = await browser.page();
  });

  after(() => browser?.close());

  const inPage = (body, argument) => within(page, body, argument);

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

  test("a trap ends all calls", async () => {
    const apart = await browser.page();
    const [pending, later] = await within(
      apart,
      async ({ foveal, engine, caught }) => {
        const problem = await foveal.inputs("attention", "1x2x16x16");
        const pending = caught(() => engine.attention(problem));
        const trap = new WebAssembly.RuntimeError("unreachable");
        trap.stack = "at foveal_web_bg.wasm";
        globalThis.dispatchEvent(new ErrorEvent("error", { error: trap }));
        return [await pending, await caught(() => engine.attention(problem))];
      },
    );
    for (const error of [pending, later]) assert.deepEqual([error.ours, error.kind], [true, "internal"]);
    await apart.close();
  });

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
