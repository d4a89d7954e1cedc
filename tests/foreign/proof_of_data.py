"""Checks proof documents with nothing of the product: hashlib, a few lines of CBOR, dilithium-py.

Usage: proof_of_data.py FILE... Prints of each in a line "verified", or what is wrong; exits 0, or 1 if anything is.
The anchor's block is not looked at.

Of all texts of a value one alone is taken, the one that docs/guides/proofs.md tells: a parser of Python's would
take others that lead to the same leaf, and are figures that nobody has measured.
"""

import base64
import hashlib
import json
import math
import re
import struct
import sys
from decimal import Decimal

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


def shown(item):
    return json.dumps(item, ensure_ascii=False)


def text(item):
    assert isinstance(item, str), f"{shown(item)} is no text"
    return item


def count(item):
    assert type(item) is int and 0 <= item < 1 << 64, f"{shown(item)} is no count"
    return item


def hexed(item):
    assert re.fullmatch("([0-9a-f]{2})*", text(item)), f"{shown(item)} is not hexadecimal in lower case"
    return bytes.fromhex(item)


def path_of(items):
    return [hexed(item) for item in items]


def whole(item, least=0, most=(1 << 64) - 1):
    """A whole number as text: its digits, and nothing before them but a minus."""
    is_one = re.fullmatch("0|-?[1-9][0-9]{0,19}", text(item)) and least <= int(item) <= most
    assert is_one, f"{shown(item)} is no whole number as proofs have it"
    return int(item)


def signed(item):
    return whole(item, -(1 << 63), (1 << 63) - 1)


def written(number):
    """The one text of a number of 64 bits: the shortest digits that give it back, of several the nearest, where two
    are equally near the one whose last digit is even. From 0.00001 on, and up to sixteen places before the point, they
    stand as they are, with one place behind the point at least; else as 1.5e+21."""
    sign, digits, exponent = Decimal(repr(number)).as_tuple()
    digits = "".join(map(str, digits))
    exponent += len(digits) - len(digits.rstrip("0"))
    digits = digits.rstrip("0")
    if not digits:
        digits, exponent = "0", 0
    minus, point = "-" if sign else "", len(digits) + exponent
    if not -5 < point <= 16:
        rest = f".{digits[1:]}" if digits[1:] else ""
        return f"{minus}{digits[0]}{rest}e{point - 1:+d}"
    if exponent >= 0:
        return f"{minus}{digits}{'0' * exponent}.0"
    behind = digits[max(point, 0) :].rjust(-exponent, "0")
    return f"{minus}{digits[:point] if point > 0 else '0'}.{behind}"


def number(item):
    """A number of 64 bits, by its digits."""
    form = "-?[0-9]+[.]?[0-9]*(e[-+]?[0-9]{1,4})?"
    found = float(item) if re.fullmatch(form, text(item)) else math.nan
    is_one = math.isfinite(found) and written(found) == item
    assert is_one, f"{shown(item)} is no number as proofs have it"
    return found


def bit(item):
    assert isinstance(item, bool), f"{shown(item)} is neither true nor false"
    return item


KINDS = {"number": number, "integer": signed, "bool": bit, "text": text}


def value(form):
    is_one = isinstance(form, dict) and len(form) == 1 and set(form) <= set(KINDS)
    assert is_one, f"{shown(form)} is no value with its type"
    ((kind, item),) = form.items()
    return KINDS[kind](item)


def once(pairs):
    """An object, no name of which stands twice in it."""
    assert len(dict(pairs)) == len(pairs), "a name stands twice"
    return dict(pairs)


def check(document):
    assert document["format"] == "stencil-proof-2", "a proof of another format"
    reading, chunk, seal = document["reading"], document["chunk"], document["seal"]
    boot, seq, unit = count(reading["boot"]), whole(reading["number"]), reading.get("unit")
    entry = [
        "stencil-reading-2", hexed(reading["salt"]), text(reading["device"]), boot, seq, text(reading["name"]),
        signed(reading["time_us"]), value(reading["value"]), None if unit is None else text(unit),
    ]
    runs = [[count(run["boot"]), whole(run["first"]), count(run["count"])] for run in chunk["runs"]]
    numbers = [(boot, first + at) for boot, first, length in runs for at in range(length)]
    assert numbers[count(chunk["index"])] == (boot, seq), "a proof of another reading"
    root = root_of(leaf(entry), chunk["index"], len(numbers), path_of(chunk["path"]))
    assert root == hexed(chunk["root"]), "the reading is not in the chunk"
    entry = ["stencil-chunk-1", reading["device"], runs, len(numbers), root]
    root = root_of(leaf(entry), count(seal["index"]), count(seal["chunks"]), path_of(seal["path"]))
    assert root == hexed(seal["root"]), "the chunk is not in the seal"
    der = base64.b64decode(seal["certificate"], validate=True)
    entry = [
        "stencil-seal-1", text(seal["tenant"]), text(seal["gateway"]), whole(seal["epoch"]), whole(seal["number"]),
        hexed(seal["previous"]), signed(seal["at_us"]), hashlib.sha256(der).digest(), seal["chunks"], root,
    ]
    signature = base64.b64decode(seal["signature"], validate=True)
    assert ML_DSA_65.verify(public_key(der), cbor(entry), signature), "the signature is wrong"
    anchor = document.get("anchor")
    if anchor:
        root = root_of(leaf(entry), count(anchor["index"]), count(anchor["seals"]), path_of(anchor["path"]))
        assert root == hexed(anchor["root"]), "the seal is not in the anchor"


def public_key(der):
    """The raw key: the last 1952 bytes of the SubjectPublicKeyInfo (RFC 9881)."""
    oid = bytes.fromhex("0609608648016503040312")
    at = der.index(oid)
    start = der.index(b"\x03\x82\x07\xa1\x00", at) + 5
    x509.load_der_x509_certificate(der)
    return der[start : start + 1952]


wrong = 0
for name in sys.argv[1:]:
    try:
        with open(name, encoding="utf-8") as file:
            check(json.load(file, object_pairs_hook=once))
        print("verified")
    except AssertionError as error:
        print(error)
        wrong = 1
sys.exit(wrong)
