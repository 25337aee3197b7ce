#!/usr/bin/env bash
# lavapipe of Mesa 22.3.6 (Debian 12), driven by PyPI's wgpu 0.32.0: an invocation may take 65,535 turns of loops, all its loops
# together; then every loop ends silently, and what follows runs on with what there is. No error, no warning, no lost device. A
# loop over the keys of a long sequence gives a result that is wrong and looks right.
#
#   a loop to 70,000                  ends at 65,535
#   300 loops of 300 turns            make 65,101 turns in place of 90,000: a loop costs one more each time it is entered
#   the second of two loops of 40,000 ends at 25,534
#
# Mesa 25.0 and later have no such bound. Needs apt-get and dpkg (nothing is installed on the system).
# Exits with 1 if any of this changes, 2 if it could not be tried.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir root
packages=(mesa-vulkan-drivers=22.3.6-1+deb12u2 libllvm15=1:15.0.6-4+b1 libvulkan1 libz3-4 libedit2 libdrm2 libxcb1 libxcb-dri3-0
  libxcb-present0 libxcb-randr0 libxcb-shm0 libxcb-sync1 libxcb-xfixes0 libx11-xcb1 libxshmfence1 libwayland-client0 libxml2
  libicu72 libxau6 libxdmcp6 libbsd0 libmd0 libffi8)
apt-get download -qq "${packages[@]}" >/dev/null 2>&1 || { echo 'these Debian 12 packages cannot be had here' >&2; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" root; done
libraries=$work/root/usr/lib/x86_64-linux-gnu
cat >driver.json <<JSON
{"file_format_version": "1.0.0", "ICD": {"library_path": "$libraries/libvulkan_lvp.so", "api_version": "1.3.230"}}
JSON
python3 -m venv venv || exit 2
venv/bin/pip install --quiet 'wgpu==0.32.0' 'numpy==2.4.6' || exit 2
cat >turns.py <<'PYTHON'
import sys

import numpy as np
import wgpu

adapters = wgpu.gpu.enumerate_adapters_sync()
adapter = next((a for a in adapters if "llvmpipe" in a.info["device"] and a.info["backend_type"] == "Vulkan"), None)
if adapter is None:
    sys.exit(2)
device = adapter.request_device_sync()


# How many turns the loops of `body` counted in `made`; their bounds come from a buffer.
def turns(body, first, second):
    code = f"""
@group(0) @binding(0) var<storage, read> bounds: array<u32>;
@group(0) @binding(1) var<storage, read_write> made: array<u32>;
@compute @workgroup_size(1) fn main() {{ {body} }}"""
    bounds = device.create_buffer_with_data(data=np.array([first, second], np.uint32), usage=wgpu.BufferUsage.STORAGE)
    made = device.create_buffer(size=4, usage=wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC)
    module = device.create_shader_module(code=code)
    pipeline = device.create_compute_pipeline(layout="auto", compute={"module": module, "entry_point": "main"})
    entries = [{"binding": i, "resource": {"buffer": b}} for i, b in enumerate((bounds, made))]
    group = device.create_bind_group(layout=pipeline.get_bind_group_layout(0), entries=entries)
    encoder = device.create_command_encoder()
    run = encoder.begin_compute_pass()
    run.set_pipeline(pipeline)
    run.set_bind_group(0, group)
    run.dispatch_workgroups(1)
    run.end()
    device.queue.submit([encoder.finish()])
    return int(np.frombuffer(device.queue.read_buffer(made), np.uint32)[0])


# One counter, stored by every turn, so that no loop can be replaced by its result.
one = "for (var i = 0u; i < bounds[0]; i++) { made[0] += 1u; }"
nested = "for (var i = 0u; i < bounds[0]; i++) { for (var j = 0u; j < bounds[1]; j++) { made[0] += 1u; } }"
second = "var n = 0u; for (var i = 0u; i < bounds[0]; i++) { n += bounds[1]; made[0] = n; } made[0] = 0u; " + one
seen = {
    "a loop to 70,000": (turns(one, 70_000, 0), 65_535),
    "300 loops of 300": (turns(nested, 300, 300), 65_101),
    "the second of two loops of 40,000": (turns(second, 40_000, 1), 25_534),
}
print(adapter.info["device"], adapter.info["description"])
for name, (got, _) in seen.items():
    print(f"{name:36} {got}")
changed = [f"{name}: {got}, was {was}" for name, (got, was) in seen.items() if got != was]
print("as stated" if not changed else "CHANGED: " + "; ".join(changed))
sys.exit(bool(changed))
PYTHON
VK_DRIVER_FILES=$work/driver.json VK_ICD_FILENAMES=$work/driver.json LD_LIBRARY_PATH=$libraries venv/bin/python turns.py
