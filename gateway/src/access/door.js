"use strict";
const at = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const device = asked.get("device"), command = asked.get("command") || "open";
const key = `stencil access ${device}`;
let given = null;

const say = (text) => { at("said").textContent = text; };

// The credential is kept for the next time, where the browser lets it be.
const kept = {
  get: () => { try { return localStorage.getItem(key); } catch { return kept.now || null; } },
  set: (text) => { kept.now = text; try { localStorage.setItem(key, text); } catch { /* kept.now is there */ } },
};

const credential = () => {
  try { return JSON.parse(kept.get()); } catch { return null; }
};

const show = () => {
  const found = credential();
  at("has").textContent = found ? `There is one, valid until ${found.validUntil || "?"}.` : "";
  at("ask").hidden = !found || !given;
};

const ask = async () => {
  say("");
  const answer = await fetch(`challenge?device=${encodeURIComponent(device)}&command=${encodeURIComponent(command)}`);
  const body = await answer.json();
  if (!answer.ok) { given = null; show(); return say(body.detail); }
  given = body;
  at("text").textContent = body.text;
  if (body.qr) at("qr").src = `data:image/svg+xml,${encodeURIComponent(body.qr)}`;
  const apart = Math.round(Math.abs(Date.now() - body.challenge.given_us / 1000) / 1000);
  if (apart > 120) say(`This phone's clock and the door's differ by ${apart} s: one of them is wrong.`);
  show();
};

const open = async (signature) => {
  say("…");
  const answer = await fetch("open", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ challenge: given.challenge, signature, credential: credential() }),
  });
  const body = await answer.json();
  const words = {
    done: "Done.", failed: "The device could not do it.", expired: "The device did not begin in time.",
    sent: "It was told, and has not answered yet.",
  };
  const said = words[body.state] || body.detail || "It did not work.";
  await ask();
  say(said);
};

const guard = (work) => async () => {
  try { await work(); } catch (error) { say(error.message || String(error)); }
};

at("file").addEventListener("change", guard(async () => {
  const text = await at("file").files[0].text();
  JSON.parse(text);
  kept.set(text);
  show();
}));
at("again").addEventListener("click", guard(ask));
at("send").addEventListener("click", guard(() => open(at("signature").value.trim())));
at("wallet").addEventListener("click", guard(async () => {
  if (!window.ethereum) throw new Error("There is no wallet in this browser: open this page in your wallet's, or use the code below.");
  const [account] = await window.ethereum.request({ method: "eth_requestAccounts" });
  const bytes = new TextEncoder().encode(given.text);
  const hex = "0x" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  await open(await window.ethereum.request({ method: "personal_sign", params: [hex, account] }));
}));

if (device) {
  at("what").textContent = `Device ${device}: ${command}`;
  at("right").hidden = false;
  guard(ask)();
}
