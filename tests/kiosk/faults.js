// What a reader with low vision, or a finger in a glove, would stumble over; empty when nothing.
() => {
  const faults = [];
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = channels(color).slice(0, 3).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (e) => {
    const color = getComputedStyle(e).backgroundColor;
    return channels(color)[3] === 0 ? ground(e.parentElement) : color;
  };
  const name = (e) => `${e.tagName}.${e.getAttribute("class") ?? ""} "${e.textContent.slice(0, 30)}"`;
  const banner = document.getElementById("notice");
  const scrolled = new Set([...document.querySelectorAll(".offer, .offers")]
    .filter((e) => e.scrollHeight > e.clientHeight + 2));
  const lines = [];
  for (const e of scrolled) faults.push(`more than fits: ${name(e)}`);
  for (const e of document.querySelectorAll("#stage *, #notice *")) {
    const box = e.getBoundingClientRect();
    if (e.closest("svg") !== e && e.closest("svg") || e.closest(".heard")) continue;
    if (box.width === 0 || getComputedStyle(e).visibility === "hidden") continue;
    const scrolls = [...scrolled].some((s) => s.contains(e));
    if (!scrolls && (box.right > innerWidth + 1 || box.bottom > innerHeight + 1 || box.left < -1 || box.top < -1))
      faults.push(`outside the panel: ${name(e)}`);
    if (!scrolls && e.scrollWidth > e.clientWidth + 3 && e.clientWidth > 0) faults.push(`cut: ${name(e)}`);
    const texts = [...e.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE && n.data.trim());
    if (texts.length) {
      const style = getComputedStyle(e);
      if (parseFloat(style.fontSize) < 2.79 * rem) faults.push(`small text: ${name(e)}`);
      const [a, b] = [luminance(style.color), luminance(ground(e))].sort((x, y) => y - x);
      if ((a + 0.05) / (b + 0.05) < 7) faults.push(`contrast ${((a + 0.05) / (b + 0.05)).toFixed(1)}: ${name(e)}`);
    }
    if (!scrolls) for (const text of texts.length ? texts : e.matches("svg.picture, img") ? [e] : []) {
      const range = document.createRange();
      text === e ? range.selectNode(e) : range.selectNodeContents(text);
      for (const r of range.getClientRects()) if (r.width > 1) {
        lines.push([e, r]);
        for (const x of [r.left + 2, (r.left + r.right) / 2, r.right - 2]) {
          const top = document.elementFromPoint(x, (r.top + r.bottom) / 2);
          if (top && !banner.contains(top) && !top.contains(e) && !e.contains(top))
            faults.push(`covered by ${name(top)}: ${name(e)}`);
        }
        for (let up = e.parentElement; up.id !== "stage" && up !== document.body; up = up.parentElement) {
          const frame = up.getBoundingClientRect();
          const clips = getComputedStyle(up).overflowY !== "visible" ||
            channels(getComputedStyle(up).backgroundColor)[3] !== 0;
          if (clips && (r.top + r.height * 0.12 < frame.top || r.bottom - r.height * 0.12 > frame.bottom + 1)) {
            faults.push(`sticks out of ${up.className}: ${name(e)}`);
            break;
          }
        }
      }
    }
    if (e.tagName === "BUTTON") {
      if (box.width < 10.4 * rem || box.height < 10.4 * rem) faults.push(`small to touch: ${name(e)}`);
    }
  }
  lines.forEach(([e, r], i) => lines.slice(i + 1).forEach(([f, s]) => {
    if (banner.contains(e) !== banner.contains(f) || e.contains(f) || f.contains(e)) return;
    const wide = Math.min(r.right, s.right) - Math.max(r.left, s.left);
    const high = Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top);
    if (wide > 1 && high > 0.3 * Math.min(r.height, s.height)) faults.push(`overlap: ${name(e)} and ${name(f)}`);
  }));
  return [...new Set(faults)];
}
