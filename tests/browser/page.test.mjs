// The page as a visitor uses it: its five parts, without WebGPU, and after the device is lost.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import * as tests from "./browser.mjs";

const PICTURES = process.env.FOVEAL_ARTEFACTS || join(tests.target, "web", "screenshots");
const PARTS = ["adapter", "check", "mask", "attention", "bench"];

/** Milliseconds that a task of the page may take while the device works. */
const LONGEST = 50;

/** A device that runs on a CPU is slow to compile for. */
const SLOW = { timeout: 180_000 };

const skip = tests.missing();

before(() => mkdir(PICTURES, { recursive: true }));

/** A browser to open pages in as visitors have them: wide or narrow, light or dark. */
async function start(options) {
  const site = await tests.open(options);
  const blank = await site.page("/blank");
  return { address: site.address, contexts: blank.context().browser(), close: () => site.close() };
}

/** Opens the page and keeps what goes wrong and what takes long. */
async function open(browser, { width = 1280, height = 800, scheme = "light", hash = "", density = 1, before: first } = {}) {
  const context = await browser.contexts.newContext({ viewport: { width, height }, colorScheme: scheme, deviceScaleFactor: density, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.wrong = [];
  page.on("console", (message) => message.type() === "error" && page.wrong.push(message.text()));
  page.on("pageerror", (error) => page.wrong.push(error.message));
  await page.addInitScript(() => {
    window.longTasks = [];
    window.jumps = 0;
    new PerformanceObserver((list) => {
      for (const { value, hadRecentInput } of list.getEntries()) window.jumps += hadRecentInput ? 0 : value;
    }).observe({ type: "layout-shift", buffered: true });
    new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map(({ startTime, duration }) => ({ startTime, duration })))).observe({ type: "longtask", buffered: true });
  });
  if (first) await page.addInitScript(first);
  await page.goto(`${browser.address}/${hash}`);
  return page;
}

const text = (page, id) => page.locator(`#${id}`).innerText();
const until = (page, id, pattern) =>
  page.waitForFunction(([id, source]) => new RegExp(source).test(document.getElementById(id).textContent), [id, pattern.source], SLOW);
const ready = (page) => page.waitForFunction(() => ["good", "bad", "warn"].includes(document.getElementById("verdict").dataset.state), null, SLOW);
/** Waits until what the page does by itself is done. */
const idle = async (page) => {
  await until(page, "attention-check", /own output/);
  await page.waitForFunction(() => !document.getElementById("roofline-run").disabled && window.foveal.session.job === "", null, SLOW);
};
const fits = async (page) => assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0, "the page is wider than its window");

/**
 * The page's longest task during `work`. A busy machine may hold up any task, but hardly the same one again: what takes long by
 * itself does so every time.
 */
async function longest(page, work) {
  let least = Infinity;
  for (let turn = 0; turn < 3 && least >= LONGEST; turn += 1) {
    await page.evaluate(() => window.longTasks.splice(0));
    await work();
    least = Math.min(least, await page.evaluate(() => Math.max(0, ...window.longTasks.map(({ duration }) => duration))));
  }
  return least;
}

async function keep(page, name) {
  await page.addStyleTag({ content: ".top { position: static !important }" });
  for (const part of PARTS) await page.locator(`#${part}`).screenshot({ path: join(PICTURES, `${name}-${part}.png`) });
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: join(PICTURES, `${name}-top.png`) });
}

