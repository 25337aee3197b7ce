// Puts the page together: the device's life, the verdict, the banners, colours and the address.

import { mountAdapter } from "./parts/adapter.js";
import { mountAttention } from "./parts/attend.js";
import { mountBench } from "./parts/bench.js";
import { mountCheck } from "./parts/check.js";
import { mountMask } from "./parts/mask.js";
import { $, make, tiny } from "./dom.js";
import { Session } from "./session.js";

const session = new Session();

/** The first case of each operator: small, and with a mask or a gate; attention's also by its sizes. */
const FIRST = { attention: "len_64_causal", shape: "1x2x64x64", options: { mask: "causal" }, linear: "len_65" };

colours();
const parts = {
  adapter: mountAdapter(session),
  check: mountCheck(session),
  mask: mountMask(session),
  attention: mountAttention(session),
  bench: mountBench(session),
};
address();

session.addEventListener("state", ({ detail }) => {
  banners(detail);
  if (session.state === "opening") verdict("busy", "Opening your GPU", "A first case is run and checked as soon as it is open.");
  if (session.state === "lost") verdict("warn", "The GPU was lost", "The browser or the driver took it away.");
  if (session.state === "none") absent();
  if (session.state === "ready") first();
});
session.open();

/** For tests, and for the curious. */
window.foveal = {
  session,
  destroy: () => session.call("destroy").catch(() => {}),
};

function verdict(state, word, ...more) {
  $("verdict").dataset.state = state;
  $("verdict-word").textContent = word;
  $("verdict-more").replaceChildren(...more);
  $("pill").dataset.state = state;
  $("pill-text").textContent = word;
}

/** Runs a small case of each operator, then the parts that start by themselves. */
async function first() {
  const { name } = session.info;
  try {
    const one = { operator: "attention", cases: FIRST.attention };
    const chosen = await session.exclusive("first case", async () => {
      verdict("busy", `Checking on ${name}`, "A small case of attention, by the kernel variant that the engine chooses here.");
      const { variant } = await session.call("plan", { operator: "attention", shape: FIRST.shape, options: FIRST.options });
      return session.call("check", { ...one, variant });
    });
    judge(chosen);
    session.settle();
    parts.adapter.tried(chosen);
    await parts.attention.start();
    const attention = await session.exclusive("first case", () => session.call("check", one));
    parts.adapter.tried(attention);
    const linear = await session.exclusive("first case", () => session.call("check", { operator: "linear", cases: FIRST.linear }));
    parts.adapter.tried(linear);
    judge({ cases: [...attention.cases, ...linear.cases] });
    parts.adapter.measure();
  } catch (error) {
    session.settle();
    if (error.kind !== "device-lost") verdict("bad", `Not right on ${name}`, error.message);
  }
}

/** An operator is right if some variant is: those that are not fail their self-check too, and are not used. */
function judge({ cases }) {
  performance.mark("first checked result");
  const { name } = session.info;
  const variants = cases.flatMap((one) => one.variants.map((variant) => ({ operator: one.operator, ...variant })));
  const right = variants.filter((variant) => variant.status === "passed");
  const wrong = variants.filter((variant) => variant.status === "failed");
  const broken = cases.find((one) => !one.variants.some((variant) => variant.status === "passed"));
  if (broken || cases.length === 0) {
    const why = broken?.variants.find((variant) => variant.reason)?.reason ?? "No case ran.";
    verdict("bad", `Not right on ${name}`, why, " The check below says more.");
    return;
  }
  const more = ["Largest relative error ", make("strong", {}, tiny(Math.max(...right.map((variant) => variant.relRmse)))), ` against a 64-bit reference, over ${right.length} kernel variant${right.length === 1 ? "" : "s"}.`];
  for (const { operator, variant } of wrong) more.push(` The variant ${variant} of ${operator} is wrong here and is not used.`);
  if (session.software) more.push(" This adapter is software: timings on this page are those of your CPU.");
  verdict("good", `Right on ${name}`, ...more);
}

