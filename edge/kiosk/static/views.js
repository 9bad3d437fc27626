// One EVSE on the whole screen: price first, then the one thing to do next, then what happens.

import { el } from "./dom.js";
import { duration, energy, money, power } from "./figures.js";
import { curve, picture, pictureOf } from "./pictures.js";

/** The words for a code, or those for "other" when a newer till sends one that this page does not know. */
export const wordsFor = (table, code) => table[code] ?? table.other ?? "";

/** A sentence with its {figures} in place. */
export const filled = (sentence, figures) => sentence.replace(/\{(\w+)\}/g, (_, name) => figures[name]);

// Reasons to end that the driver gave: nobody needs to be told. Null is none that the till would name.
const BY_DRIVER = new Set([null, "card", "unplugged", "screen"]);

// Reasons that another card may not have.
const OF_CARD = new Set([
  "amount_refused",
  "card_blocked",
  "card_declined",
  "card_expired",
  "card_not_accepted",
  "card_unknown",
  "card_unreadable",
  "currency",
  "insufficient_funds",
  "limit_reached",
  "list_too_old",
  "method_missing",
  "offline_limit",
  "pin_required",
]);

/** The state to draw: one that ended without anything to pay, but with energy, was a free charge. */
export const kindOf = (view) => (view.kind === "ended" && view.energy_wh > 0 ? "paid" : view.kind);

/** What a screen reader says, and the heading shows, for a state. */
export function headline(view, { words }) {
  return words.kinds[kindOf(view)];
}

/** The letter on the bay and its cable; a screen reader hears what it is. */
export const badge = ({ label }, { words }) =>
  el("span", { class: "badge" }, el("span", { class: "heard" }, `${words.bay} `), label);

/** The line below the heading, where a state has one. */
function subtitle(view, context) {
  switch (view.kind) {
    case "charging":
    case "suspended":
    case "stopping":
      return view.power_w === null ? "" : filled(context.words.power_now, { power: power(view.power_w, context.locale) });
    case "paid":
      return explanation(view, context);
    case "idle":
      return view.vehicle_connected ? context.words.cable_in : "";
    default:
      return "";
  }
}

/** The sentence below the heading: why, or what to do next. */
export function explanation(view, context) {
  const { words } = context;
  switch (view.kind) {
    case "idle": {
      const cable = view.vehicle_connected ? [words.cable_in] : [];
      return [...cable, ...entrances(view, context).map(({ text }) => text)].join(". ");
    }
    case "charging":
      return words.stop_how;
    case "suspended":
      return words.pauses[view.by ?? "ev"];
    case "out_of_order":
      return wordsFor(words.reasons, view.reason);
    case "ended":
      return wordsFor(words.reasons, view.reason === "limit" ? "hold_too_small" : view.reason);
    case "paid":
      return view.vehicle_connected === false ? "" : words.unplug;
    default:
      return words.next[view.kind];
  }
}

/** Where a card may be held now, and which: a terminal takes bank cards, a reader those of members. */
export function entrances(view, { words, settings: { reader, terminal } }) {
  const desk = { picture: "terminal", side: terminal, text: words.tap_terminal, brief: words.tap_short_terminal };
  const any = { picture: "card", side: reader, text: words.tap, brief: words.tap_short };
  const member = { picture: "card", side: reader, text: words.tap_member, brief: words.tap_short_member };
  if (!view.terminal) return [view.offered_hold_minor === null ? member : any];
  if (reader === null) return [desk];
  return [
    { ...desk, text: words.tap_bank, brief: words.tap_short_both },
    { ...member, text: words.tap_card, brief: words.tap_short_both },
  ];
}

/** What is held where, with an arrow that points there. */
export const pointing = ({ picture: name, side }) =>
  el("div", { class: `pictures ${side ?? ""}` }, picture(name), side ? picture("arrow", "arrow") : null);

/** The complete price in the chosen language: the first line large, the others below it, then the hold. */
export function offer(view, context, { brief = false } = {}) {
  const { words, locale } = context;
  const [language, lines] = priceIn(context.language, view.price);
  if (lines.length === 0) return el("section", { class: "offer" }, el("p", { class: "label" }, words.price_unknown));
  const [common, [first, ...others]] = shared(lines);
  const reserved = view.kind === "idle" && view.offered_hold_minor !== null ? money(view.offered_hold_minor, view, locale) : null;
  const hold = (sentence, length) => el("p", { class: `hold ${length}` }, filled(sentence, { amount: reserved }));
  return el(
    "section",
    { class: `offer ${brief ? "brief" : ""}`, "aria-label": words.price },
    el("p", { class: "label", lang: language }, first.label, first.note ? el("small", {}, ` · ${first.note}`) : null),
    amount(first.amount),
    others.length ? el("ul", { class: "lines", lang: language }, others.map(priceLine)) : null,
    common ? el("p", { class: "common" }, filled(words.all_prices, { note: common })) : null,
    view.fallback ? el("p", { class: "fallback" }, words.fallback) : null,
    reserved === null ? null : [hold(words.hold, "full"), hold(words.hold_short, "short")],
  );
}

