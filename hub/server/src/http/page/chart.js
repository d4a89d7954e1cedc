// The chart of a device's series: drawn anew in any window, with zoom by dragging and by keys, a
// readout, new readings as they come, and a table that says the same.
//
// What is drawn are columns of time, each with its lowest, mean and highest value, so that no peak
// is lost in a long window. The hub answers a window in bounded parts; each is drawn as it comes.
"use strict";

(() => {
  const { $, $$, shown, now_us, tell } = Stencil;
  const card = $("#chart[data-series]");
  const figure = card && $("#figure", card);
  if (!card || !figure) return;

  const { of: device, series: name, unit = "", kind } = card.dataset;
  const S = 1e6, MIN_US = 1000, KEEP = 5000, TABLE = 100, REREAD_MS = 20000;
  const EARLIEST = -62135596800e6, LATEST = 8.64e15; // a Date's end
  const RANGES = { "1h": 3600 * S, "24h": 86400 * S, "7d": 604800 * S, "30d": 2592000 * S };
  const first_us = Number(card.dataset.first);
  let newest_us = Number(card.dataset.newest);
  let view = {
    from: Number(card.dataset.from), to: Number(card.dataset.to), range: card.dataset.range ?? null,
  };
  const home = view.range ?? "1h";
  let local = localStorage.getItem("stencil-zone") === "local";
  let columns = []; // by time
  let texts = [];
  let loading = null;
  let late = false; // a reading came that is not at the end
  let news = false;
  let cursor = null; // place in `columns` of what is read out
  let drag = null;
  let plot = null; // geometry of what is drawn

  const svg = (tag, attributes = {}, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };

  // ---- time ----------------------------------------------------------------

  const zone = () => (local ? undefined : "UTC");
  const formats = new Map();
  function written(us, options) {
    const key = JSON.stringify([local, options]);
    if (!formats.has(key)) {
      formats.set(key, new Intl.DateTimeFormat("en-GB", { timeZone: zone(), hourCycle: "h23", ...options }));
    }
    return formats.get(key).format(us / 1000);
  }
  const DAY = { day: "numeric", month: "short" };
  const CLOCK = { hour: "2-digit", minute: "2-digit" };
  const moment = (us) => written(us, {
    year: "numeric", ...DAY, ...CLOCK, second: "2-digit",
    ...(view.to - view.from < 60 * S ? { fractionalSecondDigits: 3 } : {}),
    timeZoneName: "short",
  });

  const STEPS_S = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120,
    300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2629800,
    7889400, 15778800, 31557600, 63115200, 157788000, 315576000];

  function timeTicks(from, to, room) {
    const step = (STEPS_S.find((s) => (to - from) / (s * S) <= room) ?? 3155760000) * S;
    const shift = local && step < 86400 * S * 2
      ? -new Date((from + to) / 2000).getTimezoneOffset() * 60 * S : 0;
    const ticks = [];
    for (let t = Math.ceil((from + shift) / step) * step - shift; t < to && ticks.length < 50; t += step) {
      const midnight = (t + shift) % (86400 * S) === 0;
      const text = step >= 2629800 * S ? written(t, { month: "short", year: "numeric" })
        : step >= 86400 * S || (midnight && step >= 60 * S) ? written(t, DAY)
        : step >= 60 * S ? written(t, CLOCK)
        : written(t, { ...CLOCK, second: "2-digit", ...(step < S ? { fractionalSecondDigits: 3 } : {}) });
      ticks.push([t, text]);
    }
    return ticks;
  }

  /** The window of a range: as the hub chooses it. */
  function windowOf(range) {
    const now = Math.max(now_us(), newest_us);
    const span = RANGES[range] ?? Infinity;
    const to = (span !== Infinity && newest_us >= now - span ? now : newest_us) + 1;
    return { from: Math.min(Math.max(to - span, first_us), to - MIN_US), to, range };
  }

  // ---- data ----------------------------------------------------------------

  function column(raw) {
    if (raw.length === 3) {
      const [place, at, value] = raw;
      return { place, first_us: at, last_us: at, first: value, last: value, low: value, high: value, mean: value, count: 1 };
    }
    const [place, from, to, first, last, low, high, mean, count] = raw;
    return { place, first_us: from, last_us: to, first, last, low, high, mean, count };
  }

  function joined(a, b) {
    const count = a.count + b.count;
    return {
      place: a.place, first_us: a.first_us, last_us: b.last_us, first: a.first, last: b.last,
      low: Math.min(a.low, b.low), high: Math.max(a.high, b.high),
      mean: a.mean * (a.count / count) + b.mean * (b.count / count), count,
    };
  }

  /** Reads the window, part by part. A window that is left meanwhile is not read to its end. */
  async function load(quiet = false) {
    loading?.abort();
    const own = loading = new AbortController();
    const asked = { ...view };
    const from = Math.floor(asked.from), to = Math.ceil(asked.to);
    const many = Math.max(50, Math.min(1000, Math.round(plot?.width ?? 600)));
    const found = [];
    let seen = [];
    let next = null;
    news = late = false;
    if (!quiet) figure.setAttribute("aria-busy", "true");
    do {
      const query = new URLSearchParams({ name, from_us: from, to_us: to, columns: many });
      if (next !== null) query.set("resume_us", next);
      let answer, data;
      try {
        answer = await fetch(`/devices/${encodeURIComponent(device)}/chart?${query}`, { signal: own.signal });
        data = await answer.json();
      } catch {
        if (own.signal.aborted) return;
        answer = null;
      }
      if (own.signal.aborted) return;
      if (answer?.status === 401) { Stencil.signIn(); return; }
      if (!answer?.ok) {
        figure.removeAttribute("aria-busy");
        if (!quiet) tell(data?.detail ?? "The hub does not answer.", "bad");
        return;
      }
      for (const raw of data.columns) {
        const one = column(raw);
        const before = found.at(-1);
        if (before?.place === one.place) found[found.length - 1] = joined(before, one);
        else found.push(one);
      }
      seen = [...seen, ...data.texts].slice(-200);
      next = data.next_us;
      if (quiet && next !== null) continue; // what is there is better than a part
      columns = found.slice();
      texts = seen;
      cursor = null;
      draw();
    } while (next !== null);
    figure.removeAttribute("aria-busy");
    table();
  }

  /** A new reading at the end of what is drawn. */
  function take(item) {
    newest_us = Math.max(newest_us, item.time_us);
    news = true;
    if (!view.range || kind === "text") return;
    const value = Number(item.value);
    const last = columns.at(-1);
    if (!Number.isFinite(value)) return;
    if (last && item.time_us <= last.last_us) { late = true; return; }
    columns.push({ place: NaN, first_us: item.time_us, last_us: item.time_us, first: value, last: value, low: value, high: value, mean: value, count: 1 });
  }

  Stencil.onUpdate((update) => {
    const own = update.readings.filter((item) => item.device === device && item.name === name);
    own.forEach(take);
    if (own.length && view.range && !drag) go(windowOf(view.range), { keep: true });
  });

  let read_ms = Date.now();
  setInterval(() => {
    if (Stencil.paused || document.hidden || drag || !view.range) return;
    const now = Date.now();
    // The stream brings the newest of each moment only: all of them are read again now and then.
    if ((news && now - read_ms > REREAD_MS) || late || columns.length > KEEP) {
      read_ms = now;
      view = windowOf(view.range);
      load(true);
    } else if (view.range !== "all" && view.to - view.from <= 86400 * S) {
      go(windowOf(view.range), { keep: true });
    }
  }, 1000);

  // ---- drawing -------------------------------------------------------------

  function valueTicks(low, high) {
    const power = 10 ** Math.floor(Math.log10((high - low) / 5));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => (high - low) / s <= 6);
    const ticks = [];
    for (let t = Math.ceil(low / step) * step; t <= high && ticks.length < 10; t += step) ticks.push(t);
    return ticks;
  }

  function extent(inside) {
    if (kind === "bool") return [-0.15, 1.15];
    let low = Infinity, high = -Infinity;
    for (const one of inside) { low = Math.min(low, one.low); high = Math.max(high, one.high); }
    if (low > high) return [0, 1];
    const size = Math.max(Math.abs(low), Math.abs(high));
    const air = low === high ? Math.max(size * 0.1, 1) : Math.max((high / 2 - low / 2) * 0.12, size * 1e-6, 1e-9);
    return [Math.max(low - air, -Number.MAX_VALUE), Math.min(high + air, Number.MAX_VALUE)];
  }

  const middle = (one) => (one.first_us + one.last_us) / 2;

  function draw() {
    const focused = document.activeElement === plot?.node;
    const width = Math.max(figure.clientWidth, 200), height = width < 520 ? 230 : 320;
    const inside = columns.filter((one) => one.last_us >= view.from && one.first_us < view.to);
    const [low, high] = extent(inside);
    const ticks = kind === "bool" ? [0, 1] : valueTicks(low, high);
    const label = kind === "bool" ? (t) => (t ? "yes" : "no") : shown;
    const left = 16 + 6.8 * Math.max(2, ...ticks.map((t) => label(t).length));
    const area = { left, right: width - 10, top: 22, bottom: height - 28 };
    const x = (t) => area.left + (t - view.from) / (view.to - view.from) * (area.right - area.left);
    const y = (v) => area.bottom - (v / 2 - low / 2) / (high / 2 - low / 2) * (area.bottom - area.top);
    const root = svg("svg", {
      id: "plot", viewBox: `0 0 ${width} ${height}`, width, height, tabindex: 0, role: "application",
      "aria-label": `${summary(inside)} Keys: plus and minus zoom, arrows move, with shift they read out, 0 resets.`,
    });
    root.append(svg("text", { class: "unit", x: area.left - 6, y: 12, "text-anchor": "end" }, unit));
    for (const t of ticks) {
      root.append(
        svg("line", { class: "grid", x1: area.left, x2: area.right, y1: y(t), y2: y(t) }),
        svg("text", { x: area.left - 8, y: y(t) + 4, "text-anchor": "end" }, label(t)));
    }
    for (const [t, text] of timeTicks(view.from, view.to, (area.right - area.left) / 84)) {
      root.append(
        svg("line", { class: "tick", x1: x(t), x2: x(t), y1: area.bottom, y2: area.bottom + 5 }),
        svg("text", { x: x(t), y: height - 8, "text-anchor": x(t) < area.left + 24 ? "start" : x(t) > area.right - 24 ? "end" : "middle" }, text));
    }
    root.append(svg("line", { class: "axis", x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom }));
    root.append(...curve(inside, x, y));
    if (inside.length === 0) {
      const text = kind === "text" && texts.length ? "Texts: see the table below" : figure.getAttribute("aria-busy") ? "Reading…" : "No readings in this window";
      root.append(svg("text", { class: "none", x: (area.left + area.right) / 2, y: height / 2, "text-anchor": "middle" }, text));
    }
    const held = svg("rect", { class: "selection", y: area.top, height: area.bottom - area.top, x: 0, width: 0 });
    const mark = svg("g", { class: "cursor", visibility: "hidden" },
      svg("line", { y1: area.top, y2: area.bottom }), svg("circle", { r: 4 }));
    root.append(held, mark);
    plot = { node: root, inside, x, y, area, width: area.right - area.left, held, mark };
    const caption = $("figcaption", figure);
    caption.textContent = `${moment(view.from)} to ${moment(view.to)}`;
    figure.replaceChildren(root, caption);
    if (focused) root.focus({ preventScroll: true });
    $("#csv", card).href = `/api/v1/devices/${encodeURIComponent(device)}/series/${encodeURIComponent(name)}/csv`
      + `?from_us=${Math.floor(view.from)}&to_us=${Math.ceil(view.to)}`;
    point(cursor);
    state();
  }

  /** The line through the means, the bars from lowest to highest, and dots where there are few. */
  function curve(inside, x, y) {
    const steps = inside.slice(1).map((one, i) => one.first_us - inside[i].last_us).sort((a, b) => a - b);
    const usual = steps[Math.floor(steps.length / 2)] ?? 0;
    const gap = Math.max(usual * 8, (view.to - view.from) / 200);
    let line = "", bars = "", before = null, alone = [];
    inside.forEach((one, i) => {
      const apart = !before || one.first_us - before.last_us > gap;
      const [px, py] = [x(middle(one)).toFixed(1), y(one.count > 1 ? one.mean : one.first).toFixed(1)];
      if (kind === "bool") {
        line += apart ? `M${px} ${y(one.first).toFixed(1)}` : `H${px}V${y(one.first).toFixed(1)}`;
        if (one.last !== one.first) line += `V${y(one.last).toFixed(1)}`;
      } else line += `${apart ? "M" : "L"}${px} ${py}`;
      if (one.high > one.low) bars += `M${px} ${y(one.low).toFixed(1)}V${y(one.high).toFixed(1)}`;
      const next = inside[i + 1];
      if (apart && (!next || next.first_us - one.last_us > gap)) alone.push([px, py]);
      before = one;
    });
    if (inside.length <= 60) alone = inside.map((one) => [x(middle(one)), y(one.count > 1 ? one.mean : one.first)]);
    const thick = Math.max(1.5, (plot?.width ?? 600) / 1000 + 0.75);
    return [
      svg("path", { class: "envelope", d: bars, "stroke-width": thick }),
      svg("path", { class: "line", d: line }),
      ...alone.map(([cx, cy]) => svg("circle", { class: "dot", cx, cy, r: 2.25 })),
    ];
  }

  function summary(inside) {
    if (inside.length === 0) return `${name}: no readings in this window.`;
    let low = Infinity, high = -Infinity, count = 0;
    for (const one of inside) { low = Math.min(low, one.low); high = Math.max(high, one.high); count += one.count; }
    const last = inside.at(-1);
    return `${name}: ${count} readings, lowest ${text(low)}, highest ${text(high)}, last ${text(last.last)} at ${moment(last.last_us)}.`;
  }

  const text = (value) => (kind === "bool" ? (value ? "yes" : "no") : `${shown(value)}${unit ? ` ${unit}` : ""}`);

  // ---- the readout ---------------------------------------------------------

  const readout = $("#readout", card);

  function told(one) {
    if (one.count === 1) return `${moment(one.first_us)}: ${text(one.first)}`;
    return `${moment(middle(one))}: ${text(one.mean)} (mean of ${one.count}), from ${text(one.low)} to ${text(one.high)}`;
  }

  function point(place) {
    const one = place === null ? null : plot.inside[place];
    cursor = one ? place : null;
    plot.mark.setAttribute("visibility", one ? "visible" : "hidden");
    if (one) {
      const [line, dot] = plot.mark.children;
      const px = plot.x(middle(one));
      line.setAttribute("x1", px); line.setAttribute("x2", px);
      dot.setAttribute("cx", px); dot.setAttribute("cy", plot.y(one.count > 1 ? one.mean : one.first));
    }
    const words = one ? told(one) : plot.inside.length ? summary(plot.inside) : "";
    if (readout.textContent !== words) readout.textContent = words;
    // Only what the keys ask for is read out.
    readout.setAttribute("aria-live", document.activeElement === plot.node ? "polite" : "off");
  }

  function nearest(px) {
    let best = null, least = Infinity;
    plot.inside.forEach((one, i) => {
      const far = Math.abs(plot.x(middle(one)) - px);
      if (far < least) { least = far; best = i; }
    });
    return best;
  }

  // ---- moving about --------------------------------------------------------

  /** Shows another window. `keep`: what is drawn goes on, nothing has to be read. */
  function go(next, { keep = false } = {}) {
    const span = Math.max(next.to - next.from, MIN_US);
    const from = Math.min(Math.max(next.from, EARLIEST), LATEST - span);
    view = { from, to: from + span, range: next.range ?? null };
    if (keep) {
      const before = columns.length;
      columns = columns.filter((one) => one.last_us >= view.from);
      if (cursor !== null) cursor = Math.max(0, cursor - (before - columns.length));
      draw();
      return;
    }
    read_ms = Date.now();
    draw();
    load();
    remember();
  }

  /** The address says what is shown. */
  function remember() {
    const query = new URLSearchParams(location.search);
    query.set("name", name);
    for (const key of ["range", "from_us", "to_us"]) query.delete(key);
    if (view.range) query.set("range", view.range);
    else { query.set("from_us", Math.floor(view.from)); query.set("to_us", Math.ceil(view.to)); }
    history.replaceState(null, "", `${location.pathname}?${query}`);
    for (const link of $$("a[data-name-of]", card)) {
      query.set("name", link.dataset.nameOf);
      link.href = `${location.pathname}?${query}#chart`;
    }
  }

  function state() {
    for (const link of $$("a[data-to-range]", card)) {
      if (link.dataset.toRange === view.range) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    const custom = $("#custom", card);
    if (view.range) custom.removeAttribute("aria-current");
    else custom.setAttribute("aria-current", "true");
  }

  const zoom = (factor, at = (view.from + view.to) / 2) =>
    go({ from: at - (at - view.from) * factor, to: at + (view.to - at) * factor });
  const move = (part) => {
    const by = (view.to - view.from) * part;
    go({ from: view.from + by, to: view.to + by });
  };
  const reset = () => go(windowOf(home));

  const ACTS = {
    earlier: () => move(-0.5), later: () => move(0.5),
    "zoom-in": () => zoom(0.5), "zoom-out": () => zoom(2), reset,
  };
  card.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const link = event.target.closest("a");
    const act = link && (link.dataset.toRange ? () => go(windowOf(link.dataset.toRange)) : ACTS[link.id]);
    if (!act) return;
    event.preventDefault();
    act();
  });

  figure.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "−": () => zoom(2),
      ArrowLeft: () => (event.shiftKey ? step(-1) : move(-0.25)),
      ArrowRight: () => (event.shiftKey ? step(1) : move(0.25)),
      0: reset, Home: reset,
      Escape: () => { if (drag) release(); else point(null); },
    };
    const act = acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  function step(by) {
    if (plot.inside.length === 0) return;
    const last = plot.inside.length - 1;
    point(cursor === null ? last : Math.min(last, Math.max(0, cursor + by)));
  }

  const place = (event) => {
    const box = plot.node.getBoundingClientRect();
    return Math.min(plot.area.right, Math.max(plot.area.left, event.clientX - box.left));
  };
  const timeAt = (px) => view.from + (px - plot.area.left) / plot.width * (view.to - view.from);

  figure.addEventListener("pointerdown", (event) => {
    if (event.button || !plot || !plot.node.contains(event.target)) return;
    drag = { from: place(event), to: place(event) };
    figure.setPointerCapture(event.pointerId);
  });
  figure.addEventListener("pointermove", (event) => {
    if (!plot) return;
    const px = place(event);
    if (!drag) { point(nearest(px)); return; }
    drag.to = px;
    plot.held.setAttribute("x", Math.min(drag.from, px));
    plot.held.setAttribute("width", Math.abs(drag.from - px));
  });
  figure.addEventListener("pointerup", () => {
    if (!drag) return;
    const [a, b] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)];
    release();
    if (b - a > 5) go({ from: timeAt(a), to: timeAt(b) });
    else plot.node.focus({ preventScroll: true });
  });
  figure.addEventListener("pointercancel", release);
  figure.addEventListener("pointerleave", () => { if (!drag && plot) point(null); });
  figure.addEventListener("dblclick", reset);

  function release() {
    drag = null;
    plot?.held.setAttribute("width", 0);
  }

  // ---- settings ------------------------------------------------------------

  const zoneButton = $("#zone", card);
  function zoned() {
    zoneButton.textContent = local ? "Local time" : "UTC";
    zoneButton.title = local ? "Times are those of this device: change to UTC" : "Times are UTC: change to local time";
    zoneButton.setAttribute("aria-pressed", String(local));
    $("#custom-zone").textContent = local ? Intl.DateTimeFormat().resolvedOptions().timeZone : "UTC";
  }
  zoneButton.hidden = false;
  zoneButton.addEventListener("click", () => {
    local = !local;
    localStorage.setItem("stencil-zone", local ? "local" : "utc");
    zoned();
    draw();
    table();
  });

  const custom = $("#custom", card), dialog = $("#custom-window", card);
  const field = (us) => {
    const shift = local ? new Date(us / 1000).getTimezoneOffset() * 60000 : 0;
    return new Date(us / 1000 - shift).toISOString().slice(0, 19);
  };
  const time = (input) => new Date(local ? input.value : `${input.value}Z`).getTime() * 1000;
  custom.hidden = false;
  custom.addEventListener("click", () => {
    $("#custom-from").value = field(view.from);
    $("#custom-to").value = field(view.to);
    $(".problem", dialog).hidden = true;
    dialog.showModal();
  });
  $("#custom-close").addEventListener("click", () => dialog.close());
  $("form", dialog).addEventListener("submit", (event) => {
    const [from, to] = [time($("#custom-from")), time($("#custom-to"))];
    if (from < to) { go({ from, to }); return; }
    event.preventDefault();
    const problem = $(".problem", dialog);
    problem.textContent = "The first time has to be before the second one.";
    problem.hidden = false;
  });

  $("#series", card)?.addEventListener("change", (event) => event.target.form.requestSubmit());

  // ---- the table -----------------------------------------------------------

  const details = $("#points", card);

  function table() {
    const inside = plot?.inside ?? [];
    const rows = kind === "text" ? texts.map(([at, words]) => ({ at, words })) : gathered(inside);
    $("summary", details).textContent = kind === "text" ? `The newest ${rows.length} texts as a table`
      : "What is drawn, as a table";
    if (!details.open) return;
    const raw = rows.every((row) => row.count === 1 || row.words !== undefined);
    const heads = raw ? ["Time", "Value"] : ["Time", "Lowest", "Mean", "Highest", "Readings"];
    const line = (tag, cells) => {
      const row = document.createElement("tr");
      cells.forEach((words, i) => {
        const cell = document.createElement(tag);
        if (tag === "th") cell.scope = "col";
        if (i > 0) cell.className = "num";
        cell.textContent = words;
        row.append(cell);
      });
      return row;
    };
    const cells = (row) => (row.words !== undefined ? [moment(row.at), row.words]
      : raw ? [moment(row.first_us), text(row.first)]
      : [moment(row.first_us), text(row.low), text(row.mean), text(row.high), String(row.count)]);
    $("thead", details).replaceChildren(line("th", heads));
    $("tbody", details).replaceChildren(...rows.reverse().map((row) => line("td", cells(row))));
  }

  /** The columns by hundred at most. */
  function gathered(inside) {
    const by = Math.ceil(inside.length / TABLE) || 1;
    const rows = [];
    for (let i = 0; i < inside.length; i += by) rows.push(inside.slice(i, i + by).reduce(joined));
    return rows;
  }

  details.addEventListener("toggle", table);

  // ---- begin ---------------------------------------------------------------

  zoned();
  new ResizeObserver(() => { if (plot && !drag && figure.clientWidth !== plot.drawn) { plot.drawn = figure.clientWidth; draw(); } }).observe(figure);
  if (view.range) view = windowOf(view.range);
  draw();
  load();
})();
