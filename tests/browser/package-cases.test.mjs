// The package in a browser: every shader compiles there, and every case is right.
//
//   FOVEAL_BROWSER_CASES   only cases whose name contains this (default: all)

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { inPage, missing, open } from "./browser.mjs";

const skip = missing() ?? false;
if (skip) console.log(`SKIPPED: ${skip}`);
const only = process.env.FOVEAL_BROWSER_CASES ?? "";

describe("cases in a browser", { skip, concurrency: 1 }, () => {
  let browser;
  let page;

  before(async () => {
    browser = await open();
    page = await browser.page();
  });

  after(() => browser?.close());

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

  test("the console has nothing to complain about", () => {
    assert.deepEqual(page.complaints, []);
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
      page,
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
    );
    const bad = summary.cases.filter(({ status }) => status === "failed").map(({ operator, name }) => `${operator} ${name}`);
    console.log(`${summary.passed} passed, ${summary.failed} failed, ${summary.skipped} skipped`);
    assert.deepEqual(bad, []);
    assert.ok(summary.passed > 0 || only !== "");
  }
});
