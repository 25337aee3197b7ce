// Computations of the page itself, without a browser.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { bytes, percent, time, tiny } from "../../crates/web/demo/dom.js";
import { crossing } from "../../crates/web/demo/plot.js";
import { tone } from "../../crates/web/demo/ramps.js";
import { parse } from "../../crates/web/demo/safetensors.js";

const root = new URL("../../", import.meta.url);

test("lines cross where their order changes for good", () => {
  const square = [1, 2, 4, 8, 16].map((x) => [x, x * x]);
  const line = [1, 2, 4, 8, 16].map((x) => [x, 4 * x]);
  const found = crossing(square, line);
  assert.ok(Math.abs(found.x - 4) < 1e-9 && Math.abs(found.y - 16) < 1e-9 && found.below);
  assert.equal(crossing(line, square).below, false);
  assert.equal(crossing(square, square.map(([x, y]) => [x, y * 2])), null);
  assert.equal(crossing(square, []), null);
  // Between points, on logarithmic axes: x^2 = 5 x at 5.
  assert.ok(Math.abs(crossing(square, line.map(([x]) => [x, 5 * x])).x - 5) < 1e-9);
  // Twice: the last one counts.
  const twice = crossing([[1, 1], [2, 3], [4, 3], [8, 9]], [[1, 2], [2, 2], [4, 4], [8, 8]]);
  assert.ok(twice.x > 4 && twice.below);
});

test("numbers are written with their units", () => {
  assert.deepEqual([0.0123, 1, 12.345, 999.9, 12345].map(time), ["12.3 µs", "1 ms", "12.3 ms", "1 s", "12.3 s"]);
  assert.deepEqual([0, 1, 0.5005, 0.0123, 0.99999].map(percent), ["0 %", "100 %", "50.0 %", "1.2 %", "> 99.9 %"]);
  assert.deepEqual([0, 3.94e-7, 1e-12, 0.31, undefined].map(tiny), ["0", "3.9 × 10⁻⁷", "1.0 × 10⁻¹²", "0.31", "none"]);
  assert.deepEqual([12, 1024, 2 ** 31].map(bytes), ["12 B", "1 KiB", "2 GiB"]);
});

test("weights from 0.001 to 1 span the scale", () => {
  assert.deepEqual([0, 1e-3, 1].map(tone), [0, 0, 1]);
  assert.ok(Math.abs(tone(10 ** -1.5) - 0.5) < 1e-12);
});

test("the sample can be read, and its tokens are as many as its rows", async () => {
  const file = await readFile(new URL("crates/cli/data/sample.safetensors", root));
  const { tensors, metadata } = parse(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
  assert.deepEqual(tensors.q.shape, [1, 4, 240, 32]);
  assert.equal(tensors.q.data.length, 4 * 240 * 32);
  assert.ok(tensors.lse.data.every(Number.isFinite));
  assert.equal(JSON.parse(metadata.heads).length, 4);
  const tokens = JSON.parse(await readFile(new URL("crates/web/demo/sample-tokens.json", root), "utf8"));
  assert.equal(tokens.length, 240);
  assert.equal(tokens[0], "[CLS]");
});

test("what is no safetensors file is said to be none", () => {
  assert.throws(() => parse(new Uint8Array([255, 255, 255, 255, 0, 0, 0, 0, 1]).buffer), /not a safetensors file/);
});
