// Kernels that are prepared once, bound to tensors, and recorded as often as a page likes.

import { usage } from "./errors.js";
import { call, isBroken } from "./module.js";
import { OURS, Tensor } from "./tensors.js";
import { byName, kindOf, named } from "./values.js";

export class Kernel {
  #engine;
  #inner;

  constructor(key, engine, inner) {
    if (key !== OURS) throw usage("Kernel", "kernels are made by `engine.prepare`");
    this.#engine = engine;
    this.#inner = inner;
    this.plan = JSON.parse(call(() => inner.plan()));
  }

  async bind(tensors) {
    if (typeof tensors !== "object" || tensors === null) throw usage("tensors", `expected an object, got ${kindOf(tensors)}`);
    const entries = [];
    for (const [name, tensor] of Object.entries(tensors)) {
      if (tensor === undefined || tensor === null) continue;
      if (!(tensor instanceof Tensor)) throw usage(named(name), `expected a Tensor, got ${kindOf(tensor)}`);
      entries.push({ name, held: Tensor.number(tensor, this.#engine, name) });
    }
    let held;
    const { bound, outputs } = await this.#engine.settle(OURS, (device) => {
      if (this.#inner === undefined) throw usage("kernel", "it was freed");
      held = device;
      return this.#inner.bind(entries);
    });
    const made = byName(outputs, (entry) => new Tensor(OURS, this.#engine, held, entry));
    return new BoundKernel(OURS, this.#engine, bound, { ...tensors, ...made });
  }

  free() {
    if (!isBroken()) this.#inner?.free();
    this.#inner = undefined;
  }
}

export class BoundKernel {
  #engine;
  #inner;

  constructor(key, engine, inner, tensors) {
    if (key !== OURS) throw usage("BoundKernel", "it is made by `kernel.bind`");
    this.#engine = engine;
    this.#inner = inner;
    this.tensors = Object.freeze(tensors);
  }

  encode(encoder) {
    if (this.#inner === undefined) throw usage("kernel", "it was freed");
    Encoder.record(encoder, this.#engine, this.#inner);
  }

  free() {
    if (!isBroken()) this.#inner?.free();
    this.#inner = undefined;
  }
}

export class Encoder {
  #engine;
  #inner;

  constructor(key, engine, inner) {
    if (key !== OURS) throw usage("Encoder", "encoders are made by `engine.encoder`");
    this.#engine = engine;
    this.#inner = inner;
  }

  /** Records a bound kernel of the same engine. */
  static record(encoder, engine, bound) {
    if (!(encoder instanceof Encoder)) throw usage("encoder", `expected an Encoder, got ${kindOf(encoder)}`);
    if (encoder.#engine !== engine) throw usage("encoder", "it is another engine's");
    if (encoder.#inner === undefined) throw usage("encoder", "it was submitted");
    call(() => bound.encode(encoder.#inner));
  }

  submit() {
    const inner = this.#inner;
    if (inner === undefined) throw usage("encoder", "it was submitted");
    this.#inner = undefined;
    this.#engine.call(OURS, () => inner.submit());
  }
}
