// Attention, linear attention and block-sparse masks on WebGPU. `foveal.d.ts` says what is what.
//
// Types, shapes and lifetimes are checked here, problems by the WebAssembly module. Nothing here blocks, and whatever goes
// wrong is a `FovealError`.

import load, * as wasm from "./foveal_web.js";

export class FovealError extends Error {
  constructor(kind, argument, message, place = {}) {
    super(argument ? `${argument}: ${message}` : message);
    this.name = "FovealError";
    this.kind = kind;
    this.argument = argument;
    if (place.column !== undefined) {
      this.column = place.column;
      this.length = place.length;
    }
  }
}

const usage = (argument, message) => new FovealError("usage", argument, message);

// ---- the module

let loading;
/** Why the module cannot go on. Rust cannot unwind here: after a panic its memory is not to be trusted. */
let broken;
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

function rejectAll(which, error) {
  for (const call of [...waiting].filter(which)) {
    waiting.delete(call);
    call.reject(error);
  }
}

/** Any thrown value as a FovealError. */
function failure(error) {
  if (error instanceof FovealError) return error;
  if (typeof error?.kind === "string") return new FovealError(error.kind, error.argument, error.message, error);
  return broken ?? new FovealError("internal", "module", String(error?.message ?? error));
}

/** Calls the module, which has to be loaded. */
function call(make) {
  if (broken) throw broken;
  try {
    return make();
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) fail(error.message);
    throw failure(error);
  }
}

