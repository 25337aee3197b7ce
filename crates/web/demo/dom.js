// Small helpers: elements, numbers as text, copying.

export const $ = (id) => document.getElementById(id);

/** An element: `make("p", { class: "quiet" }, "text", child)`. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false || value === null) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") node.style.cssText = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null));
  return node;
}

const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Three digits. */
export const three = (value) => (Math.abs(value) >= 1000 ? whole : number).format(value);
export const count = (value) => whole.format(value);

/** A time with its unit. */
export function time(ms) {
  if (!Number.isFinite(ms)) return "none";
  if (ms >= 999.5) return `${three(ms / 1000)} s`;
  return ms >= 1 ? `${three(ms)} ms` : `${three(ms * 1000)} µs`;
}

/** A share in percent. */
export function percent(share) {
  const value = share * 100;
  if (value === 0 || value === 100) return `${value} %`;
  if (value > 99.9) return "> 99.9 %";
  if (value < 0.01) return "< 0.01 %";
  return `${value >= 10 ? value.toFixed(1) : value.toPrecision(2)} %`;
}

const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** An error, as 3.9 × 10⁻⁷. */
export function tiny(value) {
  if (value === undefined || value === null || Number.isNaN(value)) return "none";
  if (value === 0) return "0";
  if (value >= 0.01) return three(value);
  const [digits, power] = value.toExponential(1).split("e-");
  return `${digits} × 10⁻${[...String(Number(power))].map((digit) => RAISED[digit]).join("")}`;
}

/** Bytes in the largest unit that fits. */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${three(value)} ${units[unit]}`;
}

/** A button that copies `text()` and says so. */
export function copyButton(text, label = "Copy") {
  const button = make("button", { type: "button", class: "small" }, label);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy it";
    }
    setTimeout(() => {
      button.textContent = label;
    }, 1600);
  });
  return button;
}

/** A button that starts something and, while it runs, stops it. */
export function startStop(button, start, { wait } = {}) {
  const label = button.textContent;
  let control = null;
  const run = async () => {
    if (control) {
      control.abort();
      button.textContent = "Stopping";
      return;
    }
    control = new AbortController();
    button.textContent = wait?.() ? "Waiting: stop" : "Stop";
    button.dataset.running = "";
    try {
      await start(control.signal, () => {
        if (!control.signal.aborted) button.textContent = "Stop";
      });
    } finally {
      control = null;
      button.textContent = label;
      delete button.dataset.running;
    }
  };
  return run;
}

/** An error in words for people. */
export function problem(error) {
  if (error?.kind === "device-lost") return "The GPU was lost while this ran. Run it again once it is open.";
  if (error?.kind === "no-adapter") return "No GPU is open.";
  return String(error?.message ?? error);
}
