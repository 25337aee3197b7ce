// Setup that all tests in a browser share: the site, served; a headless Chromium with WebGPU on the CPU; pages whose console is
// watched.
//
//   FOVEAL_CHROMIUM   the browser (default: /usr/bin/chromium)
//   CARGO_TARGET_DIR  where `tools/web.sh build` put the site (default: target)

import { createServer } from "node:http";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const target = process.env.CARGO_TARGET_DIR || join(root, "target");
export const site = join(target, "web/site");
export const packageFolder = join(target, "web/package");
const executablePath = process.env.FOVEAL_CHROMIUM || "/usr/bin/chromium";

/** Why nothing can be tested here, or nothing. */
export function missing() {
  if (!existsSync(executablePath)) return `${executablePath} is not there`;
  if (!existsSync(join(site, "package/foveal.js"))) return `${site} is not there: run tools/web.sh build`;
  return undefined;
}

const FLAGS = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".png": "image/png",
};

/** Serves the site on a free port; `/blank` is a page with nothing on it. */
async function serve() {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://x").pathname));
    if (path === "/blank") {
      response.writeHead(200, { "content-type": TYPES[".html"] });
      response.end('<!doctype html><link rel="icon" href="data:,"><title>blank</title>');
      return;
    }
    try {
      const file = join(site, path.endsWith("/") ? `${path}index.html` : path);
      const body = await readFile(file);
      response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { address: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/**
 * A served site and a browser: `{ address, page(path), close() }`.
 *
 * `page` opens a path and collects in `page.complaints` whatever the console reports as an error or a warning, and every
 * exception that nobody caught.
 */
export async function open({ webgpu = true } = {}) {
  const server = await serve();
  const args = webgpu ? FLAGS : [...FLAGS.filter((flag) => !flag.includes("webgpu")), "--disable-features=WebGPU"];
  const browser = await chromium.launch({ executablePath, headless: true, args });
  return {
    address: server.address,
    async page(path = "/blank") {
      const page = await browser.newPage();
      page.complaints = [];
      page.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) page.complaints.push(`${message.type()}: ${message.text()}`);
      });
      page.on("pageerror", (error) => page.complaints.push(`exception: ${error.message}`));
      await page.goto(server.address + path);
      return page;
    },
    async close() {
      await browser.close();
      server.close();
    },
  };
}

/** The package, as a page imports it. */
export const IMPORT = "/package/foveal.js";

/**
 * Runs a function in a page with the package, an engine, `caught(make)`, which gives what a rejection carries, and
 * `largest(a, b)`, the largest difference of two tensors.
 */
export const inPage = (page, body, argument) =>
  page.evaluate(
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
