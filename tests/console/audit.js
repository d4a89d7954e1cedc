// Runs in the page. Gives a list of sentences.
const faults = [];
const all = (css, root = document) => [...root.querySelectorAll(css)];
const shown = (element) => element.checkVisibility({ visibilityProperty: true });
const unseen = (element) => Boolean(element.closest(".unseen, .skip, [aria-hidden=true]"));
const called = (element) => {
  const id = element.id ? `#${element.id}` : "";
  const kind = typeof element.className === "string" && element.className ? `.${element.className.split(" ").join(".")}` : "";
  return `<${element.localName}${id}${kind}> «${(element.textContent ?? "").trim().slice(0, 40)}»`;
};

// ---- the page as a whole ----------------------------------------------------

if (!document.documentElement.lang) faults.push("the page's language is not said");
if (!document.title) faults.push("the page has no title");
for (const [css, count] of [["h1", 1], ["main", 1]]) {
  const found = all(css).filter(shown).length;
  if (found !== count) faults.push(`there are ${found} ${css}, not ${count}`);
}
let level = 0;
for (const heading of all("h1, h2, h3, h4, h5, h6").filter(shown)) {
  const own = Number(heading.localName[1]);
  if (own > level + 1) faults.push(`${called(heading)}: ${heading.localName} after h${level}`);
  level = own;
}
const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
if (wide > 0) {
  const out = all("body *").filter((one) => shown(one) && !unseen(one) && !one.closest(".scroll, pre, .code, svg")
    && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1).slice(0, 4).map(called);
  faults.push(`the page is ${wide} px wider than the screen: ${out.join("; ")}`);
}

// ---- names and references ---------------------------------------------------

const ids = new Map();
for (const element of all("[id]")) ids.set(element.id, (ids.get(element.id) ?? 0) + 1);
for (const [id, count] of ids) if (count > 1) faults.push(`#${id} is there twice`);
for (const attribute of ["for", "aria-labelledby", "aria-describedby", "aria-errormessage", "aria-controls", "popovertarget"]) {
  for (const element of all(`[${attribute}]`)) {
    for (const id of element.getAttribute(attribute).split(/\s+/)) {
      if (!ids.has(id)) faults.push(`${called(element)}: there is no #${id} for its ${attribute}`);
    }
  }
}
/** What a screen reader would call it. */
function name(element) {
  const by = element.getAttribute("aria-labelledby");
  if (by) return by.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
  const label = element.getAttribute("aria-label");
  if (label) return label.trim();
  if (element.labels?.length) return [...element.labels].map((one) => one.textContent).join(" ").trim();
  if (element.localName === "img") return element.alt.trim();
  if (element.localName === "svg") return element.querySelector(":scope > title")?.textContent.trim() ?? "";
  if (element.matches("input, select, textarea")) return (element.title ?? "").trim();
  return element.textContent.trim() || element.title || "";
}
const named = "input:not([type=hidden]), select, textarea, button, a[href], summary, progress, [role=region], nav, dialog[open]";
for (const element of all(named).filter(shown)) {
  if (!name(element)) faults.push(`${called(element)} has no name`);
}
for (const picture of all("img, svg").filter(shown)) {
  if (picture.closest("[aria-hidden=true]")) continue;
  if (!name(picture)) faults.push(`${called(picture)} has no name, and is not hidden from who does not see it`);
}
for (const element of all("[tabindex]")) {
  if (element.tabIndex > 0) faults.push(`${called(element)}: a tabindex of its own order`);
}
for (const head of all("th").filter(shown)) {
  if (!head.scope) faults.push(`${called(head)}: a head of what?`);
}
// ---- sizes ------------------------------------------------------------------

for (const element of all("button, .button, select, input:not([type=hidden]), summary").filter(shown)) {
  if (unseen(element)) continue;
  const box = element.getBoundingClientRect();
  const label = element.labels?.[0]?.getBoundingClientRect();
  const [width, height] = [Math.max(box.width, label?.width ?? 0), Math.max(box.height, label?.height ?? 0)];
  if (width < 24 || height < 20) {
    faults.push(`${called(element)} is too small to hit: ${Math.round(width)} × ${Math.round(height)} px`);
  }
}

// ---- contrast ---------------------------------------------------------------

const canvas = document.createElement("canvas");
canvas.width = canvas.height = 1;
const context = canvas.getContext("2d", { willReadFrequently: true });
const colours = new Map();
/** Any CSS colour as red, green, blue and how opaque it is. */
function colour(text) {
  if (!colours.has(text)) {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = text;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    colours.set(text, [r, g, b, a / 255]);
  }
  return colours.get(text);
}
const over = (top, below) => [0, 1, 2].map((n) => top[n] * top[3] + below[n] * (1 - top[3]));
/** What lies under an element's letters. */
function ground(element) {
  const layers = [];
  for (let one = element; one; one = one.parentElement) {
    const style = getComputedStyle(one);
    const own = colour(style.backgroundColor);
    if (own[3] > 0) layers.push(own);
    if (own[3] === 1) break;
  }
  const scheme = matchMedia("(prefers-color-scheme: dark)").matches && getComputedStyle(document.documentElement).colorScheme.includes("dark");
  return layers.reverse().reduce((below, top) => over(top, below), scheme ? [18, 18, 18] : [255, 255, 255]);
}
function faded(element) {
  let opacity = 1;
  for (let one = element; one; one = one.parentElement) opacity *= Number(getComputedStyle(one).opacity);
  return opacity;
}
const light = ([r, g, b]) => {
  const part = (value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
};
const ratio = (a, b) => {
  const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
};
const told = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const words = walker.currentNode.textContent.trim();
  const element = walker.currentNode.parentElement;
  if (!words || !shown(element) || element.closest(".unseen, .skip, script, noscript, title, option, :disabled")) continue;
  // The letters of the editor are those of the painted text below them.
  if (element.matches(".painted textarea")) continue;
  const style = getComputedStyle(element);
  const ink = colour(element.closest("svg") ? style.fill : style.color);
  const below = ground(element);
  const letters = over([ink[0], ink[1], ink[2], ink[3] * faded(element)], below);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const found = ratio(letters, below);
  const key = `${style.color} ${below} ${element.className}`;
  if (found < (large ? 3 : 4.5) && !told.has(key)) {
    told.add(key);
    faults.push(`${called(element)}: contrast ${found.toFixed(2)}, ${letters.map(Math.round)} on ${below.map(Math.round)}`);
  }
}
return faults;
