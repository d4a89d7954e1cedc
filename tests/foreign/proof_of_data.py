"""Checks a proof document with nothing of the product: hashlib, a few lines of CBOR, dilithium-py.

Usage: proof_of_data.py FILE. Prints "verified", or what is wrong; exits 0 or 1. The anchor's block is not
looked at.
"""

import base64
import hashlib
import json
import struct
import sys

from cryptography import x509
from dilithium_py.ml_dsa import ML_DSA_65


def head(major, number):
    """The head of a CBOR item (RFC 8949, section 3), as short as it can be."""
    for extra, form, limit in ((24, ">B", 1 << 8), (25, ">H", 1 << 16), (26, ">I", 1 << 32), (27, ">Q", 1 << 64)):
        if number < 24:
            return bytes([major << 5 | number])
        if number < limit:
            return bytes([major << 5 | extra]) + struct.pack(form, number)
    raise ValueError(number)


def cbor(item):
    if item is None:
        return b"\xf6"
    if item is True or item is False:
        return b"\xf5" if item else b"\xf4"
    if isinstance(item, int):
        return head(0, item) if item >= 0 else head(1, -1 - item)
    if isinstance(item, float):
        return b"\xfb" + struct.pack(">d", item)
    if isinstance(item, bytes):
        return head(2, len(item)) + item
    if isinstance(item, str):
        return head(3, len(item.encode())) + item.encode()
    return head(4, len(item)) + b"".join(cbor(one) for one in item)


def leaf(entry):
    return hashlib.sha256(b"\x00" + cbor(entry)).digest()


def root_of(hash_, index, size, path):
    """RFC 9162, section 2.1.3.2."""
    at, last = index, size - 1
    for step in path:
        assert last != 0, "the path is too long"
        if at & 1 or at == last:
            hash_ = hashlib.sha256(b"\x01" + step + hash_).digest()
            while at & 1 == 0 and at != 0:
                at, last = at >> 1, last >> 1
        else:
            hash_ = hashlib.sha256(b"\x01" + hash_ + step).digest()
        at, last = at >> 1, last >> 1
    assert last == 0, "the path is too short"
    return hash_


def unhex(texts):
    return [bytes.fromhex(text) for text in texts]


def value(form):
    (kind, text), = form.items()
    return {"number": float, "integer": int, "bool": bool, "text": str}[kind](text)


def check(document):
    assert document["format"] == "stencil-proof-2", "a proof of another format"
    reading, chunk, seal = document["reading"], document["chunk"], document["seal"]
    entry = [
        "stencil-reading-2", bytes.fromhex(reading["salt"]), reading["device"], reading["boot"],
        int(reading["number"]), reading["name"], int(reading["time_us"]), value(reading["value"]), reading["unit"],
    ]
    runs = [[run["boot"], int(run["first"]), run["count"]] for run in chunk["runs"]]
    numbers = [(boot, first + at) for boot, first, count in runs for at in range(count)]
    place = numbers[chunk["index"]]
    assert place == (reading["boot"], int(reading["number"])), "a proof of another reading"
    root = root_of(leaf(entry), chunk["index"], len(numbers), unhex(chunk["path"]))
    assert root.hex() == chunk["root"], "the reading is not in the chunk"
    entry = ["stencil-chunk-1", reading["device"], runs, len(numbers), root]
    root = root_of(leaf(entry), seal["index"], seal["chunks"], unhex(seal["path"]))
    assert root.hex() == seal["root"], "the chunk is not in the seal"
    der = base64.b64decode(seal["certificate"])
    entry = [
        "stencil-seal-1", seal["tenant"], seal["gateway"], int(seal["epoch"]), int(seal["number"]),
        bytes.fromhex(seal["previous"]), int(seal["at_us"]), hashlib.sha256(der).digest(), seal["chunks"], root,
    ]
    signature = base64.b64decode(seal["signature"])
    assert ML_DSA_65.verify(public_key(der), cbor(entry), signature), "the signature is wrong"
    anchor = document.get("anchor")
    if anchor:
        root = root_of(leaf(entry), anchor["index"], anchor["seals"], unhex(anchor["path"]))
        assert root.hex() == anchor["root"], "the seal is not in the anchor"


def public_key(der):
    """The raw key: the last 1952 bytes of the SubjectPublicKeyInfo (RFC 9881)."""
    oid = bytes.fromhex("0609608648016503040312")
    at = der.index(oid)
    start = der.index(b"\x03\x82\x07\xa1\x00", at) + 5
    x509.load_der_x509_certificate(der)
    return der[start : start + 1952]


try:
    with open(sys.argv[1], encoding="utf-8") as file:
        check(json.load(file))
except AssertionError as error:
    print(error)
    sys.exit(1)
print("verified")
