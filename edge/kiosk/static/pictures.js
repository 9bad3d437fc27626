// The pictures: lines in the text's color, drawn for this screen. Each says nothing that words do not say too.

import { el } from "./dom.js";

const path = (d) => ["path", { d }];
const rect = (x, y, width, height, rx) => ["rect", { x, y, width, height, rx }];
const circle = (cx, cy, r) => ["circle", { cx, cy, r }];

const SHAPES = {
  card: [rect(8, 26, 62, 44, 6), path("M8 40h62M18 58h16"), path("M78 34q8 14 0 28M86 28q12 20 0 40")],
  terminal: [rect(24, 6, 48, 84, 8), rect(34, 18, 28, 20, 3), path("M36 52h.1M48 52h.1M60 52h.1M36 64h.1M48 64h.1M60 64h.1M36 76h24")],
  plug: [path("M34 8v18M62 8v18M24 26h48v16q0 20-24 20t-24-20zM48 62v12q0 14 14 14h26")],
  bolt: [path("M54 6 22 54h24l-6 36 34-50H50z")],
  pause: [circle(48, 48, 40), path("M38 32v32M58 32v32")],
  check: [circle(48, 48, 40), path("m29 49 14 14 25-29")],
  wait: [circle(48, 48, 40), path("M48 22v26l17 12")],
  fault: [path("M48 10 90 84H6zM48 36v22M48 70v2")],
  none: [circle(48, 48, 40), path("M28 48h40")],
  lock: [rect(18, 42, 60, 44, 6), path("M30 42V30q0-18 18-18t18 18v12M48 60v10")],
  arrow: [path("M8 48h74M56 20l28 28-28 28")],
};

const OF_KIND = {
  starting_up: "wait",
  out_of_order: "fault",
  idle: "card",
  authorizing: "wait",
  plug_in: "plug",
  preparing: "plug",
  charging: "bolt",
  suspended: "pause",
  stopping: "lock",
  paid: "check",
  ended: "none",
};

/** One picture as an SVG element that screen readers pass over. */
export function picture(name, extra = "") {
  const shapes = SHAPES[name].map(([tag, attributes]) => el(tag, attributes));
  return el("svg", { class: `picture ${extra}`, viewBox: "0 0 96 96", "aria-hidden": "true" }, shapes);
}

/** The picture of a state. */
export const pictureOf = (kind, extra) => picture(OF_KIND[kind], extra);

/** Power over time: a line with a gap wherever the meter did not say, and the area below it. */
export function curve(points, label) {
  const [width, height] = [600, 150];
  const last = Math.max(points.at(-1)?.[0] ?? 0, 60);
  const top = Math.max(1000, ...points.map(([, w]) => w ?? 0)) * 1.1;
  const x = (s) => ((s / last) * width).toFixed(1);
  const y = (w) => (height - (w / top) * height).toFixed(1);
  const runs = [[]];
  for (const [s, w] of points) {
    if (w === null) runs.push([]);
    else runs.at(-1).push([s, w]);
  }
  const drawn = runs.filter((run) => run.length > 0);
  const line = (run) => run.map(([s, w]) => `${x(s)} ${y(w)}`).join("L");
  const area = (run) => `M${x(run[0][0])} ${height}L${line(run)}L${x(run.at(-1)[0])} ${height}z`;
  return el(
    "svg",
    { class: "curve", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
    el("path", { class: "area", d: drawn.map(area).join("") }),
    el("path", { class: "line", d: drawn.map((run) => `M${line(run)}`).join("") }),
  );
}
