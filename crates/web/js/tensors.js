// Tensors of a call, and those on the GPU.

import { usage } from "./errors.js";
import { isBroken } from "./module.js";
import { checkedShape, hostEntry, hostTensor, kindOf, named, optionsText } from "./values.js";

/** Tensors and options of a problem. With `shapes`, tensors may lack their data. */
export function split(engine, problem, shapes = false) {
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

/** Only the package makes engines, tensors and kernels. */
export const OURS = Symbol("foveal");

/** Frees tensors that the page forgot. */
const forgotten = new FinalizationRegistry(({ device, number }) => {
  if (!isBroken()) device.release(number);
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

  write(source) {
    const number = Tensor.number(this, this.#engine, "this");
    const entry = hostEntry("source", source);
    this.#engine.call(OURS, (device) => device.write(number, [entry]));
  }

  free() {
    if (this.#number === undefined) return;
    forgotten.unregister(this);
    if (!isBroken()) this.#device.release(this.#number);
    this.#number = undefined;
  }
}
