// The keypad for the stop code: large keys, nothing remembered.

import { el } from "./dom.js";
import { picture } from "./pictures.js";

const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "delete", "0", "stop"];
export const CODE_MIN = 4;
export const CODE_MAX = 8;

/** The whole screen while a code is typed. `message` says what was wrong with the last one. */
export function keypad({ words, panel }, { typed, message }) {
  const key = (name) => {
    const text = name === "delete" ? words.delete : name === "stop" ? words.stop : name;
    const press = { do: name.length === 1 ? "digit" : name, digit: name, evse: panel.view.evse_id };
    const disabled = name === "stop" && typed.length < CODE_MIN;
    return el("button", { class: name.length === 1 ? "digit" : name, press, disabled }, text);
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
        el("span", { class: "badge" }, panel.view.label),
        picture("lock"),
        el("button", { class: "back", press: { do: "back" } }, words.back),
      ),
      el("h1", {}, words.stop_ask),
      el("p", { class: "typed" }, "•".repeat(typed.length) || "\u00a0"),
      el("p", { class: "message", role: "alert" }, message),
    ),
    el("section", { class: "keys" }, KEYS.map(key)),
  );
}
