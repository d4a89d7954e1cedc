// Wallets in the browser (EIP-1193), of which several may be there (EIP-6963): which there are, what
// they are asked, and what their errors mean.
"use strict";

window.Wallets = (() => {
  const tell = (text) => (window.Checkout ?? window.Signing ?? window.Trading).tell(text);
  const MAX_WALLETS = 16;
  const MAX_NAME = 40;
  const MAX_ICON = 256 * 1024; // characters
  const ICON = /^data:image\/(png|jpeg|gif|webp|svg\+xml)[;,]/i;
  const ADDRESS = /^0x[0-9a-f]{40}$/i;
  const HASH = /^0x[0-9a-f]{64}$/i;
  // It is sure that nothing was sent: the wallet has refused before.
  const REFUSED = [4001, 4100, 4200, 4901, -32000, -32002, -32003, -32601, -32602];

  /** What is told as it stands. */
  class Said extends Error {}

  // ---- which there are -----------------------------------------------------

  const found = new Map(); // uuid → { id, rdns, name, icon, provider }
  const listeners = [];

  addEventListener("eip6963:announceProvider", (event) => {
    const { info, provider } = event.detail ?? {};
    if (typeof provider?.request !== "function" || typeof info?.uuid !== "string") return;
    if (found.has(info.uuid) || found.size >= MAX_WALLETS) return;
    const name = String(info.name ?? "").replace(/[\p{C}\s]+/gu, " ").trim().slice(0, MAX_NAME);
    const icon = String(info.icon ?? "");
    found.set(info.uuid, {
      id: info.uuid, rdns: String(info.rdns ?? ""), name: name || "a wallet without a name", provider,
      icon: icon.length <= MAX_ICON && ICON.test(icon) ? icon : null,
    });
    listeners.forEach((listener) => listener());
  });

  /** Those that have announced themselves; else the one that stands where all once stood. */
  function all() {
    if (found.size > 0) return [...found.values()];
    const provider = window.ethereum;
    if (typeof provider?.request !== "function") return [];
    return [{ id: "injected", rdns: "injected", name: "the wallet in this browser", icon: null, provider }];
  }

  // ---- what they are asked -------------------------------------------------

  function ask(wallet, method, params) {
    return wallet.provider.request(params === undefined ? { method } : { method, params });
  }

  /** The accounts that this page may see. */
  async function accounts(wallet) {
    tell(`Look into ${wallet.name}: it asks whether this page may see your account.`);
    const shown = await ask(wallet, "eth_requestAccounts");
    const usable = Array.isArray(shown) ? shown.filter((one) => ADDRESS.test(one)) : [];
    if (usable.length === 0) throw new Said(`No account of ${wallet.name} is shown to this page.`);
    return usable;
  }

  /** Brings a wallet to a chain; one that does not know it is told what the hub has to say of it. */
  async function goTo(wallet, name, id, about) {
    const is_there = async () => BigInt(await ask(wallet, "eth_chainId")) === BigInt(id);
    const change = () => {
      tell(`Look into ${wallet.name}: it asks whether to change to the chain ${name}.`);
      return ask(wallet, "wallet_switchEthereumChain", [{ chainId: `0x${id.toString(16)}` }]);
    };
    if (await is_there()) return;
    try {
      await change();
    } catch (error) {
      if (code(error) !== 4902) throw error;
      // What a wallet needs to know of a chain (its endpoints) is not this page's to make up.
      if (!about) {
        throw new Said(`The chain ${name} (chain id ${id}) is not known to ${wallet.name}. Add it there from `
          + "a source that you trust, and try again.");
      }
      tell(`${wallet.name} does not know the chain ${name}: look there, it asks whether to add it, by ${about.rpcUrls[0]}.`);
      // Null is no list to EIP-3085.
      const given = Object.entries(about).filter(([, value]) => value !== null);
      await ask(wallet, "wallet_addEthereumChain", [Object.fromEntries(given)]);
      // Some change to it at once, others when they are asked.
      if (!await is_there()) await change();
    }
    if (!await is_there()) throw new Said(`The wallet is still on another chain: change to ${name} there.`);
  }

  const word = (text) => text.slice(2).toLowerCase().padStart(64, "0");

  /** The number that a contract returns for a selector and words; null where the wallet does not tell. */
  async function number(wallet, to, selector, ...words) {
    try {
      const data = `${selector}${words.map(word).join("")}`;
      const returned = await ask(wallet, "eth_call", [{ to, data }, "latest"]);
      return HASH.test(returned) ? BigInt(returned) : null;
    } catch {
      return null;
    }
  }

  /** What an account has of a token, or of the chain's own coin; null where the wallet does not tell. */
  async function balance(wallet, token, account) {
    if (token) return number(wallet, token, "0x70a08231", account); // balanceOf(address)
    try {
      return BigInt(await ask(wallet, "eth_getBalance", [account, "latest"]));
    } catch {
      return null;
    }
  }

  /** Has a wallet send a transaction; its hash. */
  async function send(wallet, from, transaction) {
    const tx = await ask(wallet, "eth_sendTransaction", [{ from, ...transaction }]);
    if (!HASH.test(tx)) throw new Error("no hash of a transaction came back");
    return tx;
  }

  /** Whether a transaction worked; null where no block has it, or the wallet does not tell. */
  async function worked(wallet, tx) {
    try {
      const receipt = await ask(wallet, "eth_getTransactionReceipt", [tx]);
      return receipt ? BigInt(receipt.status) === 1n : null;
    } catch {
      return null;
    }
  }

  // ---- what their errors mean ----------------------------------------------

  // Some wrap the error that they mean.
  const code = (error) => error?.data?.originalError?.code ?? error?.code;

  function explain(error, wallet) {
    if (error instanceof Said) return error.message;
    const name = wallet.name[0].toUpperCase() + wallet.name.slice(1);
    switch (code(error)) {
      case 4001: return `You said no in ${wallet.name}. Nothing was sent; you can try again.`;
      case 4100: return `${name} does not let this page use the account: allow it there, and try again.`;
      case 4200: case -32601: return `${name} can't do this. Choose another way to pay, or another wallet.`;
      case 4900: return `${name} is not connected to any chain at the moment.`;
      case 4901: return `${name} is not connected to this chain at the moment.`;
      case -32002: return `${name} has a question open already: look there.`;
      default: return `${name} says: ${String(error?.message ?? error).slice(0, 300)}`;
    }
  }

  dispatchEvent(new Event("eip6963:requestProvider"));
  // Phones put it there late.
  addEventListener("ethereum#initialized", () => listeners.forEach((listener) => listener()), { once: true });

  return {
    Said, ADDRESS, all, ask, accounts, goTo, number, balance, send, worked, explain,
    /** Whether it is sure that nothing was sent. */
    hasRefused: (error) => REFUSED.includes(code(error)),
    onFound(listener) { listeners.push(listener); },
  };
})();
