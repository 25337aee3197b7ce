// Attention, linear attention and block-sparse masks on WebGPU. `foveal.d.ts` says what is what.
//
// Types, shapes and lifetimes are checked here, problems by the WebAssembly module. Nothing here blocks, and whatever goes
// wrong is a `FovealError`.

import { FovealError, usage } from "./errors.js";
import * as wasm from "./foveal_web.js";
import { BoundKernel, Encoder, Kernel } from "./kernels.js";
import { call, failure, init, isBroken, rejectAll, settle, turn, withSubgroups } from "./module.js";
import { OURS, Tensor, split } from "./tensors.js";
import { byName, hostEntry, hostTensor, literal, only, optionsText, partOf, seedOf, withoutNulls } from "./values.js";

export { BoundKernel, Encoder, FovealError, Kernel, Tensor, init };

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

  /** For tensors and kernels. */
  settle(key, make) {
    if (key !== OURS) throw usage("settle", "it is not for pages");
    return this.#settle(make);
  }

  /** For tensors and kernels. */
  call(key, make) {
    if (key !== OURS) throw usage("call", "it is not for pages");
    return this.#call(make);
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

  async prepare(operator, problem, options) {
    const { variant } = only(options, ["variant"]);
    const [text, tensors] = split(this, problem, true);
    return new Kernel(OURS, this, await this.#settle((device) => device.prepare(operator, text, tensors, variant)));
  }

  encoder() {
    return new Encoder(OURS, this, this.#call((device) => device.encoder()));
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
      if (!isBroken()) trial.free();
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
    if (!isBroken()) this.#device.destroy();
  }
}