/** The price in this language, or in another one that is then named; the till may know fewer than the page. */
function priceIn(language, price) {
  if (price[language]) return [null, price[language]];
  return Object.entries(price)[0] ?? [null, []];
}

/** What every line's note says, such as the tax, and the lines without it: said once, it is read. */
function shared(lines) {
  if (lines.length === 1) return ["", lines];
  const notes = lines.map(({ note }) => note.split(", "));
  const common = notes[0].filter((part) => notes.every((parts) => parts.includes(part)));
  const own = (note) => note.split(", ").filter((part) => !common.includes(part)).join(", ");
  return [common.join(", "), lines.map((line) => ({ ...line, note: own(line.note) }))];
}

/** "0,49 €/kWh" with the unit smaller than the figure; long amounts in a smaller size, so that nothing is cut. */
function amount(text) {
  const slash = text.indexOf("/");
  const [figure, unit] = slash < 0 ? [text, ""] : [text.slice(0, slash), text.slice(slash)];
  const size = text.length > 16 ? "small" : text.length > 11 ? "medium" : "large";
  return el("p", { class: `amount ${size}` }, figure, el("span", { class: "per" }, unit));
}

function priceLine(line) {
  return el(
    "li",
    {},
    el("span", {}, line.label),
    el("b", {}, line.amount),
    line.note ? el("small", {}, line.note) : null,
  );
}

/** The picture and words of the next single action. */
function prompt(view, context, ...more) {
  const action = (text) => el("p", { class: "action" }, text);
  if (view.kind === "idle") {
    const places = entrances(view, context);
    const parts = places.map((place) => el("div", { class: "place" }, pointing(place), action(place.text)));
    return el("section", { class: places.length > 1 ? "prompt idle several-places" : "prompt idle" }, parts);
  }
  if (view.kind === "ended") {
    const [place, ...others] = entrances(view, context);
    const text = OF_CARD.has(view.reason) ? context.words.next.other_card : context.words.next.ended;
    return el("section", { class: "prompt ended" }, pointing(others.length ? { picture: "card" } : place), action(text));
  }
  const shown = el("div", { class: "pictures" }, pictureOf(view.kind));
  return el("section", { class: `prompt ${view.kind}` }, shown, action(explanation(view, context)), ...more);
}

function figure(label, text, extra = "") {
  const size = text.length > 12 ? "long" : "";
  return el("div", { class: `figure ${extra} ${size}` }, el("dt", {}, label), el("dd", {}, text));
}

function costOf(view, { words, locale }) {
  if (view.cost_minor === null) return words.unknown;
  return `${view.estimated ? "≈\u00a0" : ""}${money(view.cost_minor, view, locale)}`;
}

const known = (value, write, { words, locale }) => (value === null ? words.unknown : write(value, locale));

function used(view, context) {
  const { words } = context;
  return [
    figure(words.energy, known(view.energy_wh, energy, context)),
    figure(words.time, known(view.seconds, duration, context)),
  ];
}

function waiting(view, context) {
  return [offer(view, context), prompt(view, context)];
}

/** Accepted, and something is to be done or awaited: that comes first now, with the price still in sight. */
function starting(view, context) {
  const { words } = context;
  const left = context.secondsLeft(view);
  const clock = left === null ? null : el("dl", { class: "clock" }, figure(words.time_left, duration(left), "large"));
  const code = view.stop_code ? el("dl", { class: "code" }, figure(words.stop_code, view.stop_code, "large")) : null;
  return [prompt(view, context, clock), el("div", { class: "beside" }, offer(view, context), code)];
}

const ROW_CHARACTERS = 25; // what stands in one row of large figures on the smallest panel

