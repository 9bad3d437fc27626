// Figures in the driver's language, from integers: amounts and energy stay exact to the last digit.

/** 605 with 2 places is "6.05". */
export function decimal(integer, places) {
  const digits = String(Math.abs(integer)).padStart(places + 1, "0");
  const whole = digits.slice(0, digits.length - places);
  const sign = integer < 0 ? "-" : "";
  return places === 0 ? sign + whole : `${sign}${whole}.${digits.slice(-places)}`;
}

/** A decimal string as the locale writes it; Intl takes the string as it is, without a detour over a float. */
function local(text, places, locale, options = {}) {
  const digits = { minimumFractionDigits: places, maximumFractionDigits: places };
  return new Intl.NumberFormat(locale, { ...digits, ...options }).format(text);
}

/** Minor units: 605 EUR cents are "6,05 €" in German. */
export function money(minor, view, locale) {
  return local(decimal(minor, view.exponent), view.exponent, locale, { style: "currency", currency: view.currency });
}

/** Wh as kWh with all three places, as the invoice has them. */
export function energy(wh, locale) {
  return `${local(decimal(wh, 3), 3, locale)}\u00a0kWh`;
}

/** W as kW with one place; for the eye only, nothing is billed from it. */
export function power(w, locale) {
  return `${local(decimal(Math.round(w / 100), 1), 1, locale)}\u00a0kW`;
}

/** Seconds as h:mm:ss, or m:ss where there are no hours. */
export function duration(seconds) {
  const two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
