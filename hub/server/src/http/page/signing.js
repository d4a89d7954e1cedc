// Signing in with a wallet of the browser: its account signs a text of the hub's (EIP-4361).
//
//   <section id="by-wallet" data-chains='[{"id":1,"name":"…"}]' data-next="/path"> is shown once a
//   wallet may be there; <button id="wallet"> begins, <div id="wallets"> offers several.
"use strict";

window.Signing = (() => {
  const $ = (selector) => document.querySelector(selector);
  const section = $("#by-wallet");
  const chains = JSON.parse(section.dataset.chains);
  let running = false;

  /** A sentence in its place of the page; null takes it away. */
  function tell(text, kind = "info") {
    const place = $("#doing");
    place.textContent = text ?? "";
    place.className = `alert ${kind}`;
    place.hidden = text === null;
  }

  async function ask(path, body) {
    let answer;
    try {
      answer = await fetch(path, {
        method: "POST", body: JSON.stringify(body),
        headers: { "content-type": "application/json", accept: "application/json" },
      });
    } catch {
      throw new Wallets.Said("The hub does not answer. Try again.");
    }
    const data = await answer.json().catch(() => null);
    if (answer.ok) return data;
    const why = data?.detail ?? `The hub answered ${answer.status}.`;
    throw new Wallets.Said(why[0].toUpperCase() + why.slice(1));
  }

  /** The chain on which the account is: the wallet's, where the hub follows it. */
  async function chain(wallet) {
    const on = Number(BigInt(await Wallets.ask(wallet, "eth_chainId")));
    const followed = chains.find((one) => one.id === on);
    if (followed) return followed;
    await Wallets.goTo(wallet, chains[0].name, chains[0].id);
    return chains[0];
  }

  const hex = (text) => `0x${[...new TextEncoder().encode(text)]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;

  async function signIn(wallet) {
    if (running) return;
    running = true;
    draw();
    try {
      const [address] = await Wallets.accounts(wallet);
      const on = await chain(wallet);
      const tenant = $("#wallet-tenant").value.trim();
      const asked = { address, chain_id: on.id, ...(tenant ? { tenant } : {}) };
      const { message } = await ask("/api/v1/wallet/challenge", asked);
      tell(`Look into ${wallet.name}: it asks you to sign a text, which costs nothing. Read that it names this address: ${location.host}.`);
      const signature = await Wallets.ask(wallet, "personal_sign", [hex(message), address]);
      tell("The hub looks at your signature.");
      const known = await ask("/api/v1/wallet/sign-in", { message, signature });
      // The hub itself has said that this is a page of its own. What stands behind the `#` goes along.
      const { next } = section.dataset;
      const is_own = next !== undefined && (known.tenant !== null || next.startsWith("/wallet"));
      if (is_own) location.assign(`${next}${location.hash}`);
      else location.assign(known.tenant === null ? "/wallet" : "/");
    } catch (error) {
      tell(Wallets.explain(error, wallet), "bad");
    } finally {
      running = false;
      draw();
    }
  }

  function draw() {
    const all = Wallets.all();
    $("#wallet").disabled = running;
    const place = $("#wallets");
    if (place.hidden) return;
    place.replaceChildren(...all.map((wallet) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = wallet.name;
      button.dataset.by = wallet.id;
      button.disabled = running;
      button.addEventListener("click", () => signIn(wallet));
      return button;
    }));
  }

  $("#wallet").addEventListener("click", () => {
    const all = Wallets.all();
    if (all.length === 0) {
      tell("There is no wallet in this browser: install one, or open this page in a wallet's own browser.", "bad");
    } else if (all.length === 1) {
      signIn(all[0]);
    } else {
      tell("Choose a wallet.");
      $("#wallets").hidden = false;
      draw();
    }
  });
  Wallets.onFound(draw);
  section.hidden = false;

  return { tell };
})();