/** Waits for the module; a lost device or a panic ends the wait. */
function settle(engine, make) {
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
async function withSubgroups(open) {
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
function turn() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}

// ---- tensors

const ARRAYS = { f32: Float32Array, i32: Int32Array, u8: Uint8Array, f16: Uint16Array, bf16: Uint16Array };

/** The storage types that an array can hold, the assumed one first. */
function dtypesOf(data) {
  if (data instanceof Float32Array) return ["f32"];
  if (data instanceof Int32Array) return ["i32"];
  if (data instanceof Uint8Array) return ["u8"];
  if (data instanceof Uint16Array) return ["f16", "bf16"];
  if (globalThis.Float16Array && data instanceof globalThis.Float16Array) return ["f16"];
  return [];
}

const named = (name) => `tensor \`${name}\``;
const kindOf = (value) => value?.constructor?.name ?? typeof value;

function checkedShape(name, shape) {
  const sizes = Array.isArray(shape) || ArrayBuffer.isView(shape) ? Array.from(shape, Number) : undefined;
  if (!sizes?.every((size) => Number.isInteger(size) && size >= 0 && size < 2 ** 32)) {
    throw usage(named(name), `expected a shape of whole sizes, got ${JSON.stringify(shape)}`);
  }
  return sizes;
}

/** A tensor in the page's memory, as the module takes it. */
function hostEntry(name, { data, shape, dtype }) {
  const sizes = checkedShape(name, shape);
  const dtypes = dtypesOf(data);
  if (dtypes.length === 0) {
    const wanted = "a Float32Array, Uint16Array, Int32Array or Uint8Array";
    throw usage(named(name), `expected ${wanted} as data, got ${kindOf(data)}`);
  }
  if (dtype !== undefined && !dtypes.includes(dtype)) {
    throw usage(named(name), `expected dtype ${dtypes.join(" or ")} for a ${kindOf(data)}, got ${dtype}`);
  }
  const count = sizes.reduce((product, size) => product * size, 1);
  if (data.length !== count) {
    const detached = data.buffer.detached ?? (data.byteLength === 0 && data.buffer.byteLength === 0);
    const got = detached ? "a detached buffer: its memory was given to somebody else" : `${data.length}`;
    throw usage(named(name), `expected ${count} elements for shape [${sizes}], got ${got}`);
  }
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { name, shape: sizes, dtype: dtype ?? dtypes[0], bytes };
}

/** Tensors and options of a problem. With `shapes`, tensors may lack their data. */
function split(engine, problem, shapes = false) {
  if (typeof problem !== "object" || problem === null) throw usage("problem", `expected an object, got ${kindOf(problem)}`);
  const tensors = [];
  const options = {};
  for (const [name, value] of Object.entries(problem)) {
    if (value === undefined || value === null) continue;
    if (value instanceof Tensor) {
      tensors.push({ name, held: Tensor.number(value, engine, name) });
    } else if (ArrayBuffer.isView(value)) {
      throw usage(named(name), `expected { data, shape }, got ${kindOf(value)}`);
    } else if (typeof value === "object" && "shape" in value && "data" in value && value.data !== undefined) {
      tensors.push(hostEntry(name, value));
    } else if (typeof value === "object" && "shape" in value) {
      if (!shapes) throw usage(named(name), "expected its elements in `data`, got none");
      tensors.push({ name, shape: checkedShape(name, value.shape), dtype: value.dtype ?? "f32" });
    } else {
      options[name] = value;
    }
  }
  return [optionsText(options), tensors];
}

/** Options by the names of their contract: `kvLen` and `kv_len` are one. */
function contractOptions(options) {
  const renamed = {};
  for (const [name, value] of Object.entries(options)) {
    const known = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (known in renamed) throw usage(known, "expected it once, got it in camelCase too");
    renamed[known] = Object.prototype.toString.call(value) === "[object Object]" ? contractOptions(value) : value;
  }
  return renamed;
}

function optionsText(options = {}) {
  const checked = (name, value) => {
    if (typeof value === "number" && !Number.isFinite(value)) throw usage(name, `expected a finite number, got ${value}`);
    if (["function", "symbol", "bigint"].includes(typeof value)) {
      throw usage(name, `expected a number, a text or a boolean, got a ${typeof value}`);
    }
    return value;
  };
  return JSON.stringify(contractOptions(options), checked);
}

/** The options of a call, of which there are no others. */
function only(given, names) {
  const unknown = Object.keys(given ?? {}).find((name) => !names.includes(name));
  if (unknown !== undefined) throw usage(unknown, `there is no such option; there are ${names.join(", ")}`);
  return given ?? {};
}

function seedOf(seed) {
  if (Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32) return seed;
  throw usage("seed", `expected a whole number of 32 bits, got ${seed}`);
}

function partOf(part) {
  const [index, parts] = Array.isArray(part) ? part : [];
  if (Number.isInteger(index) && Number.isInteger(parts) && index >= 0 && index < parts) return [index, parts];
  throw usage("part", `expected [index, parts] with 0 <= index < parts, got ${JSON.stringify(part)}`);
}

/** A tensor that the module gave. */
function hostTensor({ dtype, shape, bytes }) {
  return { data: new ARRAYS[dtype](bytes.buffer, bytes.byteOffset, bytes.byteLength / ARRAYS[dtype].BYTES_PER_ELEMENT), shape, dtype };
}

const byName = (entries, make) => Object.fromEntries(entries.map((entry) => [entry.name, make(entry)]));

/** Only this module makes engines and tensors. */
const OURS = Symbol("foveal");

/** Frees tensors that the page forgot. */
const forgotten = new FinalizationRegistry(({ device, number }) => {
  if (!broken) device.release(number);
});

export class Tensor {
  #engine;
  #number;
  #device;

  constructor(key, engine, device, { held, shape, dtype } = {}) {
    if (key !== OURS) throw usage("Tensor", "tensors are made by `engine.tensor` and by calls with `resident`");
    this.#engine = engine;
    this.#device = device;
    this.#number = held;
    this.shape = Object.freeze(shape);
    this.dtype = dtype;
    forgotten.register(this, { device, number: held }, this);
  }

  /** The number under which the module holds it. */
  static number(tensor, engine, name) {
    if (tensor.#number === undefined) throw usage(named(name), "it was freed");
    if (tensor.#engine !== engine) throw usage(named(name), "it lives on the device of another engine");
    return tensor.#number;
  }

  async read() {
    const number = Tensor.number(this, this.#engine, "this");
    return hostTensor(await this.#engine.settle(OURS, (device) => device.read(number)));
  }

  free() {
    if (this.#number === undefined) return;
    forgotten.unregister(this);
    if (!broken) this.#device.release(this.#number);
    this.#number = undefined;
  }
}

// ---- without a device

export async function recipes() {
  await init();
  return JSON.parse(call(() => wasm.recipes()));
}

export async function reference(operator, problem) {
  const [options, tensors] = split(undefined, problem);
  await init();
  return byName(call(() => wasm.reference(operator, options, tensors)), hostTensor);
}

export async function inputs(operator, shape, options = {}, seed = 1) {
  const text = optionsText(options);
  seedOf(seed);
  await init();
  return byName(call(() => wasm.inputs(operator, shape, text, seed)), hostTensor);
}

const withoutNulls = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null));

/** An object as one writes it. */
const literal = (object) => `{${Object.entries(object).map(([name, value]) => ` ${name}: ${JSON.stringify(value)}`)} }`;

export async function mask(expression, options) {
  const { q, k, block = 64, batch = 0, head = 0, picture = 512, tables = {} } = only(options, MASK_OPTIONS);
  for (const [name, value, least] of [["q", q, 1], ["k", k, 1], ["block", block, 1], ["batch", batch, 0], ["head", head, 0], ["picture", picture, 1]]) {
    if (!Number.isInteger(value) || value < least || value > MOST_POSITIONS) {
      throw usage(name, `expected a whole number from ${least} to ${MOST_POSITIONS}, got ${value}`);
    }
  }
  const entries = Object.entries(tables).map(([name, tensor]) => hostEntry(name, tensor));
  await init();
  return call(() => wasm.mask(String(expression), q, k, block, batch, head, picture, entries));
}

const MASK_OPTIONS = ["q", "k", "block", "batch", "head", "picture", "tables"];
const MOST_POSITIONS = 2 ** 24;

// ---- a device

export class Engine {
  #device;
  #info;
  /** Why the device is gone. */
  #gone;
  #tellLost;

  constructor(key, device, info) {
    if (key !== OURS) throw usage("Engine", "engines are made by `Engine.create`");
    this.#device = device;
    this.#info = info;
    this.lost = new Promise((resolve) => {
      this.#tellLost = resolve;
    });
    device.lost().then((error) => this.#end(failure(error)), () => {});
  }

  static async create(options) {
    const { powerPreference = "high-performance", selfCheck = true } = only(options, ["powerPreference", "selfCheck"]);
    if (!["high-performance", "low-power"].includes(powerPreference)) {
      throw usage("powerPreference", `expected high-performance or low-power, got ${powerPreference}`);
    }
    await init();
    // The module's view of WebGPU has no vendor, and browsers often give no description.
    const adapter = await globalThis.navigator?.gpu?.requestAdapter({ powerPreference }).catch(() => null);
    const subgroups = adapter?.features.has("subgroups") ?? false;
    const lowPower = powerPreference === "low-power";
    const device = await withSubgroups(() => settle(undefined, () => wasm.Device.open(lowPower, Boolean(selfCheck), subgroups)));
    const { vendor = "", architecture = "", description = "" } = adapter?.info ?? {};
    const info = JSON.parse(call(() => device.info()));
    info.vendor = vendor;
    info.name = description || `${vendor} ${architecture}`.trim() || info.name;
    return new Engine(OURS, device, info);
  }

  get info() {
    const refused = this.#gone ? this.#info.refused : JSON.parse(call(() => this.#device.refused()));
    this.#info.refused = refused ?? {};
    return { ...this.#info };
  }

  /** For tensors. */
  settle(key, make) {
    if (key !== OURS) throw usage("settle", "it is not for pages");
    return this.#settle(make);
  }

  #settle(make) {
    if (this.#gone) return Promise.reject(this.#gone);
    return settle(this, () => make(this.#device));
  }

  #call(make) {
    if (this.#gone) throw this.#gone;
    return call(() => make(this.#device));
  }

  #end(error) {
    if (this.#gone) return;
    this.#gone = error;
    rejectAll(({ engine }) => engine === this, error);
    this.#tellLost(error);
  }

  async tensor(source) {
    const entry = hostEntry("source", source);
    const [held] = await this.#settle((device) => device.hold([entry]));
    return new Tensor(OURS, this, this.#device, held);
  }

  async attention(problem, options) {
    return this.#run("attention", problem, options);
  }

  async linear(problem, options) {
    return this.#run("linear", problem, options);
  }

  async #run(operator, problem, options) {
    const { resident = false, variant } = only(options, ["resident", "variant"]);
    const [text, tensors] = split(this, problem);
    const outputs = await this.#settle((device) => device.run(operator, text, tensors, variant, Boolean(resident)));
    return byName(outputs, resident ? (entry) => new Tensor(OURS, this, this.#device, entry) : hostTensor);
  }

  async plan(operator, problem, options) {
    const { variant } = only(options, ["variant"]);
    const [text, tensors] = split(this, problem, true);
    return JSON.parse(this.#call((device) => device.plan(operator, text, tensors, variant)));
  }

  async planShape(operator, shape, options, planOptions) {
    const { variant } = only(planOptions, ["variant"]);
    const text = optionsText(options);
    return JSON.parse(this.#call((device) => device.plan_shape(operator, shape, text, variant)));
  }

  async check(options) {
    const given = only(options, ["operator", "cases", "random", "seed", "variant", "part", "onCase", "signal"]);
    const { operator, cases = "", random, seed = 1, variant, part = [0, 1], onCase, signal } = given;
    seedOf(seed);
    if (random !== undefined) seedOf(random);
    const [index, parts] = partOf(part);
    const all = JSON.parse(this.#call(() => wasm.cases(operator, String(cases), random, seed, variant)));
    const list = all.filter((_, at) => at % parts === index);
    const summary = { passed: 0, failed: 0, skipped: 0, cases: [] };
    for (const one of list) {
      await turn();
      if (signal?.aborted) break;
      const result = await this.#examine(one, variant, signal);
      if (result === undefined) break;
      summary[result.status] += 1;
      summary.cases.push(result);
      onCase?.(result, summary.cases.length, list.length);
    }
    return summary;
  }

  /** Tries the variants on a case; nothing if that was cut short. */
  async #examine({ operator, name, seed }, only, signal) {
    const started = performance.now();
    const options = seed === undefined ? { operator, cases: name } : { operator, random: 1, seed };
    const result = { operator, name, problem: "", status: "skipped", variants: [] };
    const trial = this.#call(() => wasm.Trial.open(operator, name, seed));
    try {
      result.problem = trial.problem();
      for (const variant of JSON.parse(trial.variants())) {
        if (only !== undefined && variant !== only) continue;
        await turn();
        if (signal?.aborted) return undefined;
        const tried = JSON.parse(await this.#settle((device) => device.try_variant(trial, variant)));
        result.variants.push(withoutNulls(tried));
      }
    } finally {
      if (!broken) trial.free();
    }
    const bad = result.variants.find(({ status }) => status === "failed");
    if (bad) {
      result.status = "failed";
      options.variant = bad.variant;
    } else if (result.variants.some(({ status }) => status === "passed")) {
      result.status = "passed";
    }
    result.repro = `await engine.check(${literal(options)})`;
    result.milliseconds = performance.now() - started;
    return result;
  }

  async time(operator, shape, options, timeOptions) {
    const { variant, seconds = 0.5 } = only(timeOptions, ["variant", "seconds"]);
    const text = optionsText(options);
    return JSON.parse(await this.#settle((device) => device.time(operator, shape, text, variant, Number(seconds))));
  }

  async roofline() {
    return JSON.parse(await this.#settle((device) => device.roofline()));
  }

  destroy() {
    if (this.#gone) return;
    this.#end(new FovealError("device-lost", "device", "the engine was destroyed"));
    if (!broken) this.#device.destroy();
  }
}
