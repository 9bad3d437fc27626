// Two to four EVSEs on one display: their price and the reader on one side, a row for each on the other.

import { el } from "./dom.js";
import { duration, energy, money } from "./figures.js";
import { pictureOf } from "./pictures.js";
import { badge, entrances, explanation, headline, kindOf, offer, pointing, receipt } from "./views.js";

// States in which somebody stands there and must read: their rows get more room.
const ATTENTION = new Set(["authorizing", "plug_in", "paid", "ended"]);

/** The whole screen for several EVSEs. `first` is the one that the focus goes to. */
export function overview(panels, context, { languages, first }) {
  const choosing = panels.some(({ view }) => view.choosing);
  return el(
    "article",
    { class: choosing ? "overview choosing" : "overview", "data-key": "overview" },
    el("div", { class: "side" }, el("div", { class: "offers" }, offers(panels, context)), bottom(panels, choosing, context, languages)),
    el("ul", { class: `rows of${panels.length}` }, panels.map((panel) => row(panel, context, first))),
  );
}

function bottom(panels, choosing, context, languages) {
  const free = panels.filter(({ view }) => view.kind === "idle");
  const { view } = free.find(({ view }) => view.terminal) ?? free[0] ?? panels[0];
  const places = entrances(view, context);
  return el(
    "div",
    { class: "bottom" },
    el(
      "section",
      { class: "prompt" },
      choosing || places.length > 1 ? null : pointing(places[0]),
      el("h1", { class: "action" }, choosing ? context.words.choose : places[0].brief),
    ),
    el("div", { class: "buttons" }, languages),
  );
}

/** Each price that a next driver can have, once, with the labels of its EVSEs where prices differ. */
function offers(panels, context) {
  const groups = new Map();
  const open = panels.filter(({ view }) => ["idle", "ended"].includes(view.kind));
  for (const { view } of open.length ? open : panels) {
    const price = JSON.stringify(view.price);
    const group = groups.get(price) ?? { view, labels: [] };
    if (view.kind === "idle") group.view = view; // the one that names the hold
    group.labels.push(view.label);
    groups.set(price, group);
  }
  const several = groups.size > 1;
  return [...groups.values()].map(({ view, labels }) =>
    el(
      "div",
      { class: several ? "group several" : "group" },
      several ? el("p", { class: "labels" }, labels.map((label) => el("span", { class: "badge" }, label))) : null,
      offer(view, context, { brief: true }),
    ),
  );
}

function row(panel, context, first) {
  const { view } = panel;
  const press = { do: view.choosing && context.settings.actions ? "choose" : "open", evse: view.evse_id };
  return el(
    "li",
    { class: `row ${kindOf(view)} ${emphasis(view)}`, "data-key": view.evse_id },
    el(
      "button",
      { press, "data-first": view.evse_id === first },
      badge(view, context),
      panel.qr ? null : pictureOf(kindOf(view), "state"),
      el("span", { class: "texts" }, el("b", {}, titleOf(view, context)), summary(view, context)),
    ),
    view.kind === "paid" && panel.qr ? receipt(panel, context) : null,
  );
}

const emphasis = (view) => (view.choosing ? "wanted" : ATTENTION.has(view.kind) ? "attention" : "");

function titleOf(view, context) {
  const { words, locale } = context;
  if (view.kind === "idle") return view.choosing ? words.choose_this : words.free;
  if (view.kind !== "paid" || view.cost_minor === null) return headline(view, context);
  return `${words.total} ${money(view.cost_minor, view, locale)}`;
}

/** One or two figures or a short sentence: the rest is a touch away. */
function summary(view, context) {
  const { words, locale } = context;
  const cost = view.cost_minor === null ? words.unknown : money(view.cost_minor, view, locale);
  const used = view.energy_wh === null ? words.unknown : energy(view.energy_wh, locale);
  switch (view.kind) {
    case "idle":
    case "preparing":
      return null;
    case "charging":
    case "suspended":
    case "stopping":
      return el("span", { class: "sum" }, el("span", {}, cost), el("span", {}, used));
    case "paid":
      return el("span", { class: "sum" }, used);
    case "plug_in": {
      const left = context.secondsLeft(view);
      return el("span", { class: "sum" }, left === null ? words.next.plug_in : `${words.time_left} ${duration(left)}`);
    }
    case "ended":
    case "out_of_order":
      return el("span", { class: "sum" }, explanation(view, context));
    default:
      return el("span", { class: "sum" }, words.next[view.kind]);
  }
}
