"""safetensors files with the `foveal` header entry, and rounding to storage types. Nothing beyond numpy is needed."""

import json
import struct

import numpy as np

NAMES = {"float32": "F32", "float64": "F64", "float16": "F16", "int32": "I32", "uint8": "U8", "int8": "I8", "int64": "I64"}
TYPES = {name: dtype for dtype, name in NAMES.items()}


class Bf16:
    """bf16 values as the upper halves of f32."""

    def __init__(self, values):
        bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        self.halves = np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)

    def values(self):
        return (self.halves.astype(np.uint32) << 16).view(np.float32)


def stored(values, dtype):
    """What a tensor of that type holds of `values`: the storage, and the numbers that both sides compute with."""
    with np.errstate(over="ignore"):
        if dtype == "bf16":
            storage = Bf16(values)
            return storage, storage.values().astype(np.float64)
        storage = np.asarray(values, dtype={"f32": np.float32, "f16": np.float16}[dtype])
        return storage, storage.astype(np.float64)


def rearranged(tensor, how):
    """A tensor, of bf16 too, whose storage is changed by `how`."""
    if hasattr(tensor, "halves"):
        tensor.halves = how(tensor.halves)
        return tensor
    return how(tensor)


def write(path, tensors, options):
    header, blobs, at = {"__metadata__": {"foveal": json.dumps(options)}}, [], 0
    for name, tensor in tensors.items():
        array = tensor.halves if isinstance(tensor, Bf16) else np.ascontiguousarray(tensor)
        kind = "BF16" if isinstance(tensor, Bf16) else NAMES[str(array.dtype)]
        blob = array.tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read(path):
    """All tensors as f64 by name."""
    with open(path, "rb") as file:
        data = file.read()
    (size,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = body[begin:end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, TYPES[entry["dtype"]])
        tensors[name] = values.astype(np.float64).reshape(entry["shape"])
    return tensors
