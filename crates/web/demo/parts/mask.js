// Part 3: type a mask, see it, time it.

import { $, count, make, percent, problem, startStop, three, time } from "../dom.js";
import { mix, property, word } from "../ramps.js";

const EXAMPLES = [
  ["Causal", "causal"],
  ["Sliding window", "causal & window(127, 0)"],
  ["Window and sinks", "causal & (window(127, 0) | sinks(64))"],
  ["Strided", "causal & (window(127, 0) | strided(64, 4))"],
  ["Blocks", "blocks(256) | sinks(64)"],
  ["Prefix", "prefix(256) | causal"],
  ["Disc in an image", "disc(32, 8)"],
];

/** Masks of more pairs than this may be sampled. */
const EXACT = 2 ** 22;

/** The longest that is timed on a CPU that acts as a GPU. */
const ON_CPU = 256;

/** Characters wait this long for the next one. */
const PAUSE = 90;

export function mountMask(session) {
  const text = $("mask-text");
  const tokens = $("mask-tokens");
  const block = $("mask-block");
  const stage = $("mask-stage");
  const canvas = $("mask-canvas");
  const source = $("mask-source");
  const recipes = $("mask-recipes");
  let picture = null;
  let shown = null;
  let latest = 0;
  let timer = 0;
  let wrong = true;

  readAddress();
  chips();
  mirror();
  whenWanted().then(() => {
    list();
    if (latest === 0) update();
  });

  text.addEventListener("input", () => {
    if (text.value.includes("\n")) text.value = text.value.replace(/\n/g, " ");
    recipes.value = "";
    source.textContent = "";
    mirror();
    later();
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      update();
    }
  });
  tokens.addEventListener("input", later);
  block.addEventListener("change", () => update(true));
  recipes.addEventListener("change", () => {
    const option = recipes.selectedOptions[0];
    if (option.value) choose(option.value, Number(option.dataset.tokens), option.dataset.source);
  });
  window.addEventListener("hashchange", () => {
    if (readAddress()) {
      mirror();
      update();
    }
  });
  new ResizeObserver(() => draw()).observe(stage);
  document.addEventListener("colours", () => draw());
  stage.addEventListener("pointermove", (event) => read(event));
  stage.addEventListener("pointerdown", (event) => read(event));
  stage.addEventListener("pointerleave", () => caption());

  /** When the first verdict is there, or this part is seen: nothing is to slow the first check down. */
  function whenWanted() {
    return new Promise((resolve) => {
      session.judged.then(resolve);
      new IntersectionObserver((entries, watcher) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        watcher.disconnect();
        resolve();
      }).observe(stage);
    });
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(() => update(true), PAUSE);
  }

  function choose(expression, length, paper = "") {
    text.value = expression;
    if (length) tokens.value = length;
    source.textContent = paper;
    mirror();
    update(true);
  }

  async function update(share = false) {
    clearTimeout(timer);
    const turn = ++latest;
    const expression = text.value.trim();
    const length = Math.round(Number(tokens.value));
    pressed(expression);
    if (!(length >= 1 && length <= 8192)) {
      fail({ message: "Tokens: a number from 1 to 8,192." });
      return;
    }
    const wanted = { expression, length, block: Number(block.value) };
    try {
      const options = { q: length, k: length, block: wanted.block, picture: Math.min(length, 512) };
      const result = await session.compute("mask", { expression, options });
      if (turn !== latest) return;
      picture = result;
      shown = wanted;
      wrong = false;
      good();
      if (share) writeAddress(wanted);
    } catch (error) {
      if (turn === latest) fail(error);
    }
  }

  function good() {
    $("mask-error").textContent = "";
    delete $("mask-mirror").dataset.wrong;
    delete stage.dataset.stale;
    text.removeAttribute("aria-invalid");
    mirror();
    const blocks = picture.blockRows * picture.blockColumns;
    const visited = picture.blocks.reduce((sum, kind) => sum + (kind > 0 ? 1 : 0), 0);
    $("mask-density").textContent = percent(picture.density);
    $("mask-blocks").replaceChildren(percent(visited / blocks), make("small", {}, `${count(visited)} of ${count(blocks)}`));
    canvas.setAttribute("aria-label", `Picture of ${picture.canonical}: ${percent(picture.density)} of pairs are visible, ${count(visited)} of ${count(blocks)} blocks are visited`);
    caption();
    draw();
    const pairs = shown.length * shown.length;
    const estimated = pairs > EXACT && picture.density > 0 && picture.density < 1;
    $("mask-density").append(make("small", {}, `${estimated ? "about " : ""}${count(picture.density * pairs)} of ${count(pairs)}`));
    buttons();
    staleTimes();
  }

  function fail(error) {
    wrong = true;
    const [line] = problem(error).split("\n");
    $("mask-error").textContent = line.replace(/^mask: /, "");
    $("mask-mirror").dataset.wrong = "";
    stage.dataset.stale = "";
    text.setAttribute("aria-invalid", "true");
    if (Number.isInteger(error.column)) mirror(error.column, error.length || 1);
    buttons();
  }

  /** Repeats the text behind itself, to give the field its height and to underline what is wrong. */
  function mirror(column, length) {
    const behind = $("mask-mirror").firstElementChild;
    const characters = [...text.value];
    if (column === undefined) {
      behind.replaceChildren(`${text.value}\u200b`);
      return;
    }
    // Columns count from where the trimmed text begins.
    const start = Math.min(column + characters.length - [...text.value.trimStart()].length, characters.length);
    const marked = characters.slice(start, start + length).join("") || "\u00a0";
    behind.replaceChildren(characters.slice(0, start).join(""), make("mark", { "data-column": start }, marked), `${characters.slice(start + length).join("")}\u200b`);
  }

  function draw() {
    if (!picture) return;
    const { rows, columns, elements, blocks, blockRows, blockColumns } = picture;
    const side = Math.round(stage.clientWidth * devicePixelRatio);
    if (side === 0) return;
    const [none, pale, mixed, full] = ["none", "pale", "mixed", "full"].map((name) => property(`--mask-${name}`));
    const shades = Uint32Array.from({ length: 256 }, (_, share) => word(mix(pale, mixed, share / 255)));
    const [hidden, whole] = [word(none), word(full)];
    const image = new ImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    const place = (index, cells) => Math.floor((((index + 0.5) / cells) * shown.length) / shown.block);
    const across = Array.from({ length: columns }, (_, x) => place(x, columns));
    for (let y = 0; y < rows; y += 1) {
      const first = place(y, rows) * blockColumns;
      for (let x = 0; x < columns; x += 1) {
        const kind = blocks[first + across[x]];
        const at = y * columns + x;
        pixels[at] = kind === 0 ? hidden : kind === 2 ? whole : shades[elements[at]];
      }
    }
    const small = new OffscreenCanvas(columns, rows);
    small.getContext("2d").putImageData(image, 0, 0);
    canvas.width = side;
    canvas.height = side;
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = columns > side;
    context.drawImage(small, 0, 0, side, side);
    const step = (side * shown.block) / shown.length;
    if (step < 5 * devicePixelRatio) return;
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--mask-grid");
    for (let line = 1; line < Math.max(blockRows, blockColumns); line += 1) {
      const at = Math.round(line * step);
      context.fillRect(at, 0, 1, side);
      context.fillRect(0, at, side, 1);
    }
  }

  function caption() {
    $("mask-caption").textContent = shown ? `${count(shown.length)} queries down, ${count(shown.length)} keys across, blocks of ${shown.block} × ${shown.block}.` : "";
  }

  /** Says what lies beneath the pointer. */
  function read(event) {
    if (!picture || wrong) return;
    const box = stage.getBoundingClientRect();
    const at = (offset, size) => Math.min(shown.length - 1, Math.max(0, Math.floor((offset / size) * shown.length)));
    const [q, k] = [at(event.clientY - box.top, box.height), at(event.clientX - box.left, box.width)];
    const kind = picture.blocks[Math.floor(q / shown.block) * picture.blockColumns + Math.floor(k / shown.block)];
    $("mask-caption").textContent = `Query ${count(q)}, key ${count(k)}: ${["hidden block, skipped", "partial block, tested key by key", "full block, no test needed"][kind]}.`;
  }

  function chips() {
    const choices = EXAMPLES.map(([name, expression]) => make("button", { type: "button", "data-expression": expression, onclick: () => {
      recipes.value = "";
      choose(expression, shown?.length < 512 ? 1024 : 0);
    } }, name));
    $("mask-chips").replaceChildren(...choices);
  }

  function pressed(expression) {
    for (const chip of $("mask-chips").children) chip.setAttribute("aria-pressed", String(chip.dataset.expression === expression));
  }

  async function list() {
    const known = await session.compute("recipes").catch(() => []);
    for (const { operator, name, source: paper, options, shape } of known) {
      if (operator !== "attention" || typeof options.mask !== "string" || options.tables) continue;
      const length = shape.split("x")[2]?.split(":")[0];
      recipes.append(make("option", { value: options.mask, "data-tokens": length, "data-source": paper }, name.replace(/-/g, " ")));
    }
  }

  // Timing.

  const button = $("mask-time");
  let timed = null;
  const run = startStop(button, measure, { wait: () => session.job });
  button.addEventListener("click", run);
  session.addEventListener("state", buttons);

  function buttons() {
    button.disabled = !("running" in button.dataset) && (session.state !== "ready" || wrong);
    if (session.state === "none") $("mask-time-note").textContent = "Timing needs a GPU; the picture does not.";
  }

  async function measure(signal, running) {
    const { expression } = shown;
    const length = session.software ? Math.min(shown.length, ON_CPU) : shown.length;
    const shape = `1x4x${length}x64`;
    const bars = $("mask-bars");
    const note = make("p", { class: "quiet", id: "mask-time-note" }, session.job ? `Waiting for: ${session.job}` : "Timing dense attention");
    bars.replaceChildren(bar("dense", "--dense"), bar("sparse", "--sparse"), note);
    try {
      await session.exclusive("timing a mask", async () => {
        running();
        const results = [];
        for (const [index, options] of [{}, { mask: expression }].entries()) {
          if (signal.aborted) break;
          note.textContent = `Timing ${["dense attention", "with the mask"][index]}, ${count(length)} tokens`;
          results.push(await session.call("time", { operator: "attention", shape, options, call: { seconds: 0.4 } }));
          const most = Math.max(...results.map((result) => result.medianMs));
          for (const [place, result] of results.entries()) fill(bars.children[place], result.medianMs, most);
        }
        if (results.length < 2) {
          note.textContent = "Stopped.";
          return;
        }
        const [dense, sparse] = results.map((result) => result.medianMs);
        const ratio = dense / sparse;
        const verdict = ratio >= 1.05 ? `${two(ratio)} times as fast` : ratio <= 0.95 ? `${two(1 / ratio)} times as slow` : "no faster";
        timed = { expression, length, shown: shown.length };
        note.replaceChildren(make("b", {}, `With the mask it is ${verdict}.`), ` ${count(length)} tokens, 4 heads, 64 wide, by the variant ${results[1].variant}.${length < shown.length ? " No more tokens are timed on a software adapter." : ""}`);
      });
    } catch (error) {
      note.textContent = problem(error);
    } finally {
      setTimeout(buttons);
    }
  }

  function staleTimes() {
    if (!timed || (timed.expression === shown.expression && timed.shown === shown.length)) return;
    $("mask-time-note").textContent = `These are times of ${timed.expression} at ${count(timed.length)} tokens.`;
  }

  // The address holds the mask, so that it can be shared.

  function readAddress() {
    const [part, query] = location.hash.slice(1).split("?");
    const values = new URLSearchParams(query ?? "");
    if (part !== "mask" || !values.has("m")) return false;
    if (shown && values.get("m") === shown.expression && Number(values.get("t")) === shown.length && Number(values.get("b")) === shown.block) return false;
    text.value = values.get("m");
    if (values.get("t")) tokens.value = values.get("t");
    if ([...block.options].some((option) => option.value === values.get("b"))) block.value = values.get("b");
    return true;
  }

  function writeAddress({ expression, length, block: edge }) {
    history.replaceState(null, "", `#mask?${new URLSearchParams({ m: expression, t: length, b: edge })}`);
  }

  return { expression: () => (wrong ? null : shown?.expression) };
}

/** Ratios of timings are not known better. */
const two = (ratio) => three(Number(ratio.toPrecision(2)));

function bar(name, colour) {
  return make("div", { class: "bar" }, make("span", {}, name), make("i", { style: `width: 0; background: var(${colour})` }), make("b", {}, ""));
}

function fill(row, ms, most) {
  row.children[1].style.width = `${(100 * ms) / most}%`;
  row.children[2].textContent = time(ms);
}
