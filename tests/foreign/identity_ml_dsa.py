"""Makes and checks proofs and tokens by ML-DSA, all by itself: identity_ml_dsa.py < REQUEST

{"sign": "mldsa44-jcs-2024", "document": …}            answers with the signed document
{"verify": "mldsa44-jcs-2024", "document": …, "key"}   answers {"verified": …}; the key is a Multikey
{"sign": "vc+jwt", "document": …}                      answers {"token": …, "key": …}
{"verify": "vc+jwt", "token": …, "key": …}             answers {"verified": …, "document": …}

Documents have no fractions and no letters beyond ASCII, so that Python's sorted JSON is canonical.
"""

import base64
import hashlib
import json
import sys

from dilithium_py.ml_dsa import ML_DSA_44, ML_DSA_65

CODES = {"ML-DSA-44": b"\x90\x24", "ML-DSA-65": b"\x91\x24"}


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def canonical(value) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def key_of(text: str, name: str) -> bytes:
    data = decoded(text[1:])
    assert text[0] == "u" and data[:2] == CODES[name], text[:20]
    return data[2:]


def signed_bytes(document: dict) -> bytes:
    document = dict(document)
    options = dict(document.pop("proof"))
    options.pop("proofValue", None)
    options["@context"] = document["@context"]
    return b"".join(hashlib.sha256(canonical(part)).digest() for part in (options, document))


def sign_document(document: dict) -> dict:
    public, secret = ML_DSA_44.keygen()
    key = "u" + encoded(CODES["ML-DSA-44"] + public)
    proof = {
        "type": "DataIntegrityProof",
        "cryptosuite": "mldsa44-jcs-2024",
        "created": "2026-11-28T22:00:00Z",
        "verificationMethod": f"did:key:{key}#{key}",
        "proofPurpose": "assertionMethod",
    }
    signed = {**document, "proof": proof}
    proof["proofValue"] = "u" + encoded(ML_DSA_44.sign(secret, signed_bytes(signed)))
    return signed


def verify_document(document: dict, key: str) -> dict:
    value = document["proof"]["proofValue"]
    public = key_of(key, "ML-DSA-44")
    return {"verified": ML_DSA_44.verify(public, signed_bytes(document), decoded(value[1:]))}


def sign_token(document: dict) -> dict:
    public, secret = ML_DSA_65.keygen()
    key = "u" + encoded(CODES["ML-DSA-65"] + public)
    header = {"alg": "ML-DSA-65", "typ": "vc+jwt", "kid": f"did:key:{key}#{key}"}
    text = f"{encoded(canonical(header))}.{encoded(canonical(document))}"
    return {"token": f"{text}.{encoded(ML_DSA_65.sign(secret, text.encode()))}", "key": key}


def verify_token(token: str, key: str) -> dict:
    text, _, signature = token.rpartition(".")
    public = key_of(key, "ML-DSA-65")
    document = json.loads(decoded(text.split(".")[1]))
    verified = ML_DSA_65.verify(public, text.encode(), decoded(signature))
    return {"verified": verified, "document": document}


request = json.load(sys.stdin)
if request.get("sign") == "vc+jwt":
    answer = sign_token(request["document"])
elif "sign" in request:
    answer = sign_document(request["document"])
elif request["verify"] == "vc+jwt":
    answer = verify_token(request["token"], request["key"])
else:
    answer = verify_document(request["document"], request["key"])
print(json.dumps(answer))
