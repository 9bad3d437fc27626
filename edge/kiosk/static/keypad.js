// The keypad for the stop code: large keys, nothing remembered.

import { el } from "./dom.js";
import { badge, filled } from "./views.js";

const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "delete", "0", "stop"];
export const CODE_MIN = 4;
export const CODE_MAX = 8;

/** The whole screen while a code is typed. `message` says what was wrong with the last one. */
export function keypad({ panel, ...context }, { typed, message }) {
  const { words } = context;
  const key = (name) => {
    const text = name === "delete" ? words.delete : name === "stop" ? words.stop : name;
    const press = { do: name.length === 1 ? "digit" : name, digit: name, evse: panel.view.evse_id };
    // never `disabled`: an element with the focus on it would lose it
    const off = name === "stop" && typed.length < CODE_MIN ? { "aria-disabled": "true", press: { do: "nothing" } } : {};
    return el("button", { class: name.length === 1 ? "digit" : name, "data-first": name === "1", press, ...off }, text);
  };
  return el(
    "article",
    { class: "keypad", "data-key": "keypad" },
    el(
      "section",
      { class: "ask" },
      el(
        "div",
        {},
        badge(panel.view, context),
        el("button", { class: "back", press: { do: "back" } }, words.back),
      ),
      el("h1", {}, words.stop_ask),
      el(
      "p",
      { class: "typed", role: "img", "aria-label": filled(words.stop_typed, { count: typed.length }) },
      "•".repeat(typed.length) || "\u00a0",
    ),
      el("p", { class: "message", role: "alert" }, message),
    ),
    el("div", { class: "keys" }, KEYS.map(key)),
  );
}
