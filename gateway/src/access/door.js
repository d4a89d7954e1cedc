"use strict";
const at = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const device = asked.get("device"), command = asked.get("command") || "open";
const key = `stencil access ${device}`;

const MAX_WALLETS = 8, MAX_NAME = 40, MAX_FILE = 16 * 1024;
/** For how long a challenge is used that was asked for; the door takes it for a minute longer. */
const FRESH_MS = 240_000;
const ANSWER_MS = 40_000;

/** What is told as it stands. */
class Said extends Error {}

/** What the door's words mean for who stands there. */
const ADVICE = {
  bad_proof: "Fetch the credential from the hub again, and choose the new file.",
  challenge_over: "Sign again: there is another text now.",
  challenge_unknown: "Sign again: there is another text now.",
  device_away: "Try again in a moment.",
  expired: "Fetch a fresh one from the hub, and choose the new file.",
  not_the_holder: "Choose the account of the right in your wallet, and sign again.",
  other_command: "Choose the file of the right that is for this.",
  other_device: "Choose the file of the right that is for this door.",
  revoked: "The right was taken away: ask who gave it to you.",
  suspended: "The right does not hold for now: ask who gave it to you.",
};

const say = (text, kind = "") => {
  const said = at("said");
  said.textContent = text;
  said.className = kind;
  if (text) said.scrollIntoView({ block: "nearest" });
};

const sentence = (text) => /[.!?…]$/.test(text) ? text : `${text}.`;

// ---- what the door says ------------------------------------------------------

/** Asks the door: whether it agrees, and what it says. */
const door = async (path, more = {}) => {
  let answer;
  try {
    answer = await fetch(path, { ...more, signal: AbortSignal.timeout(ANSWER_MS) });
  } catch {
    throw new Said("The door does not answer: is this phone still in its network?");
  }
  const body = await answer.json().catch(() => ({}));
  return { ok: answer.ok, body };
};

let given = null; // the challenge, its text, and when it came

/** Asks for a challenge. */
const ask = async () => {
  given = null;
  const { ok, body } = await door(
    `challenge?device=${encodeURIComponent(device)}&command=${encodeURIComponent(command)}`);
  if (ok) {
    given = { ...body, came_ms: performance.now() };
    at("text").textContent = body.text;
    at("qr").hidden = !body.qr;
    if (body.qr) at("qr").src = `data:image/svg+xml,${encodeURIComponent(body.qr)}`;
  }
  show();
  if (!ok) throw new Said(sentence(body.detail || "The door gives no text to sign"));
};

/** What is wrong before anybody has signed; nothing: the empty text. */
const warning = () => {
  const now_us = given.challenge.given_us;
  if (given.admits_until_us === null || given.admits_until_us <= now_us) {
    return "This door admits nobody now: it has to reach its hub first.";
  }
  const apart = Math.round(Math.abs(Date.now() - now_us / 1000) / 1000);
  return apart > 120 ? `This phone's clock and the door's differ by ${apart} s: one of them is wrong.` : "";
};

/** Brings a signature. */
const open = async (signature) => {
  say("…");
  const { body } = await door("open", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ challenge: given.challenge, signature, credential: credential() }),
  });
  // Its nonce is used up, whatever became of it; that there is no other one takes nothing back.
  given = null;
  await ask().catch(() => {});
  const outcomes = {
    done: [`Done: ${device} has done “${command}”.`, "good"],
    sent: [`${device} was told “${command}”, and has not answered yet.`, ""],
    failed: [`${device} could not do “${command}”.`, "bad"],
    expired: [`${device} did not begin with “${command}” in time. Try again.`, "bad"],
  };
  const [text, kind] = outcomes[body.state]
    || [`Not done: ${sentence(body.detail || "the door does not say why")} ${ADVICE[body.code] || ""}`.trim(), "bad"];
  say(text, kind);
};

// ---- the credential ----------------------------------------------------------

// It is kept for the next time, where the browser lets it be.
const kept = {
  get: () => { try { return kept.now ?? localStorage.getItem(key); } catch { return null; } },
  set: (text) => { kept.now = text; try { localStorage.setItem(key, text); } catch { /* kept.now is there */ } },
  forget: () => { kept.now = null; try { localStorage.removeItem(key); } catch { /* there is none */ } },
};

/** What a credential says, or nothing where it is none of a right. The door alone checks it. */
const read = (found) => {
  const subject = [found?.credentialSubject].flat()[0];
  const holder = /0x[0-9a-f]{40}$/i.exec(subject?.id ?? "")?.[0];
  const { device, commands } = subject?.access ?? {};
  if (!holder || typeof device !== "string" || !Array.isArray(commands)) return null;
  return { holder, device, commands, until: Date.parse(found.validUntil) };
};

const credential = () => {
  try { return JSON.parse(kept.get()); } catch { return null; }
};

/** Takes a file; one that is for something else is not kept. */
const take = async (file) => {
  const wrong = new Said(`${file.name} is no credential of a right: choose the file that the hub gave you.`);
  if (file.size > MAX_FILE) throw wrong;
  const text = await file.text();
  let found;
  try { found = read(JSON.parse(text)); } catch { throw wrong; }
  if (!found) throw wrong;
  if (found.device !== device) {
    throw new Said(`${file.name} is for ${found.device}, and this is the door of ${device}.`);
  }
  kept.set(text);
  say("");
  show();
};

