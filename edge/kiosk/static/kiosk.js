// The page's life: hears the till, keeps what a driver chose, draws, and forgets.

import { el, patchChildren } from "./dom.js";
import { CODE_MAX, keypad } from "./keypad.js";
import { overview } from "./overview.js";
import { picture } from "./pictures.js";
import { explanation, headline, single, wordsFor } from "./views.js";

const QUIET_MS = 12_000; // three beats of the till: it hangs, or the line is gone
const RETRY_MS = 2_000; // between attempts when the browser has given the stream up
const NOTICE_MS = 8_000; // long enough to read twice
const FORGET_MS = 60_000; // a driver who touches nothing for this long has gone
const EVSES_MAX = 4;

const settings = JSON.parse(document.documentElement.dataset.settings);
const codes = Object.keys(settings.languages);
const stage = document.getElementById("stage");
const wanted = new URLSearchParams(location.search).get("evse")?.split(",");

const state = {
  panels: null, // null: the till is not there
  language: codes[0],
  opened: null, // the EVSE that was touched on the overview
  left: null, // the one that was touched last: the focus goes back there
  code: null, // {typed, message} while a stop code is typed
  countdowns: new Map(), // evse -> {view's seconds_left, until}
  notices: new Map(), // evse -> serial of the newest notice that was shown
  banner: null, // {evse, kind, label, code, until} of that notice while it passes
  touched: 0,
  said: new Map(), // evse -> what a screen reader was last told of it
  active: false, // a session was on the screen
};

/* ---- hearing the till ---- */

let source;
let quiet;

function listen() {
  source?.close();
  source = new EventSource("/events");
  source.addEventListener("page", ({ data }) => data !== settings.version && location.reload());
  source.addEventListener("state", ({ data }) => hear(JSON.parse(data).panels));
  source.addEventListener("beat", heard);
  source.addEventListener("error", () => {
    lost();
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
  });
  heard();
}

function heard() {
  clearTimeout(quiet);
  quiet = setTimeout(() => {
    lost();
    listen();
  }, QUIET_MS);
}

function lost() {
  Object.assign(state, { panels: null, opened: null, code: null });
  draw();
}

function hear(panels) {
  heard();
  state.panels = wanted ? panels.filter(({ view }) => wanted.includes(view.evse_id)) : panels.slice(0, EVSES_MAX);
  state.panels.forEach(({ view }) => count(view));
  state.panels.forEach(({ view }) => notice(view));
  const active = state.panels.some(({ view }) => !["starting_up", "out_of_order", "idle"].includes(view.kind));
  if (state.active && !active) leave();
  state.active = active;
  if (state.code && !shown(state.opened)?.view.stoppable) state.code = null;
  draw();
}

/* ---- what a driver chose, and forgetting it ---- */

function forget() {
  Object.assign(state, { language: codes[0], opened: null, left: null, code: null });
}

/** A session is over. Whoever is being told why it came to nothing still stands there and reads. */
function leave() {
  if (alive(state.banner)) state.touched = performance.now();
  else forget();
}

function count(view) {
  const known = state.countdowns.get(view.evse_id);
  if (view.seconds_left === null) state.countdowns.delete(view.evse_id);
  else if (known?.from !== view.seconds_left) {
    state.countdowns.set(view.evse_id, { from: view.seconds_left, until: performance.now() + view.seconds_left * 1000 });
  }
}

/** The countdown goes on by itself between two views of the till. */
function secondsLeft(view) {
  const counting = state.countdowns.get(view.evse_id);
  return counting ? Math.max(0, Math.ceil((counting.until - performance.now()) / 1000)) : null;
}

function notice({ evse_id, label, kind, notice }) {
  if (state.banner?.evse === evse_id && state.banner.kind !== kind) state.banner = null; // what it said is over
  if (notice === null || state.notices.get(evse_id) === notice.serial) return;
  state.notices.set(evse_id, notice.serial);
  if (kind === "ended" && notice.code === "declined") return; // the view says it, and why
  const toAll = alive(state.banner) && state.banner.code === notice.code && state.banner.label !== label;
  const until = performance.now() + NOTICE_MS;
  state.banner = { evse: evse_id, kind, label: toAll ? null : label, code: notice.code, until };
}

const alive = (banner) => banner !== null && banner.until > performance.now();

function banner() {
  if (!alive(state.banner)) return [];
  const { label, code } = state.banner;
  const where = label !== null && state.panels?.length > 1 ? [el("span", { class: "badge" }, label)] : [];
  return [...where, picture("fault"), el("span", {}, wordsFor(words().notices, code))];
}

const words = () => settings.languages[state.language];
const shown = (evse) => state.panels?.find(({ view }) => view.evse_id === evse);

/* ---- touching ---- */

