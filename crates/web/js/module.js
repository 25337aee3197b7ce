// The WebAssembly module: loading it, calling it, and its end.

import { FovealError } from "./errors.js";
import load, * as wasm from "./foveal_web.js";

let loading;
/** Why the module cannot go on. Rust cannot unwind here: after a panic its memory is not to be trusted. */
let broken;

export const isBroken = () => broken !== undefined;

/** Calls that wait for the module: `{ engine, reject }`. */
const waiting = new Set();

export function init(module) {
  loading ??= start(module).catch((error) => {
    loading = undefined;
    throw error;
  });
  return loading;
}

async function start(module) {
  try {
    await load({ module_or_path: module ?? new URL("./foveal_web_bg.wasm", import.meta.url) });
  } catch (error) {
    throw new FovealError("internal", "module", `it could not be loaded: ${error?.message ?? error}`);
  }
  wasm.on_panic(fail);
  // Code that runs between calls has no caller: if it traps (out of memory), only the window hears of it.
  globalThis.addEventListener?.("error", ({ error }) => {
    if (error instanceof WebAssembly.RuntimeError && String(error.stack).includes("foveal_web")) fail(error.message);
  });
}

/** The module is at its end. */
function fail(message) {
  broken ??= new FovealError("internal", "module", `a fault of Foveal's, reload the page: ${message}`);
  rejectAll(() => true, broken);
}

export function rejectAll(which, error) {
  for (const call of [...waiting].filter(which)) {
    waiting.delete(call);
    call.reject(error);
  }
}

/** Any thrown value as a FovealError. */
export function failure(error) {
  if (error instanceof FovealError) return error;
  if (typeof error?.kind === "string") return new FovealError(error.kind, error.argument, error.message, error);
  return broken ?? new FovealError("internal", "module", String(error?.message ?? error));
}

/** Calls the module, which has to be loaded. */
export function call(make) {
  if (broken) throw broken;
  try {
    return make();
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) fail(error.message);
    throw failure(error);
  }
}

/** Waits for the module; a lost device or a panic ends the wait. */
export function settle(engine, make) {
  return new Promise((resolve, reject) => {
    const promise = call(make);
    const entry = { engine, reject };
    waiting.add(entry);
    promise
      .then(resolve, (error) => reject(failure(error)))
      .finally(() => waiting.delete(entry));
  });
}

/**
 * Opens a device of ours with subgroups where the adapter has them: wgpu 30 does not ask browsers for that feature, so it is
 * added to what it asks for, in its requests only.
 */
export async function withSubgroups(open) {
  const prototype = globalThis.GPUAdapter?.prototype;
  if (!prototype) return open();
  const { requestDevice } = prototype;
  const extended = function (descriptor) {
    if (descriptor?.label !== "foveal" || !this.features.has("subgroups")) return requestDevice.call(this, descriptor);
    const features = new Set([...(descriptor.requiredFeatures ?? []), "subgroups"]);
    return requestDevice.call(this, { ...descriptor, requiredFeatures: [...features] });
  };
  prototype.requestDevice = extended;
  try {
    return await open();
  } finally {
    // Somebody may have put their own in the meantime; ours then passes everything on.
    if (prototype.requestDevice === extended) prototype.requestDevice = requestDevice;
  }
}

/** Lets the page breathe: unlike a timer, a message is not held back in tabs that are not seen. */
export function turn() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}
