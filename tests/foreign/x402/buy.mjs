// Buys over x402 with the reference client: node buy.mjs FOLDER METHOD URL [BODY]
// FOLDER has the packages; the payer's key is in the environment's STENCIL_TEST_KEY.
import { createRequire } from "node:module";

const [folder, method, url, text] = process.argv.slice(2);
const body = text || undefined;
const require = createRequire(`${folder}/package.json`);
const { wrapFetchWithPaymentFromConfig, decodePaymentResponseHeader } = require("@x402/fetch");
const { ExactEvmScheme } = require("@x402/evm/exact/client");
const { privateKeyToAccount } = require("viem/accounts");

const account = privateKeyToAccount(process.env.STENCIL_TEST_KEY);
let signed = null;
// What is sent is looked at, so that the test can send it again.
const looked = async (input, init) => {
  const request = new Request(input, init);
  signed = request.headers.get("PAYMENT-SIGNATURE") ?? signed;
  return fetch(request);
};
const buy = wrapFetchWithPaymentFromConfig(looked, {
  schemes: [{ network: "eip155:*", client: new ExactEvmScheme(account) }],
  // By itself it pays in tokens that it knows: the dev chain's is none of them.
  spendControls: { allowedAssets: true },
});
const headers = body ? { "content-type": "application/json" } : {};
const response = await buy(url, { method, headers, body });
const settled = response.headers.get("PAYMENT-RESPONSE");
const answer = await response.text();
console.log(
  JSON.stringify({
    status: response.status,
    body: answer ? JSON.parse(answer) : null,
    settled: settled ? decodePaymentResponseHeader(settled) : null,
    signed,
    payer: account.address,
  }),
);
