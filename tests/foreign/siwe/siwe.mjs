// The reference implementation of EIP-4361: node siwe.mjs FOLDER make|verify, with JSON on standard input.
// FOLDER has the packages.
//   make   { key, fields }                → { message, signature, address }
//   verify { message, signature, time?, domain?, nonce? } → { success, error? }
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [folder, what] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const { SiweMessage } = require("siwe");
const { Wallet } = require("ethers");
const given = JSON.parse(readFileSync(0, "utf8"));

async function make({ key, fields }) {
  const wallet = new Wallet(key);
  const message = new SiweMessage({ address: wallet.address, version: "1", ...fields }).prepareMessage();
  return { message, signature: await wallet.signMessage(message), address: wallet.address };
}

async function verify({ message, signature, time, domain, nonce }) {
  const all = Object.entries({ signature, time, domain, nonce });
  const params = Object.fromEntries(all.filter(([, value]) => value !== undefined));
  try {
    const { success } = await new SiweMessage(message).verify(params);
    return { success };
  } catch (error) {
    return { success: false, error: String(error?.error?.type ?? error?.error?.message ?? error?.message ?? error) };
  }
}

console.log(JSON.stringify(await { make, verify }[what](given)));
