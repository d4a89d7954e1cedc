// Buying with a listing: what it says, what the hub says of it, and the purchase until the hub says that the account
// controls the device.
"use strict";

(() => {
  const { $, account, chain, written, when, same, tell, hub, element, facts, code, choices } = Trading;
  const { Said } = Wallets;
  const ALLOWANCE = "0xdd62ed3e"; // allowance(address,address) of a token
  const SOON_MS = 2000; // between two questions, at first
  const SELDOM_MS = 15000; // … at last
  const SLOWER = 1.2;
  const MAX_PAGES = 5; // of devices that the account holds
  const MAX_NAME = 120;
  const STEPS = ["Sent", "In a block", "Yours"];

  let offer = null;
  let verdict = null; // what the hub says of the offer
  let why = null; // why the hub says nothing of it
  let called = null; // the document's name; undefined where the hub does not have it
  let noted = null; // { tx, wallet, tenant, device, ends, included, done }: what was sent
  let held = null; // what the account holds of the device, by the hub

  const place = () => `stencil-buying:${account?.toLowerCase()}:${Trading.name_of(offer)}`;

  function note(what) {
    noted = what;
    Trading.keep(place(), what);
    Trading.draw();
  }

  // ---- taking a listing ----------------------------------------------------

  /** Takes what somebody was given. */
  async function take(text) {
    const taken = Trading.read(text);
    offer = taken;
    verdict = why = called = noted = held = null;
    history.replaceState(null, "", `${location.pathname}${Trading.fragment(offer)}`);
    $("#other").open = false;
    $("#other summary").textContent = "Take another listing";
    $("#tenant").value = offer.tenant ?? "";
    tell(null);
    const before = account ? Trading.recall(place()) : null;
    if (typeof before?.tx === "string" && typeof before.tenant === "string") noted = before;
    await check();
    if (noted) follow();
  }

  /** Asks the hub of it. */
  async function check() {
    if (!account || !offer.tenant) {
      Trading.draw();
      return;
    }
    const asked = offer;
    const answer = await hub("POST", `/api/v1/wallet/listings/${encodeURIComponent(asked.tenant)}/check`, asked);
    if (asked !== offer) return;
    verdict = answer.data;
    why = answer.ok ? null : answer.why;
    Trading.draw();
    if (verdict?.document && called === null) await name_document(verdict.document);
  }

  /** What the document that the passport names says of itself, where the hub has it. */
  async function name_document(uri) {
    const asked = offer;
    const cid = /^ipfs:\/\/([a-z2-7]+)$/.exec(uri)?.[1];
    let name;
    try {
      const answer = await fetch(`/ipfs/${cid}`);
      if (answer.ok) {
        const text = await answer.text();
        name = "";
        const said = JSON.parse(text)?.name;
        if (typeof said === "string") name = said.slice(0, MAX_NAME);
      }
    } catch {
      // A picture or a text has no name.
    }
    if (asked !== offer) return;
    called = name;
    Trading.draw();
  }

  // ---- buying --------------------------------------------------------------

  const token = () => (verdict?.symbol
    ? { symbol: verdict.symbol, decimals: verdict.decimals }
    : Trading.money(offer.chain_id, offer.listing.token)
      // Every chain's coin has as many.
      ?? (Trading.is_coin(offer.listing.token) ? { symbol: "of the chain's coin", decimals: 18 } : undefined));

  async function buy(wallet) {
    const { listing, market, chain_id } = offer;
    const on = chain(chain_id);
    if (!on) throw new Said("The hub does not follow the chain of this listing.");
    const own = await Trading.at(wallet, on.id, on.name, on.add_chain);
    // Somebody else may have bought it meanwhile.
    await check();
    if (!verdict?.good) throw new Said("It can't be bought any more: see above. Nothing was sent.");
    const price = BigInt(listing.price);
    const in_coin = Trading.is_coin(listing.token);
    const { approve, value } = verdict.buy;
    if (!same(verdict.buy.to, market) || BigInt(value) !== (in_coin ? price : 0n)) {
      throw new Said("The hub asks for something else than the listing says. Nothing was sent.");
    }
    const has = await Wallets.balance(wallet, in_coin ? null : listing.token, own);
    if (has !== null && has < price) {
      throw new Said(`The account has ${written(has, token())}, and the price is ${written(price, token())}. Nothing was sent.`);
    }
    if (approve !== null) await allow(wallet, own, on, approve);
    tell(`Look into ${wallet.name}: it asks for the payment of ${written(price, token())}.`);
    const tx = await Wallets.send(wallet, own, Trading.transaction(on.id, verdict.buy, value));
    tell(null);
    const { tenant } = offer;
    note({ tx, wallet: wallet.rdns, tenant, device: verdict.device, ends: verdict.right_ends_s, included: false, done: false });
    follow();
  }

  /** Lets the market take the price, unless it may already. */
  async function allow(wallet, own, on, approve) {
    const { listing, market } = offer;
    const may = await Wallets.number(wallet, listing.token, ALLOWANCE, own, market);
    if (may !== null && may >= BigInt(listing.price)) return;
    if (!same(approve.to, listing.token)) throw new Said("The hub asks for something else than the listing says. Nothing was sent.");
    tell(`Step 1 of 2: look into ${wallet.name}, and let the market take ${written(listing.price, token())}.`);
    const tx = await Wallets.send(wallet, own, Trading.transaction(on.id, approve));
    tell("Step 1 of 2 is sent: waiting for the chain to have it. Step 2 follows.");
    if (!await Trading.included(wallet, tx)) throw new Said("The chain did not take step 1, and nothing was paid. Try again.");
  }

  // ---- following -----------------------------------------------------------

  let is_away = false; // whether the hub did not answer last

  /** What the account holds of the device; undefined where the hub does not answer. */
  async function holds({ tenant, device }) {
    let after = null;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const query = after === null ? "" : `?after=${encodeURIComponent(after)}`;
      const answer = await hub("GET", `/api/v1/wallet/devices${query}`);
      if (!answer.ok) {
        tell(`${answer.why} What you see may be out of date.`, "bad");
        is_away = true;
        return undefined;
      }
      if (is_away) tell(null);
      is_away = false;
      const found = answer.data.items.find((one) => one.tenant === tenant && one.device === device);
      if (found) return found;
      after = answer.data.next;
      if (after === null) break;
    }
    return null;
  }

  /** Whether what was bought is the account's by the hub's word. */
  function has_come(what) {
    if (!held?.fresh) return false;
    if (what.ends === null) return held.by === "owner";
    return held.by === "user" ? held.expires_s >= what.ends : held.by === "owner" && what.included;
  }

  let following = 0;

  /** Looks until the account has what it has bought, or the chain says that it has not. */
  async function follow() {
    following += 1;
    const own = following;
    let wait_ms = SOON_MS;
    while (own === following && noted && !noted.done) {
      const what = noted;
      const wallet = Wallets.all().find((one) => one.rdns === what.wallet);
      const worked = what.included || !wallet ? null : await Wallets.worked(wallet, what.tx);
      const now = what.device ? await holds(what) : null;
      if (own !== following || noted !== what) return;
      if (worked === false) {
        note(null);
        tell("The chain has not taken the purchase: most likely somebody was faster. You have paid its fee, and not the price.", "bad");
        await check();
        return;
      }
      held = now;
      const included = what.included || worked === true || Boolean(held?.by.startsWith("owner"));
      const done = has_come(what) || (included && !what.device);
      if (included !== what.included || done) note({ ...what, included, done });
      Trading.draw();
      if (!done) await new Promise((soon) => { setTimeout(soon, wait_ms); });
      wait_ms = Math.min(wait_ms * SLOWER, SELDOM_MS);
    }
    // Whoever comes back later is told what is so then.
    if (own === following && noted?.done) Trading.keep(place(), null);
  }

  // ---- what is shown -------------------------------------------------------

  const alert = (kind, head, ...rest) => element("div", { className: `alert ${kind}` },
    element("p", {}, element("strong", { textContent: head })), ...rest);
  const say = (textContent) => element("p", { textContent });

  function commands(may) {
    if (may.includes("*")) return "You may give it every command.";
    return may.length === 0 ? "Its tenant lets nobody command it by that." : `You may give it: ${may.join(", ")}.`;
  }

  function progress() {
    const { device, included, done } = noted;
    if (done && !device) {
      return alert("good", "The token is yours.", say("No device of this tenant has it as its passport: there is nothing to command by it."));
    }
    if (done) return alert("good", `${device} is yours.`, say(commands(held?.may ?? [])));
    if (held && !held.fresh) {
      return alert("warn", "Bought, and not known to the hub yet.", say("The hub has not read the chain for too long. It says so here when it has."));
    }
    if (held?.by.endsWith("_to_be")) {
      return alert("info", "Bought: not final yet.", say(`The sale is in a block that may still go. Nobody commands ${device} by it meanwhile; nothing is left to do.`));
    }
    if (included) return alert("info", "Bought.", say("The chain has it; the hub has not read it yet."));
    return alert("info", "Sent by your wallet.", say("Waiting for the chain to have it."), element("p", { className: "small" }, "Transaction ", code(noted.tx)));
  }

  function standing() {
    if (noted) return [progress()];
    if (!account) {
      return [alert("warn", "Nobody has checked this listing.",
        say("What stands here is what it says of itself. Sign in with your wallet, and the hub says whether it is good; you come back to it."),
        element("p", {}, element("a", {
          className: "button primary", id: "sign-in", textContent: "Sign in with a wallet",
          href: `/login?next=${encodeURIComponent(location.pathname)}${Trading.fragment(offer)}`,
        })))];
    }
    if (why !== null) return [alert("bad", "It can't be checked.", say(why))];
    if (verdict === null) return offer.tenant ? [alert("info", "The hub looks at it.")] : [];
    if (verdict.good) return [alert("good", "It can be bought now.")];
    const problem = String(verdict.problem);
    return [alert("bad", "It can't be bought.", say(`${problem[0].toUpperCase()}${problem.slice(1)}.`))];
  }

  const kind = () => {
    if (!verdict?.good) return "A device's passport, or a right";
    const what = verdict.right_ends_s === null ? "The passport" : "A right to use";
    if (!verdict.device) return verdict.right_ends_s === null ? "A passport" : "A right";
    return verdict.right_ends_s === null ? `${what} of ${verdict.device}` : `${what} ${verdict.device}`;
  };

  function royalty() {
    if (!verdict?.royalty) return null;
    if (BigInt(verdict.royalty) === 0n) return "none";
    return [`${written(verdict.royalty, token())} of the price, to `, code(verdict.royalty_to)];
  }

  function document_of() {
    if (!verdict?.good || verdict.right_ends_s !== null) return null;
    if (!verdict.document) return "its contract names none";
    const cid = verdict.document.replace("ipfs://", "");
    if (called === undefined) return [code(verdict.document), " (this hub does not have it)"];
    return [element("a", { href: `/ipfs/${cid}`, textContent: called || "without a name" }), " ", code(verdict.document)];
  }

  function rights() {
    if (!verdict?.good || verdict.rights === null) return null;
    if (verdict.rights === 0) return "none";
    const until = when(verdict.rights_until_s);
    return verdict.rights === 1 ? `1, until ${until}: its user keeps it` : `${verdict.rights}, the longest until ${until}: their users keep them`;
  }

  function all() {
    const { listing, market, chain_id } = offer;
    const on = chain(chain_id);
    return facts([
      ["Device", verdict?.good ? verdict.device ?? "none of this tenant's" : null],
      ["Tenant", offer.tenant ?? null],
      ["Document", document_of()],
      ["Right until", verdict?.right_ends_s ? when(verdict.right_ends_s) : null],
      ["Rights that go on", rights()],
      ["Price", written(listing.price, token())],
      ["Royalty", royalty()],
      ["Seller", code(listing.seller)],
      ["For sale until", when(Number(listing.expires))],
      ["Paid with", Trading.is_coin(listing.token) ? null : code(listing.token)],
      ["Chain", `${on ? `${on.name}, ` : ""}chain id ${chain_id}`],
      ["Market", code(market)],
      ["Token", [code(listing.tokenId), " of ", code(listing.collection)]],
    ]);
  }

  function steps() {
    const at = noted.done ? STEPS.length : Number(noted.included) + 1;
    return STEPS.map((step, number) => {
      const made = element("li", { className: number < at ? "done" : "" }, step);
      if (number < at) made.append(element("span", { className: "unseen", textContent: ", done" }));
      else if (number === at) made.setAttribute("aria-current", "step");
      return made;
    });
  }

  const filled = new WeakMap(); // place → what it shows

  /** Leaves what is the same as it is: it is not read out again, and keeps the focus. */
  function fill(spot, key, made) {
    const own = JSON.stringify(key);
    if (filled.get(spot) === own) return;
    filled.set(spot, own);
    spot.replaceChildren(...made());
  }

  Trading.onChange(() => {
    if (!offer) return;
    const key = [offer, verdict, why, noted, held, called ?? String(called)];
    $("#about").textContent = "For sale";
    $("#title").textContent = kind();
    $("#price").textContent = written(offer.listing.price, token());
    $("#price").hidden = false;
    fill($("#standing"), key, standing);
    $("#facts-title").textContent = verdict?.good ? "What you get" : "What the listing says";
    $("#facts").hidden = false;
    fill($("#facts dl"), key, all);
    $("#where").hidden = !account || Boolean(offer.tenant);
    $("#steps").hidden = noted === null;
    fill($("#steps"), [noted], () => (noted ? steps() : []));
    const can_buy = verdict?.good && noted === null;
    fill($("#buy"), [can_buy, Trading.running, Wallets.all().map((one) => one.id)], () => (can_buy ? choices("buy", "Buy", buy) : []));
  });

  const nobody = { name: "the wallet" };

  $("#where").addEventListener("submit", (event) => {
    event.preventDefault();
    offer = { ...offer, tenant: $("#tenant").value.trim() };
    history.replaceState(null, "", `${location.pathname}${Trading.fragment(offer)}`);
    Trading.alone(nobody, check);
  });

  $("#taking").addEventListener("submit", (event) => {
    event.preventDefault();
    const [file] = $("#file").files;
    Trading.alone(nobody, async () => {
      const text = $("#text").value;
      if (text.trim() === "" && !file) throw new Said("Give a link, a text or a file.");
      if (text.trim() === "" && file.size > Number(event.target.dataset.most)) throw new Said("This file is too long for a listing.");
      await take(text.trim() === "" ? await file.text() : text);
      event.target.reset();
    });
  });

  function come() {
    if (location.hash.startsWith("#listing=")) Trading.alone(nobody, () => take(location.href));
  }

  addEventListener("hashchange", come);
  Wallets.onFound(Trading.draw);
  come();
})();
