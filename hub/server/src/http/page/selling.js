// Selling what the account holds: the terms, the approval that may be missing, the signature; and the signed
// listings, which this browser keeps and nobody else.
"use strict";

(() => {
  const { $, $$, account, chain, written, units, when, same, tell, hub, element, facts, code, choices } = Trading;
  const { Said, ask } = Wallets;
  const MAX_KEPT = 20;
  const STATE_OF = "0xcf888ec3"; // stateOf(address,uint256) of the market
  const OPEN = 0n;
  const SOLD = 1n;
  const place = `stencil-listings:${account.toLowerCase()}`;

  // ---- listings that were signed -------------------------------------------
  //
  // { offer, cancel, named }: what is handed to buyers, the transaction that calls it off, what it is about

  let kept = recalled();

  function recalled() {
    const now_s = Date.now() / 1000;
    const all = Trading.recall(place);
    const is_whole = (one) => {
      try {
        Trading.read(JSON.stringify(one.offer));
        return typeof one.named === "string" && typeof one.cancel?.data === "string" && one.offer.listing.expires > now_s;
      } catch {
        return false;
      }
    };
    return Array.isArray(all) ? all.filter(is_whole).slice(0, MAX_KEPT) : [];
  }

  function note(all) {
    kept = all.slice(0, MAX_KEPT);
    const is_kept = Trading.keep(place, kept);
    Trading.draw();
    return is_kept;
  }

  addEventListener("storage", (event) => {
    if (event.key !== place) return;
    kept = recalled();
    Trading.draw();
  });

  const link = (offer) => `${location.origin}/wallet/buy${Trading.fragment(offer)}`;

  // ---- selling -------------------------------------------------------------

  const asked = new WeakMap(); // form → { on, token, named, terms, told }

  /** Asks the hub what would be signed. */
  async function look(form) {
    const { tenant, device, right, named } = form.dataset;
    const on = chain(Number(form.dataset.chain));
    const token = on.tokens[Number(form.elements.namedItem("token").value)];
    const price = units(form.elements.namedItem("price").value, token);
    const terms = {
      price: String(price), expires_in_s: Number(form.elements.namedItem("time").value),
      ...(token.contract ? { token: token.contract } : {}), ...(right ? { right } : {}),
    };
    const path = `/api/v1/wallet/devices/${encodeURIComponent(tenant)}/${encodeURIComponent(device)}/listing`;
    const answer = await hub("POST", path, terms);
    if (!answer.ok) throw new Said(answer.why);
    const { message, domain } = answer.data.typed_data;
    // What the wallet is given is what was typed here.
    if (message.price !== terms.price || domain.chainId !== on.id || !same(message.seller, account)) {
      throw new Said("The hub has answered something else than was asked. Nothing was signed.");
    }
    asked.set(form, { on, token, named, tenant, terms, path, told: answer.data });
  }

  function shown(form) {
    const { token, told } = asked.get(form);
    const { message } = told.typed_data;
    const royalty = BigInt(told.royalty);
    return [
      element("dl", { className: "facts" }, ...facts([
        ["Buyer pays", written(message.price, token)],
        ["Royalty", royalty === 0n ? "none" : [`${written(royalty, token)}, to `, code(told.royalty_to)]],
        ["You get", element("strong", { textContent: written(message.proceeds, token) })],
        ["Until", when(Number(message.expires))],
      ])),
      element("p", {
        className: "small dim",
        textContent: told.approve === null
          ? "Your wallet signs the listing, which costs nothing. The market may move the token already."
          : "Two steps: your wallet sends a transaction that lets the market move this token, for the chain's fee; "
            + "then it signs the listing, which costs nothing.",
      }),
      ...choices(`sign-${$$("form[data-named]").indexOf(form)}`, told.approve === null ? "Sign" : "Approve and sign",
        (wallet) => sell(wallet, form)),
    ];
  }

  async function sell(wallet, form) {
    const { on, named, tenant, told } = asked.get(form);
    const { typed_data, approve, cancel } = told;
    const own = await Trading.at(wallet, on.id, on.name, on.add_chain);
    if (approve !== null) {
      tell(`Step 1 of 2: look into ${wallet.name}, and let the market move ${named}.`);
      const tx = await Wallets.send(wallet, own, Trading.transaction(on.id, approve));
      tell("Step 1 of 2 is sent: waiting for the chain to have it. Step 2 follows.");
      if (!await Trading.included(wallet, tx)) throw new Said("The chain did not take step 1. Nothing is for sale; try again.");
      told.approve = null; // It is not asked for again, whatever becomes of step 2.
    }
    tell(`Look into ${wallet.name}: it asks you to sign the listing. Compare price and proceeds there.`);
    const signature = await ask(wallet, "eth_signTypedData_v4", [own, JSON.stringify(typed_data)]);
    const offer = {
      tenant, chain_id: typed_data.domain.chainId, market: typed_data.domain.verifyingContract,
      listing: typed_data.message, signature: String(signature),
    };
    Trading.read(JSON.stringify(offer));
    asked.delete(form);
    const is_kept = note([{ offer, cancel, named }, ...kept]);
    tell(is_kept
      ? "Signed: it is for sale. Give the link or the file below to whom you like."
      : "Signed: it is for sale. This browser keeps nothing: save the file below before you leave the page.", "good");
  }

  // ---- calling it off ------------------------------------------------------

  async function call_off(wallet, one) {
    const { offer, cancel, named } = one;
    const on = chain(offer.chain_id);
    $("#listed").before($("#doing"));
    if (!on) throw new Said("The hub does not follow this chain any more.");
    const own = await Trading.at(wallet, on.id, on.name, on.add_chain);
    const nonce = `0x${BigInt(offer.listing.nonce).toString(16)}`;
    const state = await Wallets.number(wallet, offer.market, STATE_OF, own, nonce);
    if (state === null || state === OPEN) {
      tell(`Look into ${wallet.name}: it asks for the transaction that calls the listing off.`);
      const tx = await Wallets.send(wallet, own, Trading.transaction(on.id, cancel));
      tell("Sent: waiting for the chain to have it. Until then it can still be bought.");
      if (!await Trading.included(wallet, tx)) throw new Said("The chain did not take it: it may have been sold before. Look again.");
    }
    note(kept.filter((other) => Trading.name_of(other.offer) !== Trading.name_of(offer)));
    if (state === SOLD) tell(`It was too late: ${named} is sold.`, "warn");
    else tell(`Called off: nobody can buy ${named} by this listing any more.`, "good");
  }

  async function copy(field) {
    try {
      await navigator.clipboard.writeText(field.value);
      return true;
    } catch {
      field.select();
      return document.execCommand("copy");
    }
  }

  const files = new Map(); // name of a listing → the address of its file

  function file(offer, named) {
    const name = Trading.name_of(offer);
    if (!files.has(name)) {
      files.set(name, URL.createObjectURL(new Blob([JSON.stringify(offer, null, 2)], { type: "application/json" })));
    }
    const called = named.replace(/^the /, "").replace(/[^\w.-]+/g, "-");
    return element("a", { className: "button", href: files.get(name), download: `listing-${called}.json`, textContent: "Save the file" });
  }

  function listed(one, at) {
    const { offer, named } = one;
    const { listing } = offer;
    const field = element("input", { className: "link", id: `link-${at}`, readOnly: true, value: link(offer) });
    field.addEventListener("focus", () => field.select());
    const copies = element("button", { type: "button", textContent: "Copy the link" });
    copies.addEventListener("click", async () => {
      copies.textContent = await copy(field) ? "Copied" : "Select it";
    });
    const off = element("details", {}, element("summary", { textContent: `Call it off` }),
      element("p", { className: "small dim", textContent: "A transaction, for the chain's fee; whoever has the listing can do nothing with it then." }),
      ...choices(`off-${at}`, "Cancel", (wallet) => call_off(wallet, one)));
    return element("li", {},
      element("p", {}, element("strong", { textContent: named }), ` of ${offer.tenant}`),
      element("p", { textContent: `${written(listing.price, Trading.money(offer.chain_id, listing.token))}, until ${when(Number(listing.expires))}` }),
      element("div", { className: "field" }, element("label", { htmlFor: field.id, textContent: "Link for buyers" }), field),
      element("div", { className: "row" }, copies, file(offer, named)), off);
  }

  // ---- what is shown -------------------------------------------------------

  let drawn = "";

  Trading.onChange(() => {
    for (const form of $$("form[data-named]")) {
      $("button[type=submit]", form).disabled = Trading.running;
      $(".terms", form).replaceChildren(...(asked.has(form) ? shown(form) : []));
    }
    // Left alone where nothing has changed: somebody may be selecting the link.
    const key = JSON.stringify([Trading.running, kept.map((one) => Trading.name_of(one.offer)), Wallets.all().length]);
    if (key === drawn) return;
    drawn = key;
    $("#listed").hidden = kept.length === 0;
    const is_open = $$("#listed details").map((one) => one.open);
    $("#listed ul").replaceChildren(...kept.map(listed));
    $$("#listed details").forEach((one, at) => { one.open = is_open.length === kept.length && is_open[at]; });
  });

  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-named]");
    if (!form) return;
    event.preventDefault();
    asked.delete(form);
    form.append($("#doing")); // What is said stands where somebody looks.
    tell(null);
    Trading.alone({ name: "the wallet" }, () => look(form));
  });

  // Other terms are not those that were shown.
  document.addEventListener("input", (event) => {
    const form = event.target.closest("form[data-named]");
    if (form && !Trading.running && asked.delete(form)) Trading.draw();
  });

  for (const form of $$("form[data-named]")) {
    const on = chain(Number(form.dataset.chain));
    const options = (on?.tokens ?? []).map((token, at) => element("option", {
      value: String(at), textContent: token.contract ? `${token.symbol} (token)` : `${token.symbol} (the chain's coin)`,
    }));
    form.elements.namedItem("token").append(...options);
    form.closest("details").hidden = !on;
  }
  Wallets.onFound(Trading.draw);
  Trading.draw();
})();
