// Runs in each page before its own scripts, as an extension's: two wallets that announce themselves by
// EIP-6963. What they are asked waits until the test, which has the keys, answers.
(() => {
  const asked = [];
  const waiting = new Map();
  let next = 1;
  const provider = (wallet) => Object.freeze({
    request({ method, params }) {
      return new Promise((resolve, reject) => {
        const id = next;
        next += 1;
        waiting.set(id, { resolve, reject });
        asked.push({ id, wallet, method, params: params ?? [] });
      });
    },
    on() {},
    removeListener() {},
  });
  const dot = (colour) => "data:image/svg+xml;base64," + btoa(
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96"><circle cx="48" cy="48" r="40" fill="${colour}"/></svg>`);
  const all = [
    { uuid: "350670db-19fa-4704-a166-e52e178b59d2", name: "Amber", icon: dot("#e8a33d"), rdns: "example.amber" },
    // An icon from elsewhere would tell elsewhere who pays what.
    { uuid: "350670db-19fa-4704-a166-e52e178b59d3", name: "  Basalt\n<b>wallet</b> ", icon: "https://elsewhere.example/icon.png", rdns: "example.basalt" },
  ].map((info) => Object.freeze({ info: Object.freeze(info), provider: provider(info.rdns) }));
  const announce = () => all.forEach((detail) => dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail })));
  addEventListener("eip6963:requestProvider", announce);
  announce();
  window.testWallets = {
    take: () => asked.splice(0),
    answer(id, result, error) {
      const { resolve, reject } = waiting.get(id);
      waiting.delete(id);
      if (error) reject(Object.assign(new Error(error.message), { code: error.code }));
      else resolve(result);
    },
  };
})();
