// Colour ramps for pictures, by scheme.

const INFERNO = ["#000004", "#1b0c41", "#4a0c6b", "#781c6d", "#a52c60", "#cf4446", "#ed6925", "#fb9b06", "#f7d13d", "#fcffa4"];
const PAPER = ["#ffffff", "#fdf0c4", "#fbd07a", "#f5a04a", "#e66a3a", "#c53f50", "#93296a", "#5f1d6b", "#33124f", "#120a2c"];

/** `#rrggbb` as three numbers. */
export function rgb(hex) {
  const value = Number.parseInt(hex.trim().slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** A custom property of the page, as three numbers. */
export function property(name) {
  return rgb(getComputedStyle(document.documentElement).getPropertyValue(name));
}

export const mix = (a, b, share) => a.map((value, index) => value + (b[index] - value) * share);

/** A colour as one word of an `ImageData`, whose bytes are red, green, blue and opacity. */
export const word = ([red, green, blue]) => ((255 << 24) | (Math.round(blue) << 16) | (Math.round(green) << 8) | Math.round(red)) >>> 0;

/** 256 colours as words: the least weight is the page's ground, the largest stands out most. */
export function ramp() {
  const stops = (document.documentElement.dataset.scheme === "dark" ? INFERNO : PAPER).map(rgb);
  const table = new Uint32Array(256);
  for (let index = 0; index < 256; index += 1) {
    const at = (index / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    table[index] = word(mix(stops[low], stops[low + 1], at - low));
  }
  return table;
}

/** Weights below this are shown as nothing: a logarithmic scale has to begin somewhere. */
const LEAST = 1e-3;

/** Where a weight lies on the scale from 0.001 to 1, which is logarithmic: weights of interest differ by factors. */
export function tone(weight) {
  return Math.min(1, Math.max(0, 1 - Math.log(Math.max(weight, LEAST)) / Math.log(LEAST)));
}