describe("with WebGPU", { skip, timeout: 600_000 }, () => {
  let browser;
  let page;
  before(async () => {
    browser = await start();
    page = await open(browser);
  });
  after(() => browser?.close());

  test("a first case is checked within three seconds of loading", async () => {
    await ready(page);
    assert.match(await text(page, "verdict-word"), /^Right on \S/);
    assert.match(await text(page, "verdict-more"), /relative error \d(\.\d)? × 10⁻\S+/);
    const late = await page.evaluate(() => {
      const [{ loadEventEnd }] = performance.getEntriesByType("navigation");
      return performance.getEntriesByName("first checked result")[0].startTime - loadEventEnd;
    });
    console.log(`first checked result ${Math.round(late)} ms after load`);
    assert.ok(late < 3000, `${late} ms`);
  });

  test("the adapter is described, measured, and its variants are listed", async () => {
    await idle(page);
    const name = await text(page, "adapter-name");
    assert.ok((await text(page, "verdict-word")).endsWith(name));
    assert.match(await text(page, "adapter-facts"), /largest buffer\s+[\d.,]+ [KMG]iB/);
    assert.match(await text(page, "roofline-rows"), /[\d.,]+ GFLOP\/s/);
    const variants = await text(page, "variants");
    assert.match(variants, /attention/);
    assert.match(variants, /linear/);
    assert.match(variants, /right, \d/);
    });

  test("the check runs by keyboard, with progress, and no task of the page is long", async () => {
    const most = await longest(page, async () => {
      await page.selectOption("#check-operator", "attention");
      await page.focus("#check-name");
      await page.keyboard.press("ControlOrMeta+a");
      await page.keyboard.type("len_6");
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.getElementById("check-run").textContent.includes("top"), null, SLOW);
      await until(page, "check-summary", /Done: /);
    });
    assert.match(await text(page, "check-summary"), /Done: \d+ passed, 0 failed/);
    assert.equal(await text(page, "check-run"), "Run the check");
    const rows = page.locator("#check-table tbody tr");
    assert.ok((await rows.count()) > 3);
    assert.match(await rows.first().innerText(), /len_6[\s\S]*× 10⁻[\s\S]*right by/);
    console.log(`longest task during the check: ${most} ms`);
    assert.ok(most < LONGEST, `${most} ms`);
  });

  test("the check can be stopped", async () => {
    await page.fill("#check-name", "");
    await page.selectOption("#check-operator", "");
    await page.click("#check-run");
    await until(page, "check-summary", /\d+ of \d+/);
    await page.click("#check-run");
    await until(page, "check-summary", /Stopped after \d+ passed, 0 failed/);
    assert.equal(await text(page, "check-run"), "Run the check");
  });

  test("a mask is drawn as it is typed, with its density", async () => {
    const picture = () => page.evaluate(() => document.getElementById("mask-canvas").toDataURL());
    const first = await picture();
    await page.fill("#mask-tokens", "1000");
    await page.fill("#mask-text", "causal");
    await until(page, "mask-density", /50\.[01] %/);
    assert.match(await text(page, "mask-density"), /500,500 of 1,000,000/);
    assert.match(await text(page, "mask-blocks"), /53\.1 %\s+136 of 256/);
    assert.notEqual(await picture(), first);
    assert.match(new URL(page.url()).hash, /^#mask\?m=causal&t=1000&b=64$/);
    await page.hover("#mask-stage", { position: { x: 2, y: 200 } });
    assert.match(await text(page, "mask-caption"), /full block/);
  });

  test("what is wrong in a mask is shown at its column, and the old picture stays", async () => {
    await page.fill("#mask-text", "causal & windw(10, 0)");
    await until(page, "mask-error", /windw/);
    assert.equal(await page.locator("#mask-mirror mark").getAttribute("data-column"), "9");
    assert.match(await page.locator("#mask-mirror mark").innerText(), /^w/);
    assert.equal(await page.getAttribute("#mask-text", "aria-invalid"), "true");
    await page.locator("#mask").screenshot({ path: join(PICTURES, "mask-error.png") });
    await page.fill("#mask-text", "causal & ");
    await until(page, "mask-error", /expected|end/);
    await page.fill("#mask-text", "causal & window(99, 0)");
    await page.waitForFunction(() => document.getElementById("mask-error").textContent === "");
    assert.equal(await page.locator("#mask-mirror mark").count(), 0);
  });

  test("a recipe can be chosen, and its paper is named", async () => {
    const option = page.locator("#mask-recipes option", { hasText: "sliding window" });
    await page.selectOption("#mask-recipes", { label: await option.innerText() });
    assert.match(await text(page, "mask-source"), /Longformer/);
    await page.waitForFunction(() => document.getElementById("mask-text").value.includes("window"));
  });

  test("dense is timed against sparse", async () => {
    await page.fill("#mask-tokens", "256");
    await page.fill("#mask-text", "causal & window(31, 0)");
    await until(page, "mask-blocks", /of 16/);
    await page.click("#mask-time");
    await until(page, "mask-time-note", /With the mask it is/);
    assert.match(await text(page, "mask-bars"), /dense\s+[\d.]+ (ms|µs|s)\s+sparse\s+[\d.]+ (ms|µs|s)/);
  });

  test("an address opens its mask", async () => {
    const other = await open(browser, { hash: "#mask?m=blocks%2832%29&t=128&b=32" });
    await until(other, "mask-blocks", /4 of 16/);
    assert.equal(await other.inputValue("#mask-text"), "blocks(32)");
    await other.context().close();
  });

  test("attention is computed, checked, and its rows sum to one", async () => {
    assert.match(await text(page, "attention-check"), /^Computed on your GPU and right: .*CPU reference, .*own output/);
    assert.equal(await page.locator("#heads [role=radio]").count(), 4);
    const sum = () => page.getAttribute("#reading [data-sum]", "data-sum").then(Number);
    for (const y of [5, 100, 300]) {
      await page.hover("#heat", { position: { x: 50, y } });
      await page.waitForTimeout(60);
      assert.ok(Math.abs((await sum()) - 1) < 1e-4);
      assert.match(await text(page, "reading"), /draws most from/);
    }
    await page.focus("#heat");
    await page.keyboard.press("Home");
    assert.match(await page.getAttribute("#heat", "aria-valuetext"), /^“\[CLS\]” \(token 0\)/);
    await page.keyboard.press("ArrowDown");
    assert.equal(await page.getAttribute("#heat", "aria-valuenow"), "1");
    assert.ok(Math.abs((await sum()) - 1) < 1e-4);
    assert.equal(await page.locator("#heat-bars li").count(), 6);
    const before = await text(page, "heat-bars");
    await page.focus("#heads [aria-checked=true]");
    await page.keyboard.press("ArrowRight");
    assert.notEqual(await text(page, "heat-bars"), before);
    await page.locator("#sentence span", { hasText: "lighthouse" }).click();
    assert.match(await text(page, "reading"), /“lighthouse”/);
  });

  test("the bench plots three lines and says where they cross, and no task of the page is long", async () => {
    await page.selectOption("#bench-max", "1024");
    await page.selectOption("#bench-heads", "1");
    await page.selectOption("#bench-width", "32");
    const most = await longest(page, async () => {
      await page.focus("#bench-run");
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.getElementById("bench-run").textContent === "Stop", null, SLOW);
      await until(page, "bench-finding", /faster/);
    });
    for (const kind of ["dense", "sparse", "linear"]) {
      assert.ok(Number(await page.getAttribute(`#bench-plot .series-${kind}`, "data-points")) >= 2, kind);
    }
    assert.match(await text(page, "bench-table"), /\d (ms|µs)\s+[\d.]+ (ms|µs)\s+[\d.]+ (ms|µs)/);
    console.log(`longest task during the bench: ${most} ms; ${await text(page, "bench-finding")}`);
    assert.ok(most < LONGEST, `${most} ms`);
  });

  test("a lost device is opened again by itself once, then by the visitor", async () => {
    await page.evaluate(() => window.foveal.destroy());
    await page.waitForFunction(() => document.getElementById("verdict").dataset.state !== "good", null, SLOW);
    await until(page, "banners", /open again/);
    await until(page, "verdict-word", /^Right on/);
    await page.evaluate(() => window.foveal.destroy());
    await until(page, "banners", /lost/);
    await page.getByRole("button", { name: "Open again" }).click();
    await until(page, "verdict-word", /^Right on/);
    await idle(page);
    await page.fill("#check-name", "len_17");
    await page.selectOption("#check-operator", "attention");
    await page.click("#check-run");
    await until(page, "check-summary", /Done: \d+ passed, 0 failed/);
    await page.click("#mask-time");
    await until(page, "mask-time-note", /With the mask it is/);
  });

  test("no error was logged, and nothing is wider than the window", async () => {
    assert.deepEqual(page.wrong, []);
    await fits(page);
    await keep(page, "1280-light");
  });

  for (const [width, scheme] of [[1280, "dark"], [390, "light"], [390, "dark"]]) {
    test(`it fits ${width} px, ${scheme}`, async () => {
      const other = await open(browser, { width, height: 844, scheme, density: width === 390 ? 2 : 1 });
      await idle(other);
      await fits(other);
      const jumps = await other.evaluate(() => window.jumps);
      console.log(`layout shifts at ${width} px: ${jumps.toFixed(3)}`);
      assert.ok(jumps < 0.1, `what is read jumps: ${jumps}`);
      const small = await other.evaluate(() =>
        [...document.querySelectorAll("button, select, input, summary, nav a")]
          .filter((node) => node.offsetParent && node.getBoundingClientRect().height < 40)
          .map((node) => `${node.tagName} ${node.id || node.textContent}`),
      );
      assert.deepEqual(small, [], "too small to touch");
      await keep(other, `${width}-${scheme}`);
      await other.click("#theme");
      assert.equal(await other.evaluate(() => document.documentElement.dataset.scheme), scheme === "dark" ? "light" : "dark");
      assert.deepEqual(other.wrong, []);
      await other.context().close();
    });
  }
});

