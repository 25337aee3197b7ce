// Values between the page and the module: tensors in the page's memory, options, arguments.

import { usage } from "./errors.js";

const ARRAYS = { f32: Float32Array, i32: Int32Array, u8: Uint8Array, i8: Int8Array, f16: Uint16Array, bf16: Uint16Array };

/** The storage types that an array can hold, the assumed one first. */
function dtypesOf(data) {
  if (data instanceof Float32Array) return ["f32"];
  if (data instanceof Int32Array) return ["i32"];
  if (data instanceof Uint8Array) return ["u8"];
  if (data instanceof Int8Array) return ["i8"];
  if (data instanceof Uint16Array) return ["f16", "bf16"];
  if (globalThis.Float16Array && data instanceof globalThis.Float16Array) return ["f16"];
  return [];
}

export const named = (name) => `tensor \`${name}\``;
export const kindOf = (value) => value?.constructor?.name ?? typeof value;

export function checkedShape(name, shape) {
  const sizes = Array.isArray(shape) || ArrayBuffer.isView(shape) ? Array.from(shape, Number) : undefined;
  if (!sizes?.every((size) => Number.isInteger(size) && size >= 0 && size < 2 ** 32)) {
    throw usage(named(name), `expected a shape of whole sizes, got ${JSON.stringify(shape)}`);
  }
  return sizes;
}

/** A tensor in the page's memory, as the module takes it. */
export function hostEntry(name, { data, shape, dtype }) {
  const sizes = checkedShape(name, shape);
  const dtypes = dtypesOf(data);
  if (dtypes.length === 0) {
    const wanted = "a Float32Array, Uint16Array, Int32Array, Uint8Array or Int8Array";
    throw usage(named(name), `expected ${wanted} as data, got ${kindOf(data)}`);
  }
  if (dtype !== undefined && !dtypes.includes(dtype)) {
    throw usage(named(name), `expected dtype ${dtypes.join(" or ")} for a ${kindOf(data)}, got ${dtype}`);
  }
  const count = sizes.reduce((product, size) => product * size, 1);
  if (data.length !== count) {
    const detached = data.buffer.detached ?? (data.byteLength === 0 && data.buffer.byteLength === 0);
    const got = detached ? "a detached buffer: its memory was transferred" : `${data.length}`;
    throw usage(named(name), `expected ${count} elements for shape [${sizes}], got ${got}`);
  }
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { name, shape: sizes, dtype: dtype ?? dtypes[0], bytes };
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

export function optionsText(options = {}) {
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
export function only(given, names) {
  const unknown = Object.keys(given ?? {}).find((name) => !names.includes(name));
  if (unknown !== undefined) throw usage(unknown, `there is no such option; there are ${names.join(", ")}`);
  return given ?? {};
}

export function seedOf(seed) {
  if (Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32) return seed;
  throw usage("seed", `expected a whole number of 32 bits, got ${seed}`);
}

export function partOf(part) {
  const [index, parts] = Array.isArray(part) ? part : [];
  if (Number.isInteger(index) && Number.isInteger(parts) && index >= 0 && index < parts) return [index, parts];
  throw usage("part", `expected [index, parts] with 0 <= index < parts, got ${JSON.stringify(part)}`);
}

/** A tensor that the module gave. */
export function hostTensor({ dtype, shape, bytes }) {
  return { data: new ARRAYS[dtype](bytes.buffer, bytes.byteOffset, bytes.byteLength / ARRAYS[dtype].BYTES_PER_ELEMENT), shape, dtype };
}

export const byName = (entries, make) => Object.fromEntries(entries.map((entry) => [entry.name, make(entry)]));

export const withoutNulls = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== null));

/** An object as one writes it. */
export const literal = (object) => `{${Object.entries(object).map(([name, value]) => ` ${name}: ${JSON.stringify(value)}`)} }`;
