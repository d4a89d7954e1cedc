// What the pages that sell and buy have in common: the hub's API, exact amounts, listings as they are handed
// around, and one thing at a time.
//
//   <… data-account="0x…" data-chains='[{"id":1,"name":"…","add_chain":{…},"tokens":[…]}]'> says who has signed
//   in, and what the hub knows of its chains; amounts are whole numbers of base units, and never fractions.
"use strict";

window.Trading = (() => {
  const MAX_UNITS = (1n << 256n) - 1n;
  const MAX_LISTING = 16 * 1024; // characters
  const AGAIN_MS = 2000; // between two questions for a receipt
  const RECEIPT_MS = 600000;
  const LATEST_S = 253402300799; // the last second of the year 9999
  const ADDRESS = /^0x[0-9a-f]{40}$/i;
  const NUMBER = /^\d{1,78}$/;
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

  const about = $("[data-chains]")?.dataset ?? {};
  const account = about.account ?? null;
  const chains = JSON.parse(about.chains ?? "[]");

  // ---- what is told --------------------------------------------------------

  /** A sentence in its place of the page; null takes it away. */
  function tell(text, kind = "info") {
    const place = $("#doing");
    place.textContent = text ?? "";
    place.className = `alert ${kind}`;
    place.hidden = text === null;
    if (text !== null) place.scrollIntoView({ block: "nearest" });
  }

  const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;

  /** Asks the hub: what it says, or why it does not, in words. */
  async function hub(method, path, body) {
    try {
      const answer = await fetch(path, {
        method, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store",
        headers: { accept: "application/json", ...(body === undefined ? {} : { "content-type": "application/json" }) },
      });
      const data = await answer.json().catch(() => null);
      if (answer.ok) return { ok: true, data };
      const why = answer.status === 401
        ? "Your session has ended: sign in again."
        : sentence(String(data?.detail ?? `the hub answered ${answer.status}`));
      return { ok: false, data: null, why };
    } catch {
      return { ok: false, data: null, why: "The hub does not answer. Try again." };
    }
  }

  // ---- amounts and times ---------------------------------------------------

  const chain = (id) => chains.find((one) => one.id === id);

  const is_coin = (contract) => contract === null || /^0x0{40}$/.test(contract);

  /** What is paid with: the coin, or a token that the hub knows; undefined where it does not. */
  function money(id, contract) {
    const same = (one) => (is_coin(contract)
      ? one.contract === null
      : one.contract?.toLowerCase() === contract.toLowerCase());
    return chain(id)?.tokens.find(same);
  }

  /** Base units as people read them, to the last digit. */
  function written(units, token) {
    if (!token) return `${units} base units`;
    const digits = String(units).padStart(token.decimals + 1, "0");
    const at = digits.length - token.decimals;
    const rest = digits.slice(at).replace(/0+$/, "").padEnd(Math.min(2, token.decimals), "0");
    return `${digits.slice(0, at)}${rest ? `.${rest}` : ""} ${token.symbol}`;
  }

  /** What somebody has typed, in base units. */
  function units(text, token) {
    const found = /^(\d{1,78})(?:\.(\d{1,78}))?$/.exec(text.trim());
    if (!found) throw new Wallets.Said("A price is digits, with a point before decimals, such as 2.5.");
    const rest = (found[2] ?? "").replace(/0+$/, "");
    if (rest.length > token.decimals) {
      throw new Wallets.Said(`${token.symbol} has ${token.decimals} decimals, and this price has ${rest.length}.`);
    }
    const amount = BigInt(found[1] + rest.padEnd(token.decimals, "0"));
    if (amount === 0n) throw new Wallets.Said("The price is zero: give more than that.");
    if (amount > MAX_UNITS) throw new Wallets.Said("The price is more than there can be.");
    return amount;
  }

  /** Seconds since 1970 as people read them. */
  function when(seconds) {
    if (!(seconds <= LATEST_S)) return `${seconds} seconds after 1970`;
    return `${new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
  }

  // ---- listings ------------------------------------------------------------

  const fields = ["tokenId", "price", "proceeds", "nonce"];

  /** What stands in a text that somebody was given: a listing, or a link with one. */
  function read(text) {
    const none = (why) => new Wallets.Said(`This is no listing: ${why}.`);
    if (text.length > MAX_LISTING) throw none(`it is longer than ${MAX_LISTING} characters`);
    let plain = text.trim();
    const linked = /#listing=([\w-]+)$/.exec(plain);
    let offer;
    try {
      if (linked) {
        const bytes = atob(linked[1].replace(/-/g, "+").replace(/_/g, "/"));
        plain = new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes, (one) => one.charCodeAt(0)));
      }
      offer = JSON.parse(plain);
    } catch {
      throw none(linked ? "the link is cut off, or was changed" : "it is neither a link of this page's nor JSON");
    }
    const listing = offer?.listing;
    if (offer?.typed_data) throw none("it is what was to be signed, without a signature");
    if (typeof listing !== "object" || listing === null) throw none("there is no `listing` in it");
    if (!Number.isSafeInteger(offer.chain_id) || offer.chain_id < 1) throw none("`chain_id` is no chain's");
    for (const [name, value] of [["market", offer.market], ...["seller", "collection", "token"].map((it) => [it, listing[it]])]) {
      if (typeof value !== "string" || !ADDRESS.test(value)) throw none(`\`${name}\` is no address`);
    }
    for (const name of fields) {
      if (typeof listing[name] !== "string" || !NUMBER.test(listing[name])) throw none(`\`${name}\` is no whole number in a text`);
    }
    if (!NUMBER.test(String(listing.expires))) throw none("`expires` is no whole number of seconds");
    if (typeof offer.signature !== "string" || !/^0x[0-9a-f]*$/i.test(offer.signature)) throw none("`signature` is no signature");
    if (offer.tenant !== undefined && typeof offer.tenant !== "string") throw none("`tenant` is no name");
    return offer;
  }

  /** A listing behind a `#`, where no server is sent it. */
  function fragment(offer) {
    const bytes = new TextEncoder().encode(JSON.stringify(offer));
    const coded = btoa(String.fromCharCode(...bytes));
    return `#listing=${coded.replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "")}`;
  }

  const same = (a, b) => a.toLowerCase() === b.toLowerCase();

  /** Which listing it is: a nonce is good for one sale. */
  const name_of = (offer) => [offer.chain_id, offer.market, offer.listing.seller, offer.listing.nonce].join(":").toLowerCase();

  // ---- what is kept in the browser -----------------------------------------

  function recall(place) {
    try {
      return JSON.parse(localStorage.getItem(place));
    } catch {
      return null;
    }
  }

  /** Whether it is kept beyond this page. */
  function keep(place, what) {
    try {
      if (what === null) localStorage.removeItem(place);
      else localStorage.setItem(place, JSON.stringify(what));
      return true;
    } catch {
      return false;
    }
  }

  // ---- wallets -------------------------------------------------------------

  let running = false;
  const drawing = [];

  const draw = () => drawing.forEach((one) => one());

  /** One thing at a time; what goes wrong is told. */
  async function alone(wallet, what) {
    if (running) return;
    const pressed = document.activeElement?.id;
    running = true;
    draw();
    try {
      await what();
    } catch (error) {
      tell(Wallets.explain(error, wallet), "bad");
    }
    running = false;
    draw();
    // What was pressed may have been drawn anew.
    if (pressed && document.activeElement === document.body) document.getElementById(pressed)?.focus({ preventScroll: true });
  }

  /** The account that has signed in, in a wallet that is on this chain. */
  async function at(wallet, id, name, add_chain) {
    const accounts = await Wallets.accounts(wallet);
    const own = accounts.find((one) => same(one, account));
    if (!own) {
      throw new Wallets.Said(`You have signed in as ${account}: choose that account in ${wallet.name}, and try again.`);
    }
    await Wallets.goTo(wallet, name, id, add_chain);
    return own;
  }

  const transaction = (id, { to, data }, value = "0") => ({
    chainId: `0x${id.toString(16)}`, to, data, value: `0x${BigInt(value).toString(16)}`,
  });

  /** Waits until a block has a transaction; whether it worked there. */
  async function included(wallet, tx) {
    const until = Date.now() + RECEIPT_MS;
    for (;;) {
      const worked = await Wallets.worked(wallet, tx);
      if (worked !== null) return worked;
      if (Date.now() > until) {
        throw new Wallets.Said("The chain has not taken the transaction yet. Look into the wallet, and try again in a while.");
      }
      await new Promise((done) => { setTimeout(done, AGAIN_MS); });
    }
  }

  // ---- what is shown -------------------------------------------------------

  function element(kind, properties, ...children) {
    const { dataset, ...rest } = properties;
    const made = Object.assign(document.createElement(kind), rest);
    Object.assign(made.dataset, dataset);
    made.append(...children);
    return made;
  }

  /** Terms and what is said of them; what is null is left out. */
  const facts = (all) => all.filter(([, said]) => said !== null).map(([term, said]) => element("div", {},
    element("dt", { textContent: term }), element("dd", {}, ...(Array.isArray(said) ? said : [said]))));

  const code = (textContent) => element("code", { textContent, className: "small" });

  /** A button for each wallet. An icon is a picture and nothing else: scripts in it do not run. */
  function choices(key, verb, act) {
    const all = Wallets.all();
    if (all.length === 0) {
      return [element("p", { className: "dim", textContent: "No wallet was found in this browser." })];
    }
    const items = all.map((wallet, at) => {
      const button = element("button", { type: "button", id: `${key}-${at}`, className: "primary", disabled: running });
      if (wallet.icon) button.append(element("img", { src: wallet.icon, alt: "", ariaHidden: "true", width: 24, height: 24 }));
      button.append(element("span", { textContent: `${verb} with ${wallet.name}` }));
      button.addEventListener("click", () => alone(wallet, () => act(wallet)));
      return element("li", {}, button);
    });
    return [element("ul", { className: "wallets" }, ...items)];
  }

  return {
    $, $$, account, chain, money, is_coin, written, units, when, read, fragment, same, name_of, recall, keep, tell, hub,
    alone, at, transaction, included, element, facts, code, choices, draw,
    /** Whether something is going on. */
    get running() { return running; },
    /** `draw()` is called whenever something that all show has changed. */
    onChange(one) { drawing.push(one); },
  };
})();
