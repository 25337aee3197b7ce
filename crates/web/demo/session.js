// The device as the page sees it: open, absent, or lost; and one job on it at a time.

import { Remote } from "./rpc.js";

const WORKER = new URL("worker.js", import.meta.url);

/** The package's module, compiled once for all workers. Without it each compiles its own. */
const MODULE = WebAssembly.compileStreaming(fetch(new URL("package/foveal_web_bg.wasm", import.meta.url))).catch(() => undefined);

/**
 * Tells `state` when it changes: `opening`, `ready`, `none` (no WebGPU or no adapter), `lost`.
 * Tells `queue` when a job begins or ends.
 */
export class Session extends EventTarget {
  state = "opening";
  info = null;
  error = null;
  /** The work on the device now. */
  job = "";
  #remote = null;
  #pictures = null;
  #tail = Promise.resolve();
  #retried = false;
  /** Resolves when the first case was checked, or cannot be. */
  judged = new Promise((resolve) => {
    this.settle = resolve;
  });

  /** Opens the device, in a new worker, since the old one may have been left in any state. */
  async open({ byUser = false } = {}) {
    if (byUser) this.#retried = false;
    this.#remote?.close({ kind: "device-lost", message: "the device was opened again" });
    this.#tell("opening");
    const remote = new Remote(WORKER, (event, value) => {
      if (event === "lost" && remote === this.#remote) this.#lost(value);
    });
    this.#remote = remote;
    try {
      this.info = await remote.call("open", { module: await MODULE, options: { powerPreference: "high-performance" } });
      if (remote === this.#remote && this.state === "opening") this.#tell("ready");
    } catch (error) {
      if (remote !== this.#remote) return;
      this.error = error;
      this.#tell("none");
    }
  }

  /** Whether the device is a CPU that acts as a GPU. */
  get software() {
    const { name = "", kind = "" } = this.info ?? {};
    return /cpu|software/i.test(kind) || /swiftshader|llvmpipe|lavapipe|basic render|warp/i.test(name);
  }

  /** A call to the device. */
  call(method, args, options) {
    return this.#remote.call(method, args, options);
  }

  /** A call that needs no device. It has a worker of its own and so never waits for the device. */
  async compute(method, args, options) {
    const module = await MODULE;
    if (!this.#pictures || this.#pictures.closed) {
      this.#pictures = new Remote(WORKER);
      this.#pictures.call("ready", { module }).catch(() => {});
    }
    return this.#pictures.call(method, args, options);
  }

  /** Runs `work` when no other job runs, so that jobs do not disturb each other's timings. */
  exclusive(name, work) {
    const turn = this.#tail.then(async () => {
      this.job = name;
      this.dispatchEvent(new Event("queue"));
      try {
        return await work();
      } finally {
        this.job = "";
        this.dispatchEvent(new Event("queue"));
      }
    });
    this.#tail = turn.catch(() => {});
    return turn;
  }

  /** Asks for the adapter's description again: variants are refused as they are first used. */
  async refresh() {
    this.info = await this.call("info");
    return this.info;
  }

  #lost(error) {
    if (this.state !== "ready") return;
    this.error = error;
    this.#remote.close({ ...error, kind: "device-lost" });
    const again = !this.#retried;
    this.#retried = true;
    this.#tell("lost", { again });
    if (again) setTimeout(() => this.open(), 300);
  }

  #tell(state, detail = {}) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail }));
  }
}
