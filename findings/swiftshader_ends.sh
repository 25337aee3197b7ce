#!/usr/bin/env bash
# SwiftShader (the one in npm's @sparticuz/chromium 153.0.0), driven by PyPI's wgpu 0.32.0: what WGSL's functions give at the ends of
# f32. Formulas that rely on IEEE's ends (a softmax that hides by log(0), a packed f16 that overflows) are finite, or NaN, there:
#
#   log(0) = -88.03, log2(0) = -127             instead of -inf
#   log(-1) = 0, the logarithm of |x|           instead of NaN
#   exp(NaN) = exp2(NaN) = +inf                 instead of NaN
#   tanh(x) = NaN from about |x| = 90 on        instead of +-1
#   pack2x16float(inf) = 0x7fff, a NaN          instead of 0x7c00
#
# WGSL allows implementations to assume that infinities and NaN do not occur; log(0) and tanh(100) have no such input.
# Exits with 1 if any of this changes, 2 if it could not be tried.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --silent @sparticuz/chromium@153.0.0 >/dev/null || exit 2
tar -xzf sparticuz-chromium-153.0.0.tgz package/bin/swiftshader.tar.br
node -e 'const z = require("zlib"), f = require("fs");
f.writeFileSync("driver.tar", z.brotliDecompressSync(f.readFileSync("package/bin/swiftshader.tar.br")));' || exit 2
tar -xf driver.tar libvk_swiftshader.so libvulkan.so.1 vk_swiftshader_icd.json
python3 -m venv venv || exit 2
venv/bin/pip install --quiet 'wgpu==0.32.0' 'numpy==2.4.6' || exit 2
cat >ends.py <<'PYTHON'
import sys

import numpy as np
import wgpu

adapters = wgpu.gpu.enumerate_adapters_sync()
adapter = next((a for a in adapters if "SwiftShader" in a.info["device"]), None)
if adapter is None:
    sys.exit(2)
device = adapter.request_device_sync()


# An expression's bits for each x. They come from a buffer, so that no compiler can compute anything beforehand.
def bits(expression, values):
    code = f"""
@group(0) @binding(0) var<storage, read> given: array<f32>;
@group(0) @binding(1) var<storage, read_write> made: array<u32>;
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) at: vec3u) {{
    let x = given[at.x];
    made[at.x] = {expression};
}}"""
    given = device.create_buffer_with_data(data=np.array(values, np.float32), usage=wgpu.BufferUsage.STORAGE)
    made = device.create_buffer(size=4 * len(values), usage=wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC)
    module = device.create_shader_module(code=code)
    pipeline = device.create_compute_pipeline(layout="auto", compute={"module": module, "entry_point": "main"})
    entries = [{"binding": i, "resource": {"buffer": b}} for i, b in enumerate((given, made))]
    group = device.create_bind_group(layout=pipeline.get_bind_group_layout(0), entries=entries)
    encoder = device.create_command_encoder()
    run = encoder.begin_compute_pass()
    run.set_pipeline(pipeline)
    run.set_bind_group(0, group)
    run.dispatch_workgroups(len(values))
    run.end()
    device.queue.submit([encoder.finish()])
    return np.frombuffer(device.queue.read_buffer(made), np.uint32)


def values_of(function, values):
    return bits(f"bitcast<u32>({function}(x))", values).view(np.float32)


inf, nan = np.inf, np.nan
log, log2 = values_of("log", [0, -1]), values_of("log2", [0])
exp, exp2 = values_of("exp", [nan]), values_of("exp2", [nan])
tanh = values_of("tanh", [80, 100, -100])
pack = bits("pack2x16float(vec2f(x, 0.0)) & 0xffffu", [1, inf])
seen = {
    "log(0) = -88.03": abs(log[0] + 88.03) < 0.01,
    "log2(0) = -127": log2[0] == -127,
    "log(-1) = 0": log[1] == 0,
    "exp(NaN) = inf": exp[0] == inf,
    "exp2(NaN) = inf": exp2[0] == inf,
    "tanh(80) = 1": tanh[0] == 1,
    "tanh(100) and tanh(-100) are NaN": bool(np.isnan(tanh[1:]).all()),
    "pack2x16float(1) = 3c00": pack[0] == 0x3C00,
    "pack2x16float(inf) = 7fff": pack[1] == 0x7FFF,
}
print(f"{adapter.info['device']}: log {log}, log2 {log2}, exp(NaN) {exp}, exp2(NaN) {exp2}, tanh {tanh}, "
      f"pack {[hex(x) for x in pack]}")
changed = [name for name, holds in seen.items() if not holds]
print("as stated" if not changed else "CHANGED: " + "; ".join(changed))
sys.exit(bool(changed))
PYTHON
VK_DRIVER_FILES=$work/vk_swiftshader_icd.json VK_ICD_FILENAMES=$work/vk_swiftshader_icd.json \
  LD_LIBRARY_PATH=$work venv/bin/python ends.py
