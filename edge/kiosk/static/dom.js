// Elements, and a way to bring the page to a new state without rebuilding what stays: focus and touch survive.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "rect", "circle", "polyline", "line", "g"]);

/** el("p", {class: "big"}, "text", child): text is never read as markup. A null child is left out. */
export function el(tag, attributes = {}, ...children) {
  const node = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "press") node.press = value;
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null));
  return node;
}

/** Make `old` like `fresh`; nodes of the same kind are kept and changed only where they differ. */
export function patch(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || key(old) !== key(fresh)) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  old.press = fresh.press;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  patchChildren(old, [...fresh.childNodes]);
}

/** Make the children of `parent` like `fresh`. */
export function patchChildren(parent, fresh) {
  const before = [...parent.childNodes];
  fresh.forEach((node, i) => (i < before.length ? patch(before[i], node) : parent.append(node)));
  before.slice(fresh.length).forEach((node) => node.remove());
}

function key(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}
