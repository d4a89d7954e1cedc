// Makes and checks Data Integrity proofs with Digital Bazaar's suites. It reads one request as JSON:
// { sign: SUITE, curve?, document }        answers with the signed document
// { verify: SUITE, document, documents }   answers { verified, error }; `documents` are by URL
import { readFileSync } from "node:fs";

import { DataIntegrityProof } from "@digitalbazaar/data-integrity";
import * as EcdsaMultikey from "@digitalbazaar/ecdsa-multikey";
import * as Ed25519Multikey from "@digitalbazaar/ed25519-multikey";
import * as ecdsa from "@digitalbazaar/ecdsa-jcs-2019-cryptosuite";
import * as eddsa from "@digitalbazaar/eddsa-jcs-2022-cryptosuite";
import jsigs from "jsonld-signatures";

const { AssertionProofPurpose } = jsigs.purposes;
const suites = { "eddsa-jcs-2022": eddsa, "ecdsa-jcs-2019": ecdsa };
const request = JSON.parse(readFileSync(0, "utf8"));
const documents = request.documents ?? {};
const documentLoader = async (url) => {
  if (!(url in documents)) throw new Error(`not there: ${url}`);
  return { contextUrl: null, documentUrl: url, document: documents[url] };
};

if (request.sign) {
  const key =
    request.sign === "eddsa-jcs-2022"
      ? await Ed25519Multikey.generate()
      : await EcdsaMultikey.generate({ curve: request.curve });
  const { publicKeyMultibase } = await key.export({ publicKey: true });
  key.controller = `did:key:${publicKeyMultibase}`;
  key.id = `${key.controller}#${publicKeyMultibase}`;
  const cryptosuite = suites[request.sign].createSignCryptosuite();
  const suite = new DataIntegrityProof({ signer: key.signer(), cryptosuite });
  const purpose = new AssertionProofPurpose();
  const signed = await jsigs.sign(request.document, { suite, purpose, documentLoader });
  console.log(JSON.stringify(signed));
} else {
  const cryptosuite = suites[request.verify].createVerifyCryptosuite();
  const suite = new DataIntegrityProof({ cryptosuite });
  const purpose = new AssertionProofPurpose();
  const result = await jsigs.verify(request.document, { suite, purpose, documentLoader });
  const error = result.verified ? null : JSON.stringify(result.error?.errors ?? String(result.error));
  console.log(JSON.stringify({ verified: result.verified, error }));
}