const PRESSED = {
  language: ({ code }) => {
    state.language = code;
  },
  open: ({ evse }) => {
    state.opened = state.left = evse;
  },
  back: () => {
    if (state.code && state.panels.length === 1) state.opened = null;
    if (state.code) state.code = null;
    else state.opened = null;
  },
  choose: ({ evse }) => act({ action: "choose", evse_id: evse }),
  "ask-code": ({ evse }) => {
    Object.assign(state, { opened: evse, code: { typed: "", message: "" } });
  },
  digit: ({ digit }) => {
    if (state.code.typed.length < CODE_MAX) state.code = { typed: state.code.typed + digit, message: "" };
  },
  nothing: () => {},
  delete: () => {
    state.code = { typed: state.code.typed.slice(0, -1), message: "" };
  },
  stop: async ({ evse }) => {
    const answer = await act({ action: "stop", evse_id: evse, code: state.code.typed });
    const why = { wrong_code: words().stop_wrong, too_many_tries: words().stop_tries }[answer] ?? words().stop_refused;
    if (state.code) state.code = answer === "done" ? null : { typed: "", message: why };
  },
};

async function act(action) {
  try {
    const reply = await fetch("/actions", { method: "POST", body: JSON.stringify(action) });
    return reply.ok ? (await reply.json()).answer : "refused";
  } catch {
    return "refused";
  }
}

stage.addEventListener("click", async (event) => {
  let node = event.target;
  while (node !== stage && node.press === undefined) node = node.parentNode;
  if (node === stage) return;
  state.touched = performance.now();
  await PRESSED[node.press.do](node.press);
  draw();
});
addEventListener("resize", () => draw());
document.addEventListener("contextmenu", (event) => event.preventDefault());
document.addEventListener("keydown", (event) => {
  if (state.code && /^[0-9]$/.test(event.key)) PRESSED.digit({ digit: event.key });
  else if (state.code && event.key === "Backspace") PRESSED.delete();
  else if (event.key === "Escape") PRESSED.back();
  else return;
  state.touched = performance.now();
  draw();
});

/* ---- drawing ---- */

function languageButtons() {
  return codes
    .filter((code) => code !== state.language)
    .map((code) => el("button", { class: "language", lang: code, press: { do: "language", code } }, settings.languages[code].name));
}

const context = () => ({ words: words(), locale: words().locale, language: state.language, settings, secondsLeft });

function screen() {
  if (!state.panels?.length) {
    return el(
      "article",
      { class: "moment", "data-key": "moment" },
      picture("wait"),
      el("h1", {}, words().one_moment),
      el("p", {}, words().reconnecting),
    );
  }
  const panel = state.panels.length === 1 ? state.panels[0] : shown(state.opened);
  if (!panel) return overview(state.panels, context(), { languages: languageButtons(), first: state.left });
  if (state.code) return keypad({ ...context(), panel }, state.code);
  const back =
    state.panels.length === 1 ? null : el("button", { class: "back", press: { do: "back" } }, words().back);
  return single({ ...context(), panel }, { back, languages: languageButtons() });
}

/** Said by a screen reader once for each change of state, and only of what has changed; figures that tick are left out. */
function announcement() {
  const several = state.panels?.length > 1;
  const now = (state.panels ?? []).map(({ view }) => {
    const text = `${headline(view, context())}. ${explanation(view, context())}`;
    return [view.evse_id, several ? `${words().bay} ${view.label}: ${text}` : text];
  });
  if (now.length === 0) now.push([null, words().one_moment]);
  const news = now.filter(([evse, text]) => state.said.get(evse) !== text).map(([, text]) => text);
  state.said = new Map(now);
  return news.join(". ");
}

// Steps by which a price with more lines than the panel has room for is set denser; only then does it scroll.
const DENSITIES = ["0", "1", "2", "3", "4"];

function fit(price) {
  for (const density of DENSITIES) {
    price.dataset.fit = density;
    if (price.scrollHeight <= price.clientHeight + 1) return;
  }
  price.tabIndex = 0; // to be scrolled by keyboard
}

/** Whoever goes by keyboard goes on in the new view, rather than at the top of the page. */
function keepFocus() {
  if (stage.contains(document.activeElement)) return;
  (stage.querySelector("[data-first]") ?? stage.querySelector("button"))?.focus();
}

function draw() {
  document.documentElement.lang = state.language;
  document.title = words().title;
  const focused = stage.querySelector(":focus-visible") !== null;
  patchChildren(stage, [screen()]);
  patchChildren(document.getElementById("notice"), banner());
  document.querySelectorAll(".offer, .offers").forEach(fit);
  if (focused) keepFocus();
  const said = announcement();
  if (said) document.getElementById("announcer").textContent = said;
}

setInterval(() => {
  if (performance.now() - state.touched > FORGET_MS) {
    const shared = state.panels?.length > 1;
    if (shared || !state.active) forget();
    else Object.assign(state, { opened: null, code: null });
  }
  draw();
}, 1000);

draw();
listen();
