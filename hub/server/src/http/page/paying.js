// Paying with a wallet of the browser, by the way that is chosen, and saying where a refund goes.
//
// Nothing is sent twice: what a wallet is asked for is noted in the browser's storage before it is
// asked, and another question waits until it is known what came of it, also after a reload.
"use strict";

(() => {
  const { $, $$, path, now_us, tell, look, hurry } = Checkout;
  const { Said, ADDRESS, ask, number } = Wallets;
  const AGAIN_MS = 2000; // between two questions for a receipt
  const RECEIPT_MS = 600000;
  const LOOK_MS = 5000; // between two tries to hand an authorisation over, or to find a transaction
  const HOLDS_S = 3600; // for how long an authorisation holds at most
  const HOLDS_LEAST_S = 300;

  // ---- what is on its way --------------------------------------------------
  //
  // { step, method, account, wallet, before, tx?, body?, failed? } with the steps
  //   "approving": a contract is let take the token; asking for it again does no harm
  //   "asked":     the wallet was asked to send, and has not answered
  //   "sent":      it has sent `tx`
  //   "signed":    `body` is signed; the hub is given it until it has come
  //   "failed":    so many authorisations came to nothing: their nonces are not used again

  const place = `stencil-checkout:${path.split("/").pop()}`;
  let keeps = true; // whether the browser keeps anything
  let noted = recall();

  function recall() {
    try {
      const kept = JSON.parse(localStorage.getItem(place));
      return kept !== null && typeof kept === "object" ? kept : null;
    } catch {
      keeps = false;
      return noted ?? null;
    }
  }

  function note(what) {
    noted = what;
    try {
      if (what === null) localStorage.removeItem(place);
      else localStorage.setItem(place, JSON.stringify(what));
    } catch {
      keeps = false; // This page still knows.
    }
    draw();
  }

  addEventListener("storage", (event) => {
    if (event.key !== place) return;
    noted = recall();
    draw();
  });

  const is_open = () => ["asked", "sent", "signed"].includes(noted?.step);

  /** Whether the hub has seen what is on its way; a wallet may have sent it in another transaction. */
  const has_come = (data) => data.payments.length > noted.before || data.state === "settled";

  // ---- paying --------------------------------------------------------------

  let running = false;
  const named = (name) => Checkout.data?.methods.find((one) => one.name === name);

  /** One thing at a time, in all tabs of this invoice. */
  async function alone(wallet, pressed, what) {
    if (running) return;
    running = true;
    draw();
    try {
      const locked = async (lock) => {
        if (lock === null) throw new Said("Another tab of this page is at it already.");
        if (keeps) noted = recall();
        await what();
      };
      // Pages without TLS have no locks.
      if (navigator.locks) await navigator.locks.request(place, { ifAvailable: true }, locked);
      else await locked();
    } catch (error) {
      tell(Wallets.explain(error, wallet), "bad");
    }
    running = false;
    draw();
    if (document.activeElement === document.body) document.getElementById(pressed)?.focus({ preventScroll: true });
    hurry();
  }

  function written(units, token) {
    const digits = String(units).padStart(token.decimals + 1, "0");
    const at = digits.length - token.decimals;
    const rest = digits.slice(at).replace(/0+$/, "").padEnd(Math.min(2, token.decimals), "0");
    return `${digits.slice(0, at)}${rest ? `.${rest}` : ""} ${token.symbol}`;
  }

  const due = (method) => written(method.open.units, method.token);

  async function pay(wallet, name) {
    const shown = named(name);
    if (is_open() || !shown) return;
    const [account] = await Wallets.accounts(wallet);
    await Wallets.goTo(wallet, shown.chain, shown.chain_id, shown.add_chain);
    // Somebody else may have paid meanwhile.
    if (!await look()) throw new Said("The hub does not answer. Nothing was sent; try again in a minute.");
    const method = named(name);
    if (method?.unusable) throw new Said(`This way can't be used now: ${method.unusable}. Nothing was sent.`);
    if (!Checkout.data.payable || !method || BigInt(method.open.units) === 0n) {
      throw new Said("Nothing can be paid any more: see above.");
    }
    if (method.open.units !== shown.open.units) {
      throw new Said(`What is due has changed to ${due(method)}: look, and pay again.`);
    }
    const has = await Wallets.balance(wallet, method.token.contract, account);
    if (has !== null && has < BigInt(method.open.units)) {
      throw new Said(`The account ${account} has ${written(has, method.token)} on ${method.chain}, and ${due(method)} are due. `
        + "Choose another account in the wallet, or another way to pay.");
    }
    const about = { method: name, account, wallet: wallet.rdns, before: Checkout.data.payments.length };
    if (method.way === "authorization") await authorize(wallet, method, about);
    else await transact(wallet, method, about);
  }

  async function transact(wallet, method, about) {
    const steps = [...method.transactions];
    const last = steps.pop();
    for (const step of steps) await approve(wallet, method, about, step);
    tell(`Look into ${wallet.name}: it asks for the payment of ${due(method)}.`);
    note({ step: "asked", ...about });
    try {
      const tx = await Wallets.send(wallet, about.account, last);
      note({ step: "sent", tx, ...about });
      tell(null);
    } catch (error) {
      if (Wallets.hasRefused(error)) note(null);
      throw error;
    }
  }

  /** Lets the contract take the token, unless it may already. */
  async function approve(wallet, method, about, step) {
    const may = await number(wallet, method.token.contract, "0xdd62ed3e", about.account, method.contract); // allowance
    if (may !== null && may >= BigInt(method.open.units)) return;
    const is_same = noted?.step === "approving" && noted.method === about.method && noted.account === about.account;
    let tx = is_same ? noted.tx : null;
    if (tx === null) {
      tell(`Step 1 of 2: look into ${wallet.name}, and let the payment contract take ${due(method)}.`);
      tx = await Wallets.send(wallet, about.account, step);
      note({ step: "approving", tx, ...about });
    }
    tell("Step 1 of 2 is sent: waiting for the chain to have it. Step 2 follows.");
    const until = Date.now() + RECEIPT_MS;
    let worked = null;
    while (worked === null) {
      if (Date.now() > until) throw new Said("The chain has not taken step 1 yet; nothing was paid. Try again in a while.");
      worked = await Wallets.worked(wallet, tx);
      if (worked === null) await new Promise((done) => { setTimeout(done, AGAIN_MS); });
    }
    note(null);
    if (!worked) throw new Said("The chain did not take step 1, and nothing was paid. Try again.");
  }

  /** How many of the nonces are used up: by what came to nothing, or as the token says. */
  async function used_up(wallet, method, account) {
    let used = noted?.step === "failed" && noted.method === method.name ? noted.failed : 0;
    const is_used = (nonce) => number(wallet, method.token.contract, "0xe94a0102", account, nonce); // authorizationState
    while (used < method.nonces.length && await is_used(method.nonces[used]) === 1n) used += 1;
    if (used >= method.nonces.length) throw new Said("Too many signatures came to nothing: pay by another way.");
    return used;
  }

  async function authorize(wallet, method, about) {
    const { account } = about;
    const failed = await used_up(wallet, method, account);
    const now_s = Math.floor(now_us() / 1e6);
    const until_s = Math.floor(Checkout.data.expires_us / 1e6);
    const validBefore = String(Math.max(now_s + HOLDS_LEAST_S, Math.min(until_s, now_s + HOLDS_S)));
    const typed = structuredClone(method.typed_data);
    Object.assign(typed.message, { from: account, validBefore, nonce: method.nonces[failed] });
    tell(`Look into ${wallet.name}: it asks you to sign that ${due(method)} may go.`);
    const signature = await ask(wallet, "eth_signTypedData_v4", [account, JSON.stringify(typed)]);
    const { value, validAfter } = typed.message;
    const body = {
      method: method.name, attempt: method.attempt + failed, from: account, value, validAfter, validBefore, signature,
    };
    note({ step: "signed", body, failed, ...about });
    await bring();
  }

  let looked_ms = 0;

  /** Gives the hub what was signed. The same again is brought to the chain once. */
  async function bring() {
    looked_ms = Date.now();
    const { method, failed, body } = noted;
    const answer = await post(`${path}/authorization`, body);
    if (answer.ok) {
      const { status, succeeded } = answer.data ?? {};
      tell(null);
      if (status !== "lost" && succeeded !== false) return;
      note({ step: "failed", method, failed: failed + 1 });
      throw new Said("The chain did not take the payment, and nothing was paid. Sign again, or pay by another way.");
    }
    const is_away = answer.status === 0 || answer.status === 429 || answer.status >= 500;
    if (is_away) return; // It is tried again with one of the next answers.
    note(null);
    throw new Said(answer.problem);
  }

  /** What was sent may have come to nothing, which the hub does not see. */
  async function look_for(wallet) {
    looked_ms = Date.now();
    const { tx } = noted;
    if (await Wallets.worked(wallet, tx) !== false || noted?.tx !== tx) return;
    note(null);
    throw new Said("The chain did not take the payment: only its fee was spent. Try again, or pay by another way.");
  }

  async function post(to, body) {
    try {
      const answer = await fetch(to, {
        method: "POST", body: JSON.stringify(body),
        headers: { accept: "application/json", "content-type": "application/json" },
      });
      const data = await answer.json().catch(() => null);
      const why = String(data?.detail ?? `the hub answered ${answer.status}`);
      const problem = `${why[0].toUpperCase()}${why.slice(1).replace(/\.$/, "")}.`;
      return { ok: answer.ok, status: answer.status, data, problem };
    } catch {
      return { ok: false, status: 0, data: null, problem: "The hub does not answer." };
    }
  }

  // ---- where a refund goes -------------------------------------------------

  /** An address as it stands in what is signed: with its checksum, which tells a slip (EIP-55). */
  function checked(address, payers) {
    if (!ADDRESS.test(address)) throw new Said("An address is 0x and 40 digits or letters from a to f.");
    const known = payers.find((one) => one.toLowerCase() === address.toLowerCase());
    if (known) return known;
    if (/[a-f]/.test(address) && /[A-F]/.test(address)) return address;
    throw new Said("Copy the address as its wallet shows it, with small and capital letters: they tell a slip.");
  }

  async function confirm(wallet, form) {
    const id = form.dataset.refund;
    const method = Checkout.data.refunds.find((one) => one.id === id)?.method;
    const paid = Checkout.data.payments.filter((one) => one.method === method);
    const payers = [...new Set(paid.map((one) => one.from))];
    const address = checked(form.elements.namedItem("address").value.trim(), payers);
    const accounts = (await Wallets.accounts(wallet)).map((one) => one.toLowerCase());
    const payer = payers.find((one) => accounts.includes(one.toLowerCase()));
    if (!payer) {
      throw new Said(`The payment came from ${payers.join(" and ")}: choose that account in ${wallet.name}, and try again.`);
    }
    const bytes = new TextEncoder().encode(form.dataset.statement.replace("{address}", address));
    const text = `0x${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
    tell(`Look into ${wallet.name}: it asks you to sign where the money goes.`);
    const signature = await ask(wallet, "personal_sign", [text, payer]);
    const answer = await post(`${path}/refunds/${id}/address`, { address, payer, signature });
    if (!answer.ok) throw new Said(answer.problem);
    tell("The money goes there; this page shows when.", "good");
  }

  // ---- what is shown -------------------------------------------------------

  function element(kind, properties, ...children) {
    const made = Object.assign(document.createElement(kind), properties);
    made.append(...children);
    return made;
  }

  /** A button of a wallet. Its icon is a picture and nothing else: scripts in it do not run. */
  function button(wallet, id, text, type) {
    const made = element("button", { type, id, disabled: running, className: "primary" });
    made.dataset.by = wallet.id;
    if (wallet.icon) made.append(element("img", { src: wallet.icon, alt: "", ariaHidden: "true", width: 24, height: 24 }));
    made.append(element("span", { textContent: text }));
    return made;
  }

  function choices(key, verb, type) {
    const all = Wallets.all();
    if (all.length === 0) {
      return [element("p", { className: "dim", textContent: "No wallet was found in this browser." })];
    }
    const items = all.map((wallet, at) => element("li", {}, button(wallet, `${key}-${at}`, `${verb} with ${wallet.name}`, type)));
    return [element("ul", { className: "wallets" }, ...items)];
  }

  /** What is on its way, and the way out where it never comes. */
  function on_its_way() {
    const say = (kind, textContent) => element("p", { className: `alert ${kind}`, textContent });
    const again = (textContent) => element("button", { className: "again", type: "button", textContent });
    switch (noted.step) {
      case "signed": return [
        say("info", "Signed. The hub brings your payment to the chain, which can take some minutes."),
      ];
      case "sent": return [
        say("info", "Sent by your wallet. Waiting for the chain to have it."),
        element("p", { className: "small" }, "Transaction ", element("code", { textContent: noted.tx })),
        element("details", {}, element("summary", { textContent: "It does not come?" }), element("p", {
          textContent: "As long as it waits in your wallet, wait, too. If it was dropped there, you can pay anew.",
        }), again("It was dropped: pay anew")),
      ];
      default: return [
        say("warn", "Your wallet was asked for this payment, and what came of it is not known here. Look into it: "
          + "if it was sent, it shows here as soon as a block has it."),
        again("It was not sent: pay anew"),
      ];
    }
  }

  const shown = new WeakMap(); // place → what it shows

  function fill(spot, key, what) {
    if (shown.get(spot) === key) return;
    shown.set(spot, key);
    spot.replaceChildren(...what());
  }

  /** Fills in what is a wallet's, wherever there is a place for it and something has changed. */
  function draw() {
    const key = JSON.stringify([running, noted, Wallets.all().map((wallet) => wallet.id)]);
    $$("[data-wallet]").forEach((spot, at) => {
      if (!named(spot.dataset.wallet)) return;
      fill(spot, key, () => (is_open() && !running ? on_its_way() : choices(`pay-${at}`, "Pay", "button")));
    });
    $$("form[data-refund]").forEach((form, at) => {
      form.hidden = false;
      fill($("[data-signs]", form), key, () => choices(`sign-${at}`, "Sign", "submit"));
    });
  }

  const by = (pressed) => Wallets.all().find((wallet) => wallet.id === pressed?.dataset.by);

  document.addEventListener("click", (event) => {
    if (event.target.matches("button.again")) {
      note(null);
      tell(null);
      hurry();
      return;
    }
    const pressed = event.target.closest("[data-wallet] button[data-by]");
    const wallet = by(pressed);
    const name = pressed?.closest("[data-wallet]").dataset.wallet;
    if (wallet) alone(wallet, pressed.id, () => pay(wallet, name));
  });

  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-refund]");
    if (!form) return;
    event.preventDefault();
    const wallet = by(event.submitter);
    if (wallet) alone(wallet, event.submitter.id, () => confirm(wallet, form));
  });

  let was_payable = false;

  Checkout.onAnswer((data) => {
    const has_come_now = is_open() && has_come(data);
    if (!running && has_come_now) note(null);
    // What went wrong on the way no longer matters.
    if (!running && (has_come_now || (was_payable && !data.payable))) tell(null);
    was_payable = data.payable;
    if (!running && Date.now() - looked_ms > LOOK_MS) {
      const wallet = Wallets.all().find((one) => one.rdns === noted?.wallet);
      const failing = (error) => tell(error.message, "bad");
      if (noted?.step === "signed") bring().catch(failing);
      else if (noted?.step === "sent" && wallet) look_for(wallet).catch(failing);
    }
    draw();
  }, is_open);
  Wallets.onFound(draw);
})();
