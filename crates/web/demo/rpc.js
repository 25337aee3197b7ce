// Calls to a worker as promises, with progress and abort.

/** A worker's error, as it arrives here. */
export class RemoteError extends Error {
  constructor({ message, ...more }) {
    super(message);
    Object.assign(this, more);
  }
}

/** A worker that answers calls. */
export class Remote {
  #worker;
  #calls = new Map();
  #next = 1;
  #closed = false;

  /** @param {(name: string, value: any) => void} onEvent what the worker tells unasked */
  constructor(url, onEvent = () => {}) {
    this.#worker = new Worker(url, { type: "module" });
    this.#worker.onmessage = ({ data }) => {
      if (data.event) {
        onEvent(data.event, data.value);
        return;
      }
      const call = this.#calls.get(data.id);
      if (!call) return;
      if ("progress" in data) {
        call.onProgress?.(...data.progress);
        return;
      }
      this.#calls.delete(data.id);
      if (data.error) call.reject(new RemoteError(data.error));
      else call.resolve(data.value);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const error = { kind: "internal", message: event.message || "the worker could not be started" };
      this.close(error);
      onEvent("lost", error);
    };
  }

  get closed() {
    return Boolean(this.#closed);
  }

  /** Calls a method of the worker. `transfer` lists buffers that are moved and not copied. */
  call(method, args = {}, { onProgress, signal, transfer = [] } = {}) {
    if (this.#closed) return Promise.reject(new RemoteError(this.#closed));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, onProgress });
      signal?.addEventListener("abort", () => this.#worker.postMessage({ abort: id }), { once: true });
      this.#worker.postMessage({ id, method, args }, transfer);
    });
  }

  /** Ends the worker. Calls under way fail with `error`. */
  close(error) {
    if (this.#closed) return;
    this.#closed = error;
    this.#worker.terminate();
    for (const call of this.#calls.values()) call.reject(new RemoteError(error));
    this.#calls.clear();
  }
}