const show = () => {
  const found = read(credential());
  const over = found && found.until <= Date.now();
  at("has").textContent = found
    ? `There is one, of ${found.holder}, for: ${found.commands.join(", ")}. `
      + `It is valid until ${Number.isNaN(found.until) ? "?" : new Date(found.until).toLocaleString()}.`
      + (over ? " That is over: fetch a fresh one from the hub." : "")
    : "";
  at("kept").hidden = !found;
  at("ask").hidden = !found || !given;
  at("retry").hidden = Boolean(given);
};

// ---- wallets (EIP-1193), of which several may be there (EIP-6963) --------------

const announced = new Map(); // uuid → { name, provider }

const wallets = () => {
  if (announced.size > 0) return [...announced.values()];
  const provider = window.ethereum;
  return typeof provider?.request === "function" ? [{ name: "the wallet in this browser", provider }] : [];
};

/** A button for each. */
const offer = () => {
  const all = wallets();
  const buttons = all.map(({ name, provider }) => {
    const button = document.createElement("button");
    button.textContent = `Sign with ${name}`;
    button.addEventListener("click", guard(() => sign(name, provider)));
    return button;
  });
  at("wallets").replaceChildren(...buttons);
  at("none").hidden = all.length > 0;
  if (all.length === 0) at("elsewhere").open = true;
};

addEventListener("eip6963:announceProvider", (event) => {
  const { info, provider } = event.detail ?? {};
  if (typeof provider?.request !== "function" || typeof info?.uuid !== "string") return;
  if (announced.has(info.uuid) || announced.size >= MAX_WALLETS) return;
  const name = String(info.name ?? "").replace(/[\p{C}\s]+/gu, " ").trim().slice(0, MAX_NAME);
  announced.set(info.uuid, { name: name || "a wallet without a name", provider });
  offer();
});

/** What a wallet's error means. Some wrap the error that they mean. */
const explain = (error, name) => {
  if (error instanceof Said) return error;
  const code = error?.data?.originalError?.code ?? error?.code;
  switch (code) {
    case 4001: return new Said(`You said no in ${name}. Nothing was done; you can try again.`);
    case 4100: return new Said(`${name} does not let this page use the account: allow it there, and try again.`);
    case -32002: return new Said(`${name} has a question open already: look there.`);
    default: return new Said(`${name} says: ${String(error?.message ?? error).slice(0, 300)}`);
  }
};

/** Has the holder's account sign the text, and brings it to the door. */
const sign = async (name, provider) => {
  if (!given || performance.now() - given.came_ms > FRESH_MS) await ask();
  const { holder } = read(credential());
  let signature;
  try {
    say(`Look into ${name}: it asks whether this page may see your account.`);
    const shown = await provider.request({ method: "eth_requestAccounts" });
    const accounts = Array.isArray(shown) ? shown : [];
    const account = accounts.find((one) => String(one).toLowerCase() === holder.toLowerCase());
    if (!account) {
      throw new Said(`The right is of ${holder}, and ${name} shows ${accounts.join(", ") || "no account"}. `
        + "Choose the account of the right there, and try again.");
    }
    say(`Look into ${name}: it shows the text. Sign it if it names this door.`);
    const bytes = new TextEncoder().encode(given.text);
    const hex = "0x" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    signature = await provider.request({ method: "personal_sign", params: [hex, account] });
  } catch (error) {
    throw explain(error, name);
  }
  await open(signature);
};

// ---- what is pressed ----------------------------------------------------------

/** What goes wrong is told. */
function told(work) {
  return async (event) => {
    try {
      await work(event);
    } catch (error) {
      say(error instanceof Said ? error.message : `This page went wrong: ${error?.message ?? error}`, "bad");
    }
  };
}

let busy = false;

/** And one thing at a time: what is pressed twice is done once. */
function guard(work) {
  const tell = told(work);
  return async (event) => {
    if (busy) return;
    busy = true;
    document.body.setAttribute("aria-busy", "true");
    await tell(event);
    busy = false;
    document.body.removeAttribute("aria-busy");
  };
}

const begin = guard(async () => {
  say("");
  await ask();
  say(warning());
});

at("file").addEventListener("change", told(async ({ target }) => {
  const [file] = target.files;
  // So that the same file can be chosen again.
  try { if (file) await take(file); } finally { target.value = ""; }
}));
at("forget").addEventListener("click", told(async () => { kept.forget(); show(); at("file").focus(); }));
at("again").addEventListener("click", begin);
at("send").addEventListener("click", guard(async () => {
  const signature = at("signature").value.trim();
  if (!signature) throw new Said("Bring the signature here first.");
  if (!given) throw new Said("There is no text to sign now: press “Try again”, and sign the one that comes.");
  at("signature").value = "";
  await open(signature);
}));

if (device) {
  document.title = `${device}: ${command}`;
  at("what").textContent = `Device ${device}: ${command}`;
  at("right").hidden = false;
  dispatchEvent(new Event("eip6963:requestProvider"));
  offer();
  // Phones put it there late.
  addEventListener("ethereum#initialized", offer, { once: true });
  begin();
}
