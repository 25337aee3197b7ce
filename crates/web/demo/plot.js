// A plot with logarithmic axes, as SVG.

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Where two lines of points `[x, y]` cross for good, between the last points at which their order changes; `null` if they do not. */
export function crossing(one, other) {
  const theirs = new Map(other);
  const common = one.filter(([x]) => theirs.has(x)).map(([x, y]) => [Math.log(x), Math.log(y), Math.log(theirs.get(x))]);
  let found = null;
  for (let index = 1; index < common.length; index += 1) {
    const [x0, a0, b0] = common[index - 1];
    const [x1, a1, b1] = common[index];
    const [before, after] = [b0 - a0, b1 - a1];
    if (before * after > 0 || before === after) continue;
    const share = before / (before - after);
    found = { x: Math.exp(x0 + share * (x1 - x0)), y: Math.exp(a0 + share * (a1 - a0)), below: after < 0 };
  }
  return found;
}

const unit = (ms) => (ms >= 1000 ? `${ms / 1000} s` : ms >= 1 ? `${ms} ms` : `${Math.round(ms * 1000)} µs`);

/**
 * Draws lines `{ name, kind, points: [[x, ms]] }` over `xs`, with crossings `{ x, y, text }` marked.
 */
export function plot(place, { xs, lines, crossings }) {
  const width = Math.max(280, place.clientWidth);
  const height = width < 560 ? 320 : 400;
  const margin = { left: 58, right: width < 560 ? 62 : 74, top: 16, bottom: 48 };
  const values = lines.flatMap((line) => line.points.map(([, y]) => y));
  const low = Math.floor(Math.log10(Math.min(...values, 0.999)));
  const high = Math.max(low + 2, Math.ceil(Math.log10(Math.max(...values, 1.001))));
  const [first, last] = [Math.log2(xs[0]), Math.log2(xs.at(-1))];
  const x = (value) => margin.left + ((Math.log2(value) - first) / (last - first)) * (width - margin.left - margin.right);
  const y = (value) => height - margin.bottom - ((Math.log10(value) - low) / (high - low)) * (height - margin.top - margin.bottom);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Time against length on logarithmic axes; the same numbers stand in the table below" });

  for (let power = low; power <= high; power += 1) {
    const at = y(10 ** power);
    root.append(svg("line", { class: "grid", x1: margin.left, x2: width - margin.right, y1: at, y2: at }));
    root.append(svg("text", { x: margin.left - 8, y: at + 4, "text-anchor": "end" }, unit(10 ** power)));
  }
  const skip = (width - margin.left - margin.right) / (xs.length - 1) < 50 ? 2 : 1;
  for (const [index, value] of xs.entries()) {
    const at = x(value);
    root.append(svg("line", { class: "grid", x1: at, x2: at, y1: margin.top, y2: height - margin.bottom }));
    if ((xs.length - 1 - index) % skip === 0) root.append(svg("text", { x: at, y: height - margin.bottom + 20, "text-anchor": "middle" }, value.toLocaleString("en")));
  }
  root.append(svg("line", { class: "axis", x1: margin.left, x2: width - margin.right, y1: height - margin.bottom, y2: height - margin.bottom }));
  root.append(svg("text", { x: (margin.left + width - margin.right) / 2, y: height - 6, "text-anchor": "middle" }, "tokens"));

  const labels = [];
  for (const { name, kind, points } of lines) {
    if (points.length === 0) continue;
    const group = svg("g", { class: `series series-${kind}`, "data-points": points.length });
    group.append(svg("path", { class: "line", d: points.map(([at, ms], index) => `${index ? "L" : "M"}${x(at).toFixed(1)} ${y(ms).toFixed(1)}`).join("") }));
    for (const [at, ms] of points) {
      const mark = shape(kind, x(at), y(ms));
      mark.append(svg("title", {}, `${name}, ${at.toLocaleString("en")} tokens: ${ms.toPrecision(3)} ms`));
      group.append(mark);
    }
    root.append(group);
    const [at, ms] = points.at(-1);
    labels.push({ group, name, x: x(at) + 10, y: y(ms) + 4 });
  }
  labels.sort((one, other) => one.y - other.y);
  for (let index = 1; index < labels.length; index += 1) {
    const [above, label] = [labels[index - 1], labels[index]];
    if (Math.abs(above.x - label.x) < 70) label.y = Math.max(label.y, above.y + 16);
  }
  for (const { group, name, x: left, y: top } of labels) group.append(svg("text", { class: "name", x: left, y: top }, name));

  for (const { x: at, y: ms } of crossings) {
    root.append(svg("line", { class: "drop", x1: x(at), x2: x(at), y1: y(ms) + 6, y2: height - margin.bottom }));
  }
  for (const [index, { x: at, y: ms, text }] of crossings.entries()) {
    const [left, top] = [x(at), y(ms)];
    root.append(svg("circle", { class: "cross", cx: left, cy: top, r: 6 }));
    const end = left > width * 0.55;
    root.append(svg("text", { class: "cross-name", x: left + (end ? -6 : 6), y: height - margin.bottom - 10 - index * 18, "text-anchor": end ? "end" : "start" }, text));
  }
  place.replaceChildren(root);
}

/** A mark of its own for each line: colours alone do not tell them apart for everybody. */
function shape(kind, x, y) {
  if (kind === "sparse") return svg("rect", { class: "point", x: x - 4.5, y: y - 4.5, width: 9, height: 9 });
  if (kind === "linear") return svg("path", { class: "point", d: `M${x} ${y - 6}L${x + 6} ${y}L${x} ${y + 6}L${x - 6} ${y}Z` });
  return svg("circle", { class: "point", cx: x, cy: y, r: 5 });
}
