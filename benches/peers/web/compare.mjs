// Foveal's browser package beside jax-js and ONNX Runtime Web: one problem, one browser, one after the other, each result
// compared with f64 first. `node compare.mjs [--heads 8] [--tokens 512] [--dim 64] [--repeats 5] [--json]`; the package is built
// by `tools/web.sh build` before, FOVEAL_SITE says where it lies if not in target/web/site.

import { createServer } from "node:http";
import { createReadStream, existsSync, statSync } from "node:fs";
import { extname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { multiHeadAttention } from "./model.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const { values: options } = parseArgs({
  options: {
    heads: { type: "string", default: "8" },
    tokens: { type: "string", default: "512" },
    dim: { type: "string", default: "64" },
    repeats: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
  },
});
const [heads, tokens, dim, repeats] = ["heads", "tokens", "dim", "repeats"].map((name) => {
  const value = Number(options[name]);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name}: expected a whole number from 1 on, got ${options[name]}`);
  return value;
});

const target = process.env.CARGO_TARGET_DIR ?? resolve(here, "../../../target");
const folders = {
  "/modules/": join(here, "node_modules"),
  "/package/": join(process.env.FOVEAL_SITE ?? join(target, "web/site"), "package"),
  "/": here,
};
if (!existsSync(join(folders["/package/"], "foveal.js"))) {
  throw new Error(`there is no package in ${folders["/package/"]}: build it with tools/web.sh build`);
}
const types = { ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".html": "text/html" };

const server = createServer((request, response) => {
  const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  if (path === "/empty.html") return response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>");
  const prefix = Object.keys(folders).find((prefix) => path.startsWith(prefix));
  const file = normalize(join(folders[prefix], path.slice(prefix.length)));
  if (!file.startsWith(folders[prefix]) || !existsSync(file) || !statSync(file).isFile()) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" });
  createReadStream(file).pipe(response);
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const origin = `http://127.0.0.1:${server.address().port}`;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--headless=new", "--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
const results = {};
try {
  for (const library of ["foveal", "jax", "onnx"]) {
    process.stderr.write(`${library} ...\n`);
    const page = await browser.newPage();
    page.setDefaultTimeout(600_000);
    await page.goto(`${origin}/empty.html`);
    const model = [...multiHeadAttention([1, tokens, heads * dim], heads)];
    await page.evaluate((job) => { window.job = job; }, { library, heads, tokens, dim, repeats, model });
    await page.addScriptTag({ url: "/page.js", type: "module" });
    await page.waitForFunction(() => window.result !== undefined);
    results[library] = await page.evaluate(() => window.result);
    await page.close();
  }
} finally {
  await browser.close();
  server.close();
}

if (options.json) {
  console.log(JSON.stringify({ heads, tokens, dim, repeats, results }, null, 2));
} else {
  const names = { foveal: "Foveal", jax: "jax-js", onnx: "ONNX Runtime" };
  const flops = 4 * heads * tokens * tokens * dim;
  console.log(`| ${heads} x ${tokens} x ${tokens} x ${dim} f32 | first | median | GFLOP/s | relative RMSE | Foveal is faster by |`);
  console.log("|---|---|---|---|---|---|");
  for (const [library, result] of Object.entries(results)) {
    if (result.error) {
      console.log(`| ${names[library]} | ${result.error} | | | | |`);
      continue;
    }
    const ratio = result.median / results.foveal.median;
    console.log(
      `| ${names[library]} | ${result.first.toFixed(0)} ms | ${result.median.toFixed(0)} ms | ` +
        `${(flops / result.median / 1e6).toFixed(2)} | ${result.relRmse.toExponential(1)} | ${ratio.toFixed(1)} |`,
    );
  }
}
if (Object.values(results).some((result) => result.error)) process.exitCode = 1;
