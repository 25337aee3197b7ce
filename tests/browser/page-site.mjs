// What the page's tests need: the built site served, and a browser.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, resolve, sep } from "node:path";
import { chromium } from "playwright-core";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** Where the build puts the site. */
export const SITE = resolve(process.env.FOVEAL_SITE ?? join(process.env.CARGO_TARGET_DIR ?? "target", "web", "site"));

/** Serves a folder on a port of its own. */
export async function serve(folder = SITE) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const file = resolve(folder, `.${decodeURIComponent(pathname === "/" ? "/index.html" : pathname)}`);
    try {
      if (!file.startsWith(folder + sep)) throw new Error("outside of the site");
      const body = await readFile(file);
      response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream", "cache-control": "no-store" });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** A headless Chromium, with WebGPU on SwiftShader or without any. */
export function launch({ webgpu = true } = {}) {
  const quiet = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  const gpu = webgpu ? ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"] : ["--disable-features=WebGPU,Vulkan", "--disable-gpu"];
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless=new", "--no-sandbox", ...quiet, ...gpu],
  });
}
