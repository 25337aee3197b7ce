// Part 5: time against length, for dense, sparse and linear attention.

import { $, count, make, problem, startStop, three, time } from "../dom.js";
import { crossing, plot } from "../plot.js";

/** A line ends before a single run would take longer than this, in milliseconds; and on a CPU. */
const LONGEST = 600;
const LONGEST_ON_CPU = 250;

const RULES = { add: { rule: "add" }, gated: { rule: "add", gate: "scalar" }, delta: { rule: "delta", gate: "scalar" } };

/** The lines: what they are called in the plot and in sentences, and how time grows when the length doubles. */
const KINDS = [
  { kind: "dense", name: "dense", long: "dense attention", growth: 4 },
  { kind: "sparse", name: "sparse", long: "the sparse mask", growth: 2.5 },
  { kind: "linear", name: "linear", long: "linear attention", growth: 2.2 },
];

export function mountBench(session, { ownMask = () => document.getElementById("mask-text").value.trim() } = {}) {
  const button = $("bench-run");
  const place = $("bench-plot");
  let frame = 0;
  let touched = false;
  let result = { xs: lengths(128, 4096), lines: KINDS.map((kind) => ({ ...kind, points: [], cut: false })), done: false };

  session.addEventListener("state", () => {
    button.disabled = session.state !== "ready" && !("running" in button.dataset);
    const why = $("bench-why");
    why.hidden = session.state !== "none";
    $("bench-card").hidden = session.state === "none";
    why.textContent = "There is no GPU here to time, so the bench cannot run.";
    // Lines on a CPU end early, where a wide window still hides little.
    if (session.state === "ready" && session.software && !touched) $("bench-mask").selectedIndex = 0;
  });
  const run = startStop(button, start, { wait: () => session.job });
  $("bench-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!button.disabled) run();
  });
  new ResizeObserver(() => draw()).observe(place);
  $("bench-mask").addEventListener("change", () => {
    touched = true;
  });

  async function start(signal, running) {
    const width = $("bench-width").value;
    const choice = $("bench-mask").selectedOptions[0];
    const mask = "own" in choice.dataset ? ownMask() : choice.value;
    const settings = {
      heads: $("bench-heads").value,
      width,
      calls: { dense: ["attention", {}], sparse: ["attention", { mask }], linear: ["linear", RULES[$("bench-rule").value]] },
    };
    const longest = session.software ? LONGEST_ON_CPU : LONGEST;
    result = { xs: lengths(session.software ? 32 : 128, Number($("bench-max").value)), longest, lines: KINDS.map((kind) => ({ ...kind, points: [], cut: false })), done: false };
    say(session.job ? `Waiting for: ${session.job}` : "Starting");
    try {
      await session.exclusive("the bench", async () => {
        running();
        draw();
        for (const length of result.xs) {
          if (result.lines.every((line) => line.cut)) return;
          for (const line of result.lines) {
            if (signal.aborted) return;
            await point(line, length, settings);
          }
        }
      });
      result.done = true;
      const last = Math.max(result.xs[1], ...result.lines.flatMap((line) => line.points.map(([length]) => length)));
      result.xs = result.xs.filter((length) => length <= last);
      draw();
      conclude(signal.aborted, settings, mask);
    } catch (error) {
      say(problem(error));
    } finally {
      setTimeout(() => {
        button.disabled = session.state !== "ready";
      });
    }
  }

  async function point(line, length, { heads, width, calls }) {
    const before = line.points.at(-1);
    if (line.cut || (before && before[1] * line.growth > result.longest)) {
      line.cut = true;
      return;
    }
    say(`Timing ${line.long}, ${count(length)} tokens`);
    const [operator, options] = calls[line.kind];
    const timing = await session.call("time", { operator, shape: `1x${heads}x${length}x${width}`, options, call: { seconds: 0.15 } });
    line.points.push([length, timing.medianMs, timing]);
    draw();
  }

  const say = (text) => {
    $("bench-finding").textContent = text;
  };

  /** Draws in two short turns of the page's thread. */
  function draw() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      plot(place, { xs: result.xs, lines: result.lines, crossings: result.done ? crossings() : [] });
      setTimeout(table);
    });
  }

  function crossings() {
    const [dense, ...others] = result.lines;
    return others.flatMap((line) => {
      const found = crossing(dense.points, line.points);
      return found?.below ? [{ ...found, text: `${line.name} faster from ${count(about(found.x))}` }] : [];
    });
  }

  function conclude(stopped, { heads, width }, mask) {
    const [dense, ...others] = result.lines;
    if (dense.points.length === 0 || others.some((line) => line.points.length === 0)) {
      say("Stopped.");
      return;
    }
    const sentences = others.map((line) => {
      const theirs = new Map(line.points);
      const common = dense.points.filter(([length]) => theirs.has(length));
      const [length, ms] = common.at(-1);
      const ratio = ms / theirs.get(length);
      const found = crossing(dense.points, line.points);
      const name = line.long[0].toUpperCase() + line.long.slice(1);
      if (ratio < 1) return `${name} is not yet faster at ${count(length)} tokens.`;
      const from = found?.below ? `from about ${count(about(found.x))} tokens on` : `already at ${count(common[0][0])} tokens`;
      return `${name} is faster than dense ${from}, and ${three(Number(ratio.toPrecision(2)))} times as fast at ${count(length)}.`;
    });
    say(`${stopped ? "Stopped. " : ""}${sentences.join(" ")}`);
    const cut = result.lines.filter((line) => line.cut).map((line) => line.name);
    const clock = dense.points[0][2].timestamps ? "the GPU's own clock" : "the page's clock";
    const notes = [`${heads} head${heads === "1" ? "" : "s"}, ${width} wide, f32; sparse is ${mask}; medians by ${clock}, inputs and results staying on the GPU.`];
    if (cut.length > 0) notes.push(`${cut.length > 1 ? "The lines of" : "The line of"} ${cut.join(", ")} end${cut.length > 1 ? "" : "s"} where a run would take longer than ${time(result.longest)}.`);
    if (session.software) notes.push("This adapter is software: these are times of your CPU.");
    $("bench-note").textContent = notes.join(" ");
  }

  function table() {
    const head = make("tr", {}, make("th", { scope: "col", class: "num" }, "Tokens"), ...result.lines.map((line) => make("th", { scope: "col", class: "num" }, line.name)));
    const rows = result.xs.map((length) => {
      const cells = result.lines.map((line) => {
        const found = line.points.find(([at]) => at === length);
        return make("td", { class: "num" }, found ? time(found[1]) : "–");
      });
      return make("tr", {}, make("th", { scope: "row", class: "num" }, count(length)), ...cells);
    });
    $("bench-table").replaceChildren(make("caption", { class: "hidden" }, "Median time by length"), make("thead", {}, head), make("tbody", {}, ...rows));
  }
}

function lengths(least, most) {
  const list = [];
  for (let length = least; length <= most; length *= 2) list.push(length);
  return list;
}

/** Two digits: a crossing between two points is not known better. */
const about = (value) => Number(value.toPrecision(2));
