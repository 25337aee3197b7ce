// Reads a safetensors file: a header of JSON, then little-endian data.

/** Tensors by name, and the header's metadata. f32 and i32 only. */
export function parse(buffer) {
  const view = new DataView(buffer);
  const length = Number(view.getBigUint64(0, true));
  if (length > buffer.byteLength - 8) throw new Error("not a safetensors file: its header is longer than the file");
  const { __metadata__: metadata = {}, ...entries } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(entries)) {
    const make = { F32: Float32Array, I32: Int32Array }[dtype];
    if (!make) throw new Error(`tensor \`${name}\`: elements of ${dtype} cannot be read here`);
    tensors[name] = { data: new make(buffer.slice(8 + length + start, 8 + length + end)), shape, dtype: dtype.toLowerCase() };
  }
  return { tensors, metadata };
}