function metered(view, { panel, ...context }) {
  const { words, locale } = context;
  const now = known(view.power_w, power, context);
  const peak = power(Math.max(0, ...panel.curve.map(([, w]) => w ?? 0)), locale);
  const limit = view.hold_minor === null ? null : filled(words.limit, { amount: money(view.hold_minor, view, locale) });
  const labels = [view.estimated ? words.cost_estimated : words.cost, words.energy, words.time];
  const texts = [costOf(view, context), known(view.energy_wh, energy, context), known(view.seconds, duration, context)];
  const classes = [view.cost_minor, view.energy_wh, view.seconds].map((v) => (v === null ? "large unknown" : "large"));
  classes[1] += " energy";
  return [
    el(
      "dl",
      { class: texts.join("").length > ROW_CHARACTERS ? "figures tight" : "figures" },
      labels.map((label, i) => figure(label, texts[i], classes[i])),
    ),
    el(
      "section",
      { class: "course" },
      curve(panel.curve, filled(words.curve, { power: now, peak })),
    ),
    el(
      "footer",
      { class: "foot" },
      el("div", {}, el("p", { class: "how" }, explanation(view, context)), limit ? el("p", {}, limit) : null),
      view.stoppable && context.settings.actions
        ? el("button", { class: "stop", "data-first": true, press: { do: "ask-code", evse: view.evse_id } }, words.stop)
        : null,
    ),
  ];
}

/** The receipt's QR code, or where to find the receipt later. */
export function receipt(panel, { words }) {
  const { view, qr } = panel;
  const number = view.invoice_number ? el("p", { class: "number" }, `${words.receipt_number} `, el("b", {}, view.invoice_number)) : null;
  const later = view.invoice_number ? words.receipt_later : view.pending ? words.receipt_pending : words.receipt_monthly;
  if (qr === null) return el("section", { class: "receipt" }, el("p", {}, later), number);
  const offline = view.online === false;
  return el(
    "section",
    { class: offline ? "receipt offline" : "receipt" },
    el("img", { class: "qr", src: qr, alt: words.receipt }),
    el("p", {}, offline ? words.receipt_offline : words.receipt),
    number,
  );
}

function paid(view, { panel, ...context }) {
  const { words, locale } = context;
  const freed = view.hold_minor === null || view.cost_minor === null ? 0 : view.hold_minor - view.cost_minor;
  const released =
    freed > 0 && view.paid_method !== "account"
      ? `. ${filled(words.released, { amount: money(freed, view, locale), hold: money(view.hold_minor, view, locale) })}`
      : "";
  const how = view.pending ? words.pending : wordsFor(words.methods, view.paid_method) + released;
  return [
    el(
      "section",
      { class: "total" },
      el(
        "dl",
        { class: "figures" },
        figure(view.estimated ? words.total_estimated : words.total, costOf(view, context), "huge"),
        used(view, context),
      ),
      el("p", {}, how),
      BY_DRIVER.has(view.reason) ? null : el("p", {}, wordsFor(words.reasons, view.reason)),
    ),
    receipt(panel, context),
  ];
}

const LONG = 48; // characters: more than three lines of the large size

const why = (text) => el("p", { class: text.length > LONG ? "why long" : "why" }, text);

function ended(view, context) {
  const nothing = view.cost_minor === null || view.cost_minor === 0;
  return [
    el(
      "section",
      { class: "explain" },
      why(explanation(view, context)),
      view.energy_wh > 0 ? el("dl", { class: "figures" }, used(view, context)) : null,
      nothing ? el("p", { class: "how" }, context.words.nothing_to_pay) : null,
      view.pending ? el("p", {}, context.words.releasing) : null,
    ),
    prompt(view, context),
  ];
}

function unavailable(view, { words, settings }) {
  const broken = view.kind === "out_of_order";
  return [
    el(
      "section",
      { class: "explain wide" },
      pictureOf(view.kind),
      why(broken ? wordsFor(words.reasons, view.reason) : words.next.starting_up),
      broken ? el("p", { class: "how" }, words.next.out_of_order) : null,
      broken && settings.support ? el("p", {}, `${words.support}: `, el("b", {}, settings.support)) : null,
    ),
  ];
}

const BODY = {
  starting_up: unavailable,
  out_of_order: unavailable,
  idle: waiting,
  authorizing: starting,
  plug_in: starting,
  preparing: starting,
  charging: metered,
  suspended: metered,
  stopping: metered,
  paid,
  ended,
};

/** The whole screen for one EVSE. `context.panel` is its panel; `back` is there when others are on display too. */
export function single(context, { back, languages }) {
  const { view } = context.panel;
  const title = el(
    "header",
    { class: "head" },
    badge(view, context),
    pictureOf(kindOf(view), "state"),
    el(
      "div",
      { class: "titles" },
      el("h1", {}, headline(view, context)),
      el("p", {}, subtitle(view, context)),
    ),
    el("div", { class: "buttons" }, back, languages),
  );
  return el("article", { class: `single ${kindOf(view)}`, "data-key": view.kind }, title, ...BODY[view.kind](view, context));
}
