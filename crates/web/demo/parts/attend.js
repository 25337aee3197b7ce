// Part 4: the attention of a real paragraph. Weights come out of the kernels exactly: with the identity as v, o is the matrix.

import { $, make, problem, tiny } from "../dom.js";
import { property, ramp, tone } from "../ramps.js";
import { parse } from "../safetensors.js";

export function mountAttention(session) {
  const heat = $("heat");
  const canvas = $("heat-canvas");
  const cross = $("heat-cross");
  let sample = null;
  let weights = null;
  let head = 0;
  let query = 0;
  let key = -1;
  let busy = null;
  let frame = 0;
  const matrices = [];

  document.addEventListener("colours", () => weights && drawAll());
  new ResizeObserver(() => matrices[head] && drawMatrix()).observe($("attention"));
  heat.addEventListener("pointermove", point);
  heat.addEventListener("pointerdown", point);
  heat.addEventListener("pointerleave", () => {
    key = -1;
    show();
  });
  heat.addEventListener("keydown", move);

  /** Computes the weights: on the device if there is one, else by the reference. */
  function start() {
    busy ??= compute().finally(() => {
      busy = null;
    });
    return busy;
  }

  async function compute() {
    const line = $("attention-check");
    try {
      sample ??= await load();
      const { q, k, v, o: stored, scale, length, heads } = sample;
      const own = identity(heads, length);
      const problems = [{ q, k, v: own, scale }, { q, k, v, scale }];
      const onDevice = session.state === "ready";
      line.textContent = onDevice ? "Computing on your GPU." : "Computing on your CPU.";
      const expected = session.compute("reference", { operator: "attention", problem: problems[0] });
      expected.catch(() => {});
      const call = onDevice
        ? (one) => session.call("attention", { problem: one })
        : (one) => session.compute("reference", { operator: "attention", problem: one });
      const compute = async () => {
        const matrix = onDevice ? await call(problems[0]) : await expected;
        weights = matrix.o.data;
        await drawAll();
        return call(problems[1]);
      };
      const result = await (onDevice ? session.exclusive("attention", compute) : compute());
      const model = off(result.o.data, stored.data);
      if (!onDevice) {
        judge(line, model < 1e-4, "Computed by the reference on your CPU", `: relative error ${tiny(model)} against the model's own output.`);
        return;
      }
      line.textContent = "Computed on your GPU; the CPU is checking it.";
      const error = off(weights, (await expected).o.data);
      const right = error < 1e-4 && model < 1e-4;
      judge(line, right, right ? "Computed on your GPU and right" : "Computed on your GPU and wrong", `: relative error ${tiny(error)} against the CPU reference, ${tiny(model)} against the model's own output.`);
    } catch (error) {
      line.textContent = problem(error);
    }
  }

  function judge(line, right, word, rest) {
    line.toggleAttribute("data-bad", !right);
    line.replaceChildren(make("b", {}, word), rest);
  }

  async function load() {
    const [file, tokens] = await Promise.all([
      fetch("sample.safetensors").then((answer) => {
        if (!answer.ok) throw new Error(`The sample could not be loaded: ${answer.status}.`);
        return answer.arrayBuffer();
      }),
      fetch("sample-tokens.json").then((answer) => (answer.ok ? answer.json() : [])).catch(() => []),
    ]);
    const { tensors, metadata } = parse(file);
    const [, heads, length] = tensors.q.shape;
    const names = JSON.parse(metadata.heads ?? "[]");
    const { scale } = JSON.parse(metadata.foveal ?? "{}");
    return {
      ...tensors,
      scale,
      heads,
      length,
      names: Array.from({ length: heads }, (_, index) => names[index] ?? `head ${index}`),
      tokens: Array.from({ length }, (_, index) => tokens[index] ?? `${index}`),
    };
  }

  const row = (at = query) => weights.subarray((head * sample.length + at) * sample.length, (head * sample.length + at + 1) * sample.length);
  const word = (index) => sample.tokens[index].replace(/^##/, "");

  // Pictures.

  async function drawAll() {
    const { length, heads, names } = sample;
    const table = ramp();
    for (let index = 0; index < heads; index += 1) {
      const image = new ImageData(length, length);
      const pixels = new Uint32Array(image.data.buffer);
      const offset = index * length * length;
      for (let at = 0; at < length * length; at += 1) pixels[at] = table[Math.round(tone(weights[offset + at]) * 255)];
      matrices[index] ??= make("canvas", { width: length, height: length, "aria-hidden": "true" });
      matrices[index].getContext("2d").putImageData(image, 0, 0);
      // A head at a time, so that the page stays quick.
      await new Promise((resolve) => setTimeout(resolve));
    }
    if ($("heads").childElementCount === 0) {
      $("heads").replaceChildren(...names.map((name, index) => make("button", { type: "button", class: "head", role: "radio", onclick: () => select(index), onkeydown: arrows }, matrices[index], name)));
      heat.setAttribute("aria-valuemax", length - 1);
      sentence();
      query = Math.min(14, length - 1);
      head = heads - 1;
    }
    const scale = new ImageData(256, 1);
    new Uint32Array(scale.data.buffer).set(table);
    $("heat-scale").getContext("2d").putImageData(scale, 0, 0);
    select(head);
  }

  function select(index) {
    head = index;
    for (const [at, button] of [...$("heads").children].entries()) {
      button.setAttribute("aria-checked", String(at === head));
      button.tabIndex = at === head ? 0 : -1;
    }
    drawMatrix();
  }

  function arrows(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    select((head + step + sample.heads) % sample.heads);
    $("heads").children[head].focus();
  }

  /** Draws the head, on plain screens so that each weight is a square of whole pixels. */
  function drawMatrix() {
    const { length } = sample;
    const room = Math.min($("attention").clientWidth - 26, innerWidth > 1020 ? 560 : 720);
    // On dense screens uneven squares go unseen, and a small picture would be a pity.
    const exact = (room * devicePixelRatio) / length;
    const side = Math.floor(Math.max(1, devicePixelRatio < 1.5 ? Math.floor(exact) : exact) * length);
    for (const one of [canvas, cross]) {
      one.width = side;
      one.height = side;
      one.style.width = `${side / devicePixelRatio}px`;
      one.style.height = one.style.width;
    }
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(matrices[head], 0, 0, canvas.width, canvas.height);
    show();
  }

  function show() {
    if (!weights) return;
    const { length } = sample;
    const values = row();
    const pixels = cross.width / length;
    const context = cross.getContext("2d");
    context.clearRect(0, 0, cross.width, cross.height);
    const [r, g, b] = property("--accent");
    context.strokeStyle = `rgb(${r} ${g} ${b})`;
    context.lineWidth = Math.max(1, Math.round(devicePixelRatio * 1.5));
    const pad = context.lineWidth;
    context.strokeRect(pad / 2, query * pixels - pad / 2, cross.width - pad, pixels + pad);
    if (key >= 0) context.strokeRect(key * pixels - pad / 2, pad / 2, pixels + pad, cross.height - pad);

    const order = Array.from(values.keys()).sort((one, other) => values[other] - values[one]).slice(0, 6);
    const sum = values.reduce((total, value) => total + value, 0);
    const most = values[order[0]];
    const top = `“${word(query)}” (token ${query}) draws most from “${word(order[0])}”, ${share(most)}`;
    heat.setAttribute("aria-valuenow", query);
    heat.setAttribute("aria-valuetext", top);
    const here = key >= 0 ? `From “${word(key)}” (token ${key}): ${share(values[key])}.` : `All ${length} weights add up to ${sum.toFixed(5)}.`;
    $("reading").replaceChildren(make("b", {}, `“${word(query)}”`), ` (token ${query}) draws most from `, make("b", {}, `“${word(order[0])}”`), `, ${share(most)}.`, make("br"), make("span", { class: "quiet", "data-sum": sum }, here));
    $("heat-bars").replaceChildren(...order.map((index) => make("li", {}, make("span", {}, `${word(index)}`), make("i", { style: `width: ${(100 * values[index]) / most}%` }), make("b", {}, share(values[index])))));
    for (const [index, span] of [...$("sentence").children].entries()) {
      span.style.backgroundColor = `rgb(${r} ${g} ${b} / ${(tone(values[index]) * 0.62).toFixed(3)})`;
      span.classList.toggle("asks", index === query);
      span.title = share(values[index]);
    }
  }

  const share = (value) => `${(value * 100).toFixed(value < 0.001 ? 3 : value < 0.1 ? 2 : 1)} %`;

  function sentence() {
    const nodes = [];
    for (const [index, token] of sample.tokens.entries()) {
      const glued = token.startsWith("##") || /^[.,:;!?]$/.test(token);
      if (index > 0 && !glued) nodes.push(" ");
      nodes.push(make("span", { class: token.startsWith("[") ? "special" : undefined, onclick: () => {
        query = index;
        key = -1;
        show();
      } }, word(index)));
    }
    $("sentence").replaceChildren(...nodes);
  }

  // Choosing a token.

  function point(event) {
    if (!weights) return;
    const box = canvas.getBoundingClientRect();
    const at = (offset, size) => Math.min(sample.length - 1, Math.max(0, Math.floor((offset / size) * sample.length)));
    const [nextQuery, nextKey] = [at(event.clientY - box.top, box.height), at(event.clientX - box.left, box.width)];
    if (nextQuery === query && nextKey === key) return;
    [query, key] = [nextQuery, nextKey];
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      show();
    });
  }

  function move(event) {
    if (!weights) return;
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -1e6, End: 1e6 }[event.key];
    if (!step) return;
    event.preventDefault();
    query = Math.min(sample.length - 1, Math.max(0, query + step));
    key = -1;
    show();
  }

  return { start };
}

function identity(heads, length) {
  const data = new Float32Array(heads * length * length);
  for (let row = 0; row < heads * length; row += 1) data[row * length + (row % length)] = 1;
  return { data, shape: [1, heads, length, length] };
}

/** Relative RMSE. */
function off(values, expected) {
  let [difference, size] = [0, 0];
  for (let index = 0; index < expected.length; index += 1) {
    difference += (values[index] - expected[index]) ** 2;
    size += expected[index] ** 2;
  }
  return Math.sqrt(difference / size);
}