function absent() {
  session.settle();
  verdict("warn", "No GPU for this page", "Masks are drawn and attention is computed by your CPU. The check and the bench need WebGPU.");
  parts.attention.start();
}

function banners({ again }) {
  const place = $("banners");
  const show = (kind, ...content) => place.replaceChildren(make("div", { class: "banner", "data-kind": kind }, ...content));
  const open = () => make("button", { type: "button", class: "small", onclick: () => session.open({ byUser: true }) }, "Open again");
  if (session.state === "lost") {
    const words = make("div", {}, make("strong", {}, "The GPU was lost."), again ? "Opening it again by itself." : "It was lost a second time, so this page waits for you. Other pages or the driver may be the cause.");
    show("bad", words, ...(again ? [] : [open()]));
  } else if (session.state === "none") {
    const words = make("div", {}, make("strong", {}, missing().what), make("ul", {}, ...missing().how.map((line) => make("li", {}, line))));
    show("warn", words, open());
  } else if (session.state === "ready" && place.childElementCount > 0) {
    const close = make("button", { type: "button", class: "small", onclick: () => place.replaceChildren() }, "Close");
    show("good", make("div", {}, make("strong", {}, "The GPU is open again."), "Everything on this page can be used."), close);
  }
}

/** The missing part of WebGPU, and how to get it. */
function missing() {
  if (session.error?.kind !== "no-adapter") {
    return { what: "Your GPU could not be opened.", how: [session.error?.message ?? "", "Try again, or close other pages that use the GPU."] };
  }
  if (!window.isSecureContext) {
    return { what: "WebGPU works on secure pages only.", how: ["Open this page over https, or from localhost."] };
  }
  if (!navigator.gpu) {
    return {
      what: "This browser has no WebGPU.",
      how: [
        "Chrome and Edge have it from version 113 on, Safari from 26, Firefox from 141 on Windows.",
        "On Linux, Chrome may need chrome://flags/#enable-unsafe-webgpu.",
      ],
    };
  }
  return {
    what: "This browser has WebGPU, but found no GPU to use.",
    how: ["Switch on hardware acceleration in the browser's settings.", "Update the graphics driver; chrome://gpu says what is blocked and why."],
  };
}

/** Light, dark, or as the system has it. */
function colours() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem("colours");
    } catch {
      return null;
    }
  };
  let choice = stored() ?? "system";
  const apply = () => {
    root.dataset.choice = choice;
    root.dataset.scheme = choice === "system" ? (system.matches ? "dark" : "light") : choice;
    $("theme").setAttribute("aria-label", `Colours: ${choice === "system" ? "as your system" : choice}`);
    $("theme").title = $("theme").getAttribute("aria-label");
    document.dispatchEvent(new Event("colours"));
  };
  apply();
  system.addEventListener("change", apply);
  $("theme").addEventListener("click", () => {
    const dark = root.dataset.scheme === "dark";
    const other = dark ? "light" : "dark";
    choice = choice !== "system" ? "system" : other;
    if (choice === "system" && (system.matches ? "dark" : "light") === root.dataset.scheme) choice = other;
    try {
      localStorage.setItem("colours", choice);
    } catch {
      // A private window may not store it.
    }
    apply();
  });
}

/** Marks the part that is in view, and opens the one that the address names. */
function address() {
  const links = [...document.querySelectorAll(".tabs-row a")];
  const mark = (id) => {
    for (const link of links) {
      if (link.hash === `#${id}`) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) if (entry.isIntersecting) mark(entry.target.id);
    },
    { rootMargin: "-30% 0px -65% 0px" },
  );
  for (const section of document.querySelectorAll("main > section")) watcher.observe(section);
  const follow = () => {
    const [id] = location.hash.slice(1).split("?");
    const target = id && $(id);
    if (target && location.hash.includes("?")) target.scrollIntoView();
  };
  window.addEventListener("hashchange", follow);
  follow();
}