describe("without WebGPU", { skip, timeout: 120_000 }, () => {
  let browser;
  let page;
  before(async () => {
    browser = await start({ webgpu: false });
    page = await open(browser);
  });
  after(() => browser?.close());

  test("it says what is missing and what to do", async () => {
    await ready(page);
    assert.match(await text(page, "banners"), /WebGPU/);
    assert.match(await text(page, "verdict-word"), /No GPU/);
    for (const part of ["check", "bench"]) {
      assert.ok(await page.isDisabled(`#${part}-run`));
      assert.match(await text(page, `${part}-why`), /no GPU here/);
    }
  });

  test("a browser that has never heard of WebGPU is told where it is", async () => {
    const other = await open(browser, { before: () => delete Navigator.prototype.gpu });
    await ready(other);
    assert.match(await text(other, "banners"), /This browser has no WebGPU[\s\S]*Safari/);
    await other.context().close();
  });

  test("masks are drawn and attention is computed by the CPU", async () => {
    await page.fill("#mask-text", "causal & window(9, 0)");
    await until(page, "mask-density", /0\.97 %/);
    await until(page, "attention-check", /reference on your CPU: relative error .* own output/);
    await page.hover("#heat", { position: { x: 50, y: 50 } });
    assert.match(await text(page, "reading"), /draws most from/);
    await fits(page);
    await keep(page, "without");
    assert.deepEqual(page.wrong, []);
  });
});
