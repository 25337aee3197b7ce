// The package in a worker, so that the page never waits for it: answers `rpc.js`.

/** Imported below and not above: calls that come before the package is there must find someone who listens. */
let foveal;
let engine;
const running = new Map();

const methods = {
  /** Opens a device and says what it is. */
  async open({ module, options }) {
    await foveal.init(module);
    engine = await foveal.Engine.create(options);
    engine.lost.then((error) => postMessage({ event: "lost", value: plain(error) }));
    return described();
  },
  info: async () => described(),
  check: ({ ...options }, { progress, signal }) =>
    engine.check({ ...options, signal, onCase: (result, done, total) => progress(result, done, total) }),
  time: ({ operator, shape, options, call }) => engine.time(operator, shape, options, call),
  roofline: () => engine.roofline(),
  plan: ({ operator, shape, options }) => engine.planShape(operator, shape, options),
  attention: ({ problem }) => engine.attention(problem),
  destroy: async () => engine?.destroy(),

  /** The following need no device. */
  ready: ({ module }) => foveal.init(module),
  recipes: () => foveal.recipes(),
  mask: ({ expression, options }) => foveal.mask(expression, options),
  reference: ({ operator, problem }) => foveal.reference(operator, problem),
};

function described() {
  const { name, vendor, backend, kind, features, limits, refused } = engine.info;
  return { name, vendor, backend, kind, features, limits, refused };
}

function plain(error) {
  const { kind = "internal", argument = "", column, length } = error ?? {};
  return { kind, argument, column, length, message: String(error?.message ?? error) };
}

/** Buffers of a result, which are moved to the page. */
function buffers(value, found = new Set()) {
  if (ArrayBuffer.isView(value)) {
    found.add(value.buffer);
  } else if (value && typeof value === "object") {
    for (const inner of Object.values(value)) buffers(inner, found);
  }
  return [...found];
}

const loaded = import("./package/foveal.js").then((module) => {
  foveal = module;
});
loaded.catch(() => {});

addEventListener("message", async ({ data: { id, abort, method, args } }) => {
  if (abort) {
    running.get(abort)?.abort();
    return;
  }
  const control = new AbortController();
  running.set(id, control);
  try {
    const progress = (...what) => postMessage({ id, progress: what });
    if (!engine && ["info", "check", "time", "roofline", "plan", "attention"].includes(method)) {
      throw Object.assign(new Error("no device is open"), { kind: "no-adapter" });
    }
    await loaded;
    const value = await methods[method](args, { progress, signal: control.signal });
    postMessage({ id, value }, buffers(value));
  } catch (error) {
    postMessage({ id, error: plain(error) });
  } finally {
    running.delete(id);
  }
});
