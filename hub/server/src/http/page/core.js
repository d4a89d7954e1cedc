// What every page of the console does: parts that go on living, times that age, keys,
// and forms that write through the API.
//
//   <section id="runs" data-live="runs alarms" [data-every="5"] [data-from="/runs"]>
//     is asked for anew when the event stream tells of one of these, or every so many seconds.
//   <tr data-device="d"> … <td data-name="n"><b>value</b> <span>unit</span></td> … [data-seen]
//     shows readings as they come.
//   <form data-send="POST /api/v1/tokens" data-told="…" [data-then="/path" | data-then="stay"]
//     [data-confirm="…"] [data-key]> sends its fields as JSON. An answer goes to a listener of
//     the event "sent"; what is wrong stands in its .problem.
"use strict";

window.Stencil = (() => {
  const SLOWEST_MS = 1000; // between two requests for the same part
  const TOLD_MS = 6000;
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  let paused = false;

  // ---- what is told --------------------------------------------------------

  /** A short word in the corner, read out to who cannot see it. */
  function tell(text, kind = "info") {
    const box = $("#told");
    if (!box) return;
    const line = document.createElement("p");
    line.className = kind;
    line.textContent = text;
    box.append(line);
    setTimeout(() => line.remove(), kind === "bad" ? 2 * TOLD_MS : TOLD_MS);
  }

  /** To the form, and back here afterwards. */
  function signIn() {
    const here = encodeURIComponent(location.pathname + location.search);
    location.assign(`/login?next=${here}${location.hash}`);
  }

  // ---- times ---------------------------------------------------------------

  const script = document.currentScript;
  // The hub's clock, not the reader's, says how long ago something was.
  const ahead_us = Number(script?.dataset.now ?? Date.now() * 1000) - Date.now() * 1000;
  const now_us = () => Date.now() * 1000 + ahead_us;

  /** The same words as the server's. */
  function ago(us) {
    const seconds = Math.floor((now_us() - us) / 1e6);
    if (seconds < -1) return "in the future";
    if (seconds < 2) return "just now";
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} d ago`;
  }

  const utc = (us) => `${new Date(us / 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;

  function aged(element, us) {
    element.dataset.ago = us;
    element.dateTime = new Date(us / 1000).toISOString();
    element.title = utc(us);
    element.textContent = ago(us);
  }

  setInterval(() => {
    for (const element of $$("time[data-ago]")) {
      const text = ago(Number(element.dataset.ago));
      if (element.textContent !== text) element.textContent = text;
    }
  }, 1000);

  // ---- parts that live -----------------------------------------------------

  const waiting = new Set(); // addresses on their way
  const stale = new Set(); // ids that are to be asked for

  function source(part) {
    return part.dataset.from ?? location.pathname + location.search;
  }

  /** Asks for these parts anew, soon, and not more often than once a second. */
  function refresh(parts = $$("[data-live]")) {
    for (const part of parts) {
      stale.add(part.id);
      const address = source(part);
      if (waiting.has(address)) continue;
      waiting.add(address);
      setTimeout(async () => {
        waiting.delete(address);
        if (paused || document.hidden) return;
        await replace(address);
      }, SLOWEST_MS);
    }
  }

  /** Puts what `address` has of the stale parts in their places. */
  async function replace(address) {
    const ids = $$("[data-live]").filter((p) => stale.has(p.id) && source(p) === address)
      .map((p) => p.id);
    if (ids.length === 0) return;
    let answer;
    try {
      answer = await fetch(address, { headers: { accept: "text/html" } });
    } catch {
      return; // The stream's state tells that the hub is gone.
    }
    if (answer.status === 401 || (answer.redirected && new URL(answer.url).pathname === "/login")) {
      signIn();
      return;
    }
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const id of ids) {
      const old = document.getElementById(id);
      const fresh = page.getElementById(id);
      if (!old || !fresh || busy(old)) continue;
      stale.delete(id);
      if (same(old, fresh)) continue;
      const kept = keep(old);
      old.replaceWith(fresh);
      kept(fresh);
      document.dispatchEvent(new CustomEvent("refreshed", { detail: fresh }));
    }
  }

  /** Whether nothing but ages differs, so that nothing has to move. */
  function same(old, fresh) {
    const plain = (part) => {
      const copy = part.cloneNode(true);
      $$("time[data-ago]", copy).forEach((time) => { time.textContent = ""; });
      return copy.innerHTML;
    };
    return plain(old) === plain(fresh);
  }

  /** Whether a reader is in the middle of something in there. */
  function busy(part) {
    const chosen = getSelection();
    if (chosen && !chosen.isCollapsed && part.contains(chosen.anchorNode)) return true;
    return part.contains(document.activeElement)
      && document.activeElement.matches("input, textarea, select");
  }

  /** What a reader has done to a part, to be done again to the next one. */
  function keep(old) {
    const held = old.contains(document.activeElement) ? document.activeElement : null;
    const path = held && (held.id ? `#${CSS.escape(held.id)}`
      : held.getAttribute("href") && `a[href="${CSS.escape(held.getAttribute("href"))}"]`);
    const open = $$("details", old).map((d) => d.open);
    const scrolled = $$(".scroll", old).map((s) => [s.scrollLeft, s.scrollTop]);
    return (fresh) => {
      $$("details", fresh).forEach((d, i) => { d.open = open[i] ?? d.open; });
      $$(".scroll", fresh).forEach((s, i) => {
        if (scrolled[i]) [s.scrollLeft, s.scrollTop] = scrolled[i];
      });
      const again = path && ($(path, fresh) ?? (fresh.matches(path) ? fresh : null));
      again?.focus({ preventScroll: true });
    };
  }

  const due = new Map(); // id → when
  setInterval(() => {
    if (paused || document.hidden) return;
    const now = Date.now();
    const parts = $$("[data-live][data-every]").filter((part) => {
      const at = due.get(part.id) ?? now + Number(part.dataset.every) * 1000;
      if (now >= at || !due.has(part.id)) due.set(part.id, now + Number(part.dataset.every) * 1000);
      return now >= at;
    });
    if (parts.length) refresh(parts);
  }, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !paused) refresh(); });

  // ---- readings ------------------------------------------------------------

  /** As the server writes values. */
  function shown(value) {
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (typeof value !== "number") return String(value);
    const size = Math.abs(value);
    if (size !== 0 && (size < 0.001 || size >= 1e9) && !Number.isInteger(value)) {
      return value.toExponential(3).replace("e+", "e");
    }
    return String(Number(value.toFixed(3)));
  }

  function reading(item, at_us) {
    for (const row of $$(`[data-device="${CSS.escape(item.device)}"]`)) {
      const cell = $(`[data-name="${CSS.escape(item.name)}"]`, row);
      if (!cell) continue;
      const value = $("b", cell);
      const text = shown(item.value);
      if (value.textContent !== text) {
        value.textContent = text;
        value.classList.remove("fresh");
        void value.offsetWidth; // so that the mark begins anew
        value.classList.add("fresh");
      }
      const unit = $("[data-unit]", cell);
      if (unit) unit.textContent = item.unit ?? "";
      const when = $("time[data-time]", cell);
      if (when) aged(when, item.time_us);
      for (const seen of $$("time[data-seen]", cell.closest("tr") ?? row)) aged(seen, at_us);
    }
  }

  function linked(item) {
    for (const row of $$(`[data-device="${CSS.escape(item.device)}"]`)) {
      for (const cell of $$("[data-link]", row)) {
        const badge = document.createElement("span");
        badge.className = item.connected ? "badge good" : "badge bad";
        badge.textContent = item.connected ? "connected" : "cut off";
        cell.replaceChildren(badge);
      }
    }
  }

  // ---- stream --------------------------------------------------------------

  const listeners = [];
  let stream = null;
  let opened = false;

  function state(text, kind) {
    const status = $("#stream");
    if (!status || status.textContent === text) return;
    status.textContent = text;
    status.className = kind;
  }

  function update(news) {
    news.readings.forEach((item) => reading(item, news.at_us));
    news.links.forEach(linked);
    const told = (topic) => (Array.isArray(news[topic]) ? news[topic].length > 0 : news[topic]);
    refresh($$("[data-live]").filter((part) => part.dataset.live.split(" ").some(told)));
    for (const listener of listeners) listener(news);
  }

  function connect() {
    const only = document.body.dataset.watch;
    stream = new EventSource(only ? `/live?device=${encodeURIComponent(only)}` : "/live");
    const own = stream;
    stream.addEventListener("open", () => {
      state("Live", "good");
      if (opened) refresh(); // What happened while nobody listened.
      opened = true;
    });
    stream.addEventListener("update", (event) => update(JSON.parse(event.data)));
    stream.addEventListener("error", () => {
      if (paused) return;
      state("Connection lost, trying again", "bad");
      if (own.readyState === EventSource.CLOSED) {
        // Refused rather than cut off: the token may be revoked, or there are too many pages.
        // A part's answer tells which.
        refresh();
        setTimeout(() => { if (!paused) connect(); }, 5000);
      }
    });
  }

  const pause = $("#pause");
  if (pause) {
    pause.hidden = false;
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      if (paused) {
        stream?.close();
        state("Paused", "");
      } else {
        connect();
      }
    });
  }

  // ---- keys ----------------------------------------------------------------

  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const search = $("#search");
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  });

  // ---- writing -------------------------------------------------------------

  function key() {
    return [...crypto.getRandomValues(new Uint8Array(16))]
      .map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  /** Asks the API. Answers { ok, status, data, problem }, where `problem` is a sentence. */
  async function send(method, path, body, headers = {}) {
    const options = { method, headers: { accept: "application/json", ...headers } };
    if (typeof body === "string") {
      options.body = body;
    } else if (body !== undefined) {
      options.body = JSON.stringify(body);
      options.headers["content-type"] = "application/json";
    }
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      return { ok: false, status: 0, data: null, problem: "The hub does not answer." };
    }
    const text = await answer.text();
    let data = null;
    try { data = text ? JSON.parse(text) : null; } catch { data = text; }
    if (answer.ok) return { ok: true, status: answer.status, data, problem: null };
    if (answer.status === 401) {
      return { ok: false, status: 401, data, problem: "Your session has ended: sign in again." };
    }
    const why = data?.detail ?? data?.title ?? `The hub answered ${answer.status}.`;
    return { ok: false, status: answer.status, data, problem: why[0].toUpperCase() + why.slice(1) };
  }

  /** A form's fields as JSON; empty ones are left out, or null where the form says so. */
  function fields(form) {
    const body = {};
    for (const field of form.elements) {
      if (!field.name || field.disabled || field.type === "submit") continue;
      if (field.type === "checkbox") { body[field.name] = field.checked; continue; }
      if (field.type === "radio" && !field.checked) continue;
      if (field.value === "") {
        if (field.dataset.empty === "null") body[field.name] = null;
        continue;
      }
      const kind = field.dataset.type;
      if (kind === "number") body[field.name] = Number(field.value);
      else if (kind === "value") {
        // A command's argument: a number, true or false, else a text.
        const text = field.value.trim();
        body[field.name] = text === "true" ? true : text === "false" ? false
          : text !== "" && Number.isFinite(Number(text)) ? Number(text) : field.value;
      } else body[field.name] = field.value;
    }
    return body;
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.dataset?.send) return;
    event.preventDefault();
    if (form.dataset.confirm && !confirm(form.dataset.confirm)) return;
    const [method, path] = form.dataset.send.split(" ");
    const problem = $(".problem", form);
    const buttons = $$("button", form);
    buttons.forEach((button) => { button.disabled = true; });
    let body = fields(form);
    const shaping = new CustomEvent("sending", { detail: { body }, bubbles: true });
    form.dispatchEvent(shaping);
    body = shaping.detail.body;
    const empty = method === "DELETE" || (method === "POST" && form.dataset.bare !== undefined);
    const headers = form.dataset.key === undefined ? {} : { "idempotency-key": key() };
    const answer = await send(method, path, empty ? undefined : body, headers);
    buttons.forEach((button) => { button.disabled = false; });
    if (problem) {
      problem.textContent = answer.problem ?? "";
      problem.hidden = answer.ok;
    } else if (!answer.ok) tell(answer.problem, "bad");
    if (!answer.ok) return;
    form.dispatchEvent(new CustomEvent("sent", { detail: answer.data, bubbles: true }));
    if (form.dataset.told) tell(form.dataset.told, "good");
    const then = form.dataset.then;
    if (then?.startsWith("/")) location.assign(then);
    else {
      if (then !== "keep") form.reset();
      refresh();
    }
  });

  if ($("#stream")) connect();

  return {
    $, $$, tell, signIn, ago, aged, utc, now_us, shown, refresh, send, fields, key,
    /** Calls `listener` with each message of the event stream. */
    onUpdate(listener) { listeners.push(listener); },
    get paused() { return paused; },
  };
})();
