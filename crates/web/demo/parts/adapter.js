// Part 1: what the adapter is, what it can do, and which variants are right on it.

import { $, bytes, count, make, problem, three, tiny } from "../dom.js";

/** Limits that decide what fits; the others are behind "all limits". */
const MAIN = [
  ["max_storage_buffer_binding_size", "largest tensor", bytes],
  ["max_buffer_size", "largest buffer", bytes],
  ["max_compute_workgroup_storage_size", "workgroup memory", bytes],
  ["max_compute_invocations_per_workgroup", "invocations a workgroup", count],
];

export function mountAdapter(session) {
  const button = $("roofline-run");
  const variants = new Map();
  let measuring = false;

  session.addEventListener("state", () => {
    button.disabled = session.state !== "ready";
    if (session.state === "ready") describe(session.info);
    if (session.state === "none") absent();
  });
  button.addEventListener("click", () => measure());
  rows([{ name: "not measured yet", text: "" }]);

  async function measure() {
    if (measuring) return;
    measuring = true;
    button.disabled = true;
    button.textContent = "Measuring";
    try {
      const roofline = await session.exclusive("measuring", () => session.call("roofline"));
      rows(roofline.rows.map(({ name, value, unit }) => ({ name, text: `${three(value)} ${unit}` })));
    } catch (error) {
      $("roofline-note").textContent = problem(error);
    } finally {
      measuring = false;
      button.disabled = session.state !== "ready";
      button.textContent = "Measure";
    }
  }

  /** Shows which variants passed, from the results of cases. */
  function tried({ cases }) {
    for (const { operator, variants: results } of cases) {
      for (const result of results) variants.set(`${operator} ${result.variant}`, { operator, ...result });
    }
    session.refresh().then(show, () => {});
    show();
  }

  function show() {
    for (const [operator, names] of Object.entries(session.info?.refused ?? {})) {
      for (const variant of names) variants.set(`${operator} ${variant}`, { operator, variant, status: "refused" });
    }
    let before = "";
    const lines = [...variants.values()].map((result) => {
      const repeated = result.operator === before;
      before = result.operator;
      return make("tr", {}, make("td", {}, repeated ? make("span", { class: "hidden" }, result.operator) : result.operator), make("td", {}, make("code", {}, result.variant)), make("td", {}, outcome(result)));
    });
    $("variants").tBodies[0].replaceChildren(...lines);
  }

  return { measure, tried };
}

function outcome({ variant, status, relRmse, reason }) {
  if (status === "passed") return make("span", { class: "mark passed" }, relRmse === undefined ? "right" : `right, ${tiny(relRmse)}`);
  if (status === "refused") return make("span", { class: "mark failed" }, "wrong here: not used");
  if (status === "failed") return make("span", { class: "mark failed", title: reason }, "wrong here: not used");
  return make("span", { class: "mark skipped" }, reason ? `cannot run: ${short(reason)}` : "cannot run here");
}

function rows(list) {
  $("roofline-rows").replaceChildren(...list.map(({ name, text }) => make("div", {}, make("dt", {}, name), make("dd", {}, text))));
}

function describe(info) {
  $("adapter-more").hidden = false;
  $("adapter-name").textContent = info.name || "Unnamed adapter";
  const facts = [["backend", info.backend], ["vendor", info.vendor], ["kind", info.kind]].filter(([, value]) => value);
  for (const [key, name, format] of MAIN) {
    if (key in info.limits) facts.push([name, format(info.limits[key])]);
  }
  $("adapter-facts").replaceChildren(...facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  const features = info.features.length > 0 ? info.features.map((name) => make("code", {}, name)) : [make("span", { class: "quiet" }, "none beyond the defaults")];
  $("adapter-features").replaceChildren(...features);
  const limits = Object.entries(info.limits).map(([name, value]) => make("tr", {}, make("td", {}, words(name)), make("td", { class: "num" }, /size$/i.test(name) && value >= 4096 ? bytes(value) : count(value))));
  $("adapter-limits").tBodies[0].replaceChildren(...limits);
}

/** `max_buffer_size` as words. */
const words = (name) => name.replace(/_/g, " ");

/** The part of a reason that is not known from where it stands. */
const short = (reason) => reason.replace(/^variant [\w-]+: /, "").replace(/ \(or .*\)$/, "");

function absent() {
  $("adapter-name").textContent = "No adapter";
  $("adapter-facts").replaceChildren(make("p", { class: "quiet" }, "WebGPU is missing; what to do about it stands at the top of the page."));
  $("adapter-more").hidden = true;
  $("variants").tBodies[0].replaceChildren(make("tr", {}, make("td", { colspan: "3", class: "quiet" }, "None can run without a GPU.")));
  $("roofline-note").textContent = "Nothing to measure without a GPU.";
}
