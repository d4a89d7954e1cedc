// Keeps the live page alive: asks for fragments anew when the event stream says
// that something in them has changed, and moves the chart's window.
"use strict";

(() => {
  const SLOWEST_MS = 1000; // between two requests for the same fragment
  const VALUES = 8; // of one device, as the server renders them
  const byId = (id) => document.getElementById(id);

  // ---- fragments -----------------------------------------------------------

  const waiting = new Map(); // fragment id → timer

  /** Asks for a fragment anew, soon, and not more often than once a second. */
  function refresh(id) {
    if (waiting.has(id)) return;
    waiting.set(id, setTimeout(async () => {
      const old = byId(id);
      try {
        if (old && !dragging) await replace(id, old.dataset.fragment);
      } finally {
        waiting.delete(id);
      }
    }, SLOWEST_MS));
  }

  /** Puts the answer of `address` in the place of the fragment. */
  async function replace(id, address) {
    let answer;
    try {
      answer = await fetch(address, { headers: { accept: "text/html" } });
    } catch {
      return false; // The stream's state tells that the hub is gone.
    }
    if (answer.status === 401) {
      location.assign("/login");
      return false;
    }
    const old = byId(id);
    if (!answer.ok || !old) return false;
    const fresh = new DOMParser()
      .parseFromString(await answer.text(), "text/html").body.firstElementChild;
    if (!fresh || fresh.id !== id) return false;
    const kept = keep(old);
    old.replaceWith(fresh);
    kept(fresh);
    return true;
  }

  /** What a reader has done to a fragment, to be done again to the next one. */
  function keep(old) {
    const active = old.contains(document.activeElement) ? document.activeElement.id : "";
    const open = [...old.querySelectorAll("details")].map((d) => d.open);
    const scrolled = [...old.querySelectorAll(".scroll")].map((s) => [s.scrollLeft, s.scrollTop]);
    const filter = old.querySelector("#filter");
    const [text, start, end] = filter
      ? [filter.value, filter.selectionStart, filter.selectionEnd] : ["", 0, 0];
    return (fresh) => {
      fresh.querySelectorAll("details").forEach((d, i) => { d.open = Boolean(open[i]); });
      const field = fresh.querySelector("#filter");
      if (field && text) {
        field.value = text;
        applyFilter();
      }
      if (active) byId(active)?.focus({ preventScroll: true });
      if (field && active === "filter") field.setSelectionRange(start, end);
      fresh.querySelectorAll(".scroll").forEach((s, i) => {
        if (scrolled[i]) [s.scrollLeft, s.scrollTop] = scrolled[i];
      });
    };
  }

  // ---- fleet ---------------------------------------------------------------

  const seen = new Set(); // devices that were asked for

  function row(device) {
    return document.querySelector(`tr[data-device="${CSS.escape(device)}"]`);
  }

  function shownValue(value) {
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (typeof value !== "number") return String(value);
    const size = Math.abs(value);
    if (size !== 0 && (size < 0.001 || size >= 1e9) && !Number.isInteger(value)) {
      return value.toExponential(3).replace("e+", "e");
    }
    return String(Number(value.toFixed(3)));
  }

  function utc(us) {
    return new Date(us / 1000).toISOString().slice(0, 19).replace("T", " ");
  }

  function reading(item, atUs) {
    const found = row(item.device);
    if (!found) {
      if (!seen.has(item.device)) {
        seen.add(item.device);
        refresh("fleet");
      }
      return;
    }
    // It may be linked again.
    if (found.querySelector("[data-link] .badge.bad")) refresh("fleet");
    const values = found.querySelector("[data-values]");
    let cell = values.querySelector(`[data-name="${CSS.escape(item.name)}"]`);
    if (!cell) {
      if (values.querySelectorAll("[data-name]").length >= VALUES) return;
      cell = document.createElement("span");
      cell.className = "value";
      cell.dataset.name = item.name;
      const name = document.createElement("span");
      name.className = "dim";
      name.textContent = item.name;
      cell.append(name, " ", document.createElement("b"), " ", document.createElement("span"));
      values.append(cell);
    }
    cell.querySelector("b").textContent = shownValue(item.value);
    cell.lastElementChild.textContent = item.unit ?? "";
    found.querySelector("[data-seen]").textContent = utc(atUs);
  }

  function linked(item) {
    const cell = row(item.device)?.querySelector("[data-link]");
    if (!cell) return;
    const badge = document.createElement("span");
    badge.className = item.connected ? "badge good" : "badge bad";
    badge.textContent = item.connected ? "connected" : "cut off";
    cell.replaceChildren(badge);
  }

  function applyFilter() {
    const text = byId("filter")?.value.trim().toLowerCase() ?? "";
    document.querySelectorAll("tr[data-device]").forEach((r) => {
      r.hidden = !r.dataset.device.toLowerCase().includes(text);
    });
  }

  document.addEventListener("input", (event) => {
    if (event.target.id === "filter") applyFilter();
  });

  // ---- chart ---------------------------------------------------------------

  /** Shows what a chart link points to, without loading the page anew. */
  async function show(href) {
    const url = new URL(href, location.href);
    url.searchParams.delete("after");
    if (await replace("chart", `/live/chart?${url.searchParams}`)) {
      history.replaceState(null, "", url);
    } else {
      location.assign(href);
    }
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-chart]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(link.href);
    if (!link.closest("#chart")) {
      byId("chart-section").scrollIntoView({ block: "nearest" });
    }
  });

  const KEYS = {
    "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", "−": "zoom-out",
    ArrowLeft: "earlier", ArrowRight: "later", 0: "newest",
  };

  document.addEventListener("keydown", (event) => {
    if (event.target.id !== "plot" || !(event.key in KEYS)) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    byId(KEYS[event.key])?.click();
  });

  let dragging = null; // { plot, start, now }, as shares of the plot's width

  function share(plot, clientX) {
    const box = plot.getBoundingClientRect();
    const at = (clientX - box.left) / box.width;
    return Math.min(Math.max(at, Number(plot.dataset.left)), Number(plot.dataset.right));
  }

  document.addEventListener("pointerdown", (event) => {
    const plot = event.target.closest?.("#plot");
    if (!plot || event.button !== 0) return;
    const start = share(plot, event.clientX);
    dragging = { plot, start, now: start };
    plot.setPointerCapture(event.pointerId);
  });

  document.addEventListener("pointermove", (event) => {
    if (!dragging) return;
    const { plot, start } = dragging;
    dragging.now = share(plot, event.clientX);
    const width = plot.viewBox.baseVal.width;
    const selection = plot.querySelector("#selection");
    selection.setAttribute("x", Math.min(start, dragging.now) * width);
    selection.setAttribute("width", Math.abs(start - dragging.now) * width);
  });

  function drop(event) {
    if (!dragging) return;
    const { plot, start, now } = dragging;
    dragging = null;
    plot.querySelector("#selection").setAttribute("width", 0);
    if (event.type === "pointercancel" || Math.abs(start - now) < 0.01) return;
    const left = Number(plot.dataset.left);
    const room = Number(plot.dataset.right) - left;
    const from = Number(plot.dataset.from);
    const length = Number(plot.dataset.to) - from;
    const time = (at) => Math.round(from + ((at - left) / room) * length);
    const url = new URL(byId("newest").href);
    url.searchParams.set("from_us", time(Math.min(start, now)));
    url.searchParams.set("to_us", time(Math.max(start, now)));
    show(url);
  }

  document.addEventListener("pointerup", drop);
  document.addEventListener("pointercancel", drop);

  /** Whether the chart follows the newest values of this series. */
  function follows(item) {
    const chart = byId("chart");
    if (!chart || chart.dataset.device !== item.device) return false;
    const asked = new URLSearchParams(chart.dataset.fragment.split("?")[1]);
    return !asked.has("from_us") && asked.get("name") === item.name;
  }

  // ---- stream --------------------------------------------------------------

  const status = byId("stream");
  let opened = false;

  function connect() {
    const stream = new EventSource("/live");
    stream.addEventListener("open", () => {
      status.textContent = "Live";
      status.className = "good";
      // What happened while nobody listened.
      if (opened) ["fleet", "chart", "runs", "commands"].forEach(refresh);
      opened = true;
    });
    stream.addEventListener("update", (event) => {
      const update = JSON.parse(event.data);
      update.readings.forEach((item) => reading(item, update.at_us));
      update.links.forEach(linked);
      if (update.readings.some(follows)) refresh("chart");
      ["fleet", "runs", "commands"].filter((id) => update[id]).forEach(refresh);
    });
    stream.addEventListener("error", () => {
      status.textContent = "Connection lost, trying again…";
      status.className = "bad";
      if (stream.readyState === EventSource.CLOSED) {
        // Refused rather than cut off: the token may be revoked, or there are
        // too many pages. A fragment's answer tells which.
        refresh("runs");
        setTimeout(connect, 5000);
      }
    });
  }

  connect();
})();
