// The checkout page: follows its invoice, counts the time down, copies addresses.
//
//   <div id="ways" data-part> is put in anew when the page has other words for it.
//   <span data-until="µs"> says how long that is. <button data-copy="text"> copies.
//
// What wallets do is in wallets.js, which is told of each answer by Checkout.onAnswer.
"use strict";

window.Checkout = (() => {
  const FASTEST_MS = 1500; // between two questions, while something happens
  const BUSY_MS = 4000; // … at most, while something is on its way
  const SLOWEST_MS = 30000; // … while nothing happens
  const AWAY_MS = 60000; // … while the hub does not answer
  const SLOWER = 1.5;
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const path = location.pathname.replace(/\/+$/, "");

  // ---- time ----------------------------------------------------------------

  // The hub's clock, not the payer's, says how much time is left.
  let ahead_us = Number(document.currentScript.dataset.now) - Date.now() * 1000;
  const now_us = () => Date.now() * 1000 + ahead_us;

  function length(us) {
    const seconds = Math.max(0, Math.floor(us / 1e6));
    const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(seconds / unit));
    if (days > 1) return `${days} days left`;
    if (hours > 0) return `${hours} h ${minutes % 60} min left`;
    return minutes > 0 ? `${minutes} min ${seconds % 60} s left` : `${seconds} s left`;
  }

  function count() {
    for (const place of $$("[data-until]")) {
      const left_us = Number(place.dataset.until) - now_us();
      const text = length(left_us);
      if (place.textContent !== text) place.textContent = text;
      place.hidden = false;
      if (left_us < 0 && place.dataset.over === undefined) {
        place.dataset.over = "";
        hurry();
      }
    }
  }

  // ---- what is told --------------------------------------------------------

  /** A sentence in its place of the page; null takes it away. */
  function tell(text, kind = "info", place = $("#doing")) {
    place.textContent = text ?? "";
    place.className = place.id === "doing" ? `alert ${kind}` : kind;
    place.hidden = text === null;
  }

  // ---- parts of the page ---------------------------------------------------

  // What the hub had for each, before anything was added to it.
  const parts = new Map($$("[data-part]").map((part) => [part.id, part.innerHTML]));

  /** Whether somebody is in the middle of typing in there. */
  const busy = (part) => part.contains(document.activeElement)
    && document.activeElement.matches("input");

  /** Puts in what the hub says now; false where something has to wait. */
  async function redraw() {
    const answer = await fetch(path, { headers: { accept: "text/html" }, cache: "no-store" });
    if (!answer.ok) return false;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    let whole = true;
    for (const [id, said] of parts) {
      const [old, fresh] = [document.getElementById(id), page.getElementById(id)];
      if (!fresh || fresh.innerHTML === said) continue;
      if (busy(old)) {
        whole = false;
        continue;
      }
      const held = old.contains(document.activeElement) ? document.activeElement.id : "";
      const chosen = $("details[open]", old)?.dataset.method;
      parts.set(id, fresh.innerHTML);
      if (chosen) {
        const all = $$("details", fresh);
        if (all.some((one) => one.dataset.method === chosen)) {
          all.forEach((one) => { one.open = one.dataset.method === chosen; });
        }
      }
      old.replaceChildren(...fresh.childNodes);
      alive();
      if (held) document.getElementById(held)?.focus({ preventScroll: true });
    }
    return whole;
  }

  // ---- following -----------------------------------------------------------

  const listeners = [];
  let data = null; // the newest answer
  let drawn = $("main").dataset.version; // what the page shows
  let wait_ms = FASTEST_MS;
  let timer = null;
  let asking = null;

  /** What of an answer changes the page. */
  const mark = ({ version, payable, payments, methods }) => JSON.stringify([version, payable,
    payments.map((one) => one.confirmations),
    methods.map((one) => [one.transactions.length, one.typed_data !== null && one.hub_pays_gas, one.unusable])]);

  function soon(ms) {
    clearTimeout(timer);
    // Not all at once, when many have waited for the same block.
    timer = setTimeout(look, ms * (0.8 + 0.4 * Math.random()));
  }

  async function ask() {
    clearTimeout(timer);
    let answer = null;
    let is_whole = false;
    try {
      answer = await fetch(`${path}/checkout`, { headers: { accept: "application/json" }, cache: "no-store" });
      if (!answer.ok) throw new Error(`the hub answered ${answer.status}`);
      data = await answer.json();
      ahead_us = data.now_us - Date.now() * 1000;
      const own = mark(data);
      if (own === drawn) {
        const on_its_way = ["seen", "confirming"].includes(data.state) || listeners.some((one) => one.waits());
        wait_ms = Math.min(wait_ms * SLOWER, on_its_way ? BUSY_MS : SLOWEST_MS);
      } else {
        wait_ms = FASTEST_MS;
        if (drawn === String(data.version) && data.payable === Boolean($("[data-until]"))) drawn = own;
        else if (await redraw()) drawn = own;
      }
      tell(null, "", $("#link"));
      is_whole = true;
    } catch {
      const after_ms = Number(answer?.headers.get("retry-after")) * 1000 || 0;
      wait_ms = Math.min(Math.max(wait_ms * 2, after_ms), AWAY_MS);
      const why = answer && !answer.ok ? `The hub answers ${answer.status}` : "The hub does not answer";
      tell(`${why}; what you see may be out of date. Trying again.`, "bad", $("#link"));
    }
    if (!document.hidden) soon(wait_ms);
    if (!is_whole) return false;
    count();
    for (const listener of listeners) listener.answered(data);
    return true;
  }

  /** Asks now; who asks meanwhile waits for the same answer. Whether there was one. */
  function look() {
    asking ??= ask().finally(() => { asking = null; });
    return asking;
  }

  /** Asks more often again: something is about to happen. */
  function hurry() {
    wait_ms = FASTEST_MS;
    return look();
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) clearTimeout(timer);
    else look();
  });
  addEventListener("online", look);

  // ---- copying -------------------------------------------------------------

  /** Where the clipboard is not given to pages (without TLS) what is selected is copied. */
  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      return true;
    } catch {
      const text = button.previousElementSibling;
      if (!text) return false;
      getSelection().selectAllChildren(text);
      return document.execCommand("copy");
    }
  }

  /** Shows what does nothing without this script. */
  function alive() {
    for (const button of $$("[data-copy]")) button.hidden = false;
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    button.textContent = await copy(button) ? "Copied" : "Select it";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });

  alive();
  setInterval(count, 1000);
  count();
  // Once all scripts are there.
  addEventListener("DOMContentLoaded", look);

  return {
    $, $$, path, now_us, tell, look, hurry,
    /** The newest answer of the hub. */
    get data() { return data; },
    /** `answered(data)` is called with each answer; while `waits()` is true it is asked for more often. */
    onAnswer(answered, waits) { listeners.push({ answered, waits }); },
  };
})();
