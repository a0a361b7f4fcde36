"""A signed statement of who rebuilt a version with which outcome, which others can verify with a public key.

An in-toto statement in a DSSE envelope, signed with Ed25519 or ECDSA. The key is the signer's own, a PEM file that
GANLIB_SIGNING_KEY names:

    openssl genpkey -algorithm ed25519 -out key.pem
    openssl pkey -in key.pem -pubout -out public.pem

https://github.com/in-toto/attestation/tree/main/spec/v1 and
https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ganlib.errors import UserError

VARIABLE = "GANLIB_SIGNING_KEY"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
_PAYLOAD = "application/vnd.in-toto+json"
_ECDSA = ec.ECDSA(hashes.SHA256())
_MAKE_KEY = "make one with `openssl genpkey -algorithm ed25519 -out key.pem`"

PrivateKey: TypeAlias = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


def signing_key() -> PrivateKey:
    """The signer's own.

    Raises:
        UserError: none is named, or it cannot be used.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        raise UserError(f"{VARIABLE}: not set; expected the PEM file of a private key; {_MAKE_KEY}")
    try:
        found = load_pem_private_key(Path(name).read_bytes(), None)
    except OSError as error:
        raise UserError(f"{VARIABLE}={name}: cannot be read ({error.strerror}); {_MAKE_KEY}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # no key, a password, a kind that is not known
        raise UserError(f"{VARIABLE}={name}: expected a private key in PEM without a password; {_MAKE_KEY}") from None
    if not isinstance(found, PrivateKey):
        raise UserError(f"{VARIABLE}={name}: expected an Ed25519 or elliptic-curve key; {_MAKE_KEY}")
    return found


def key_id(key: PublicKey) -> str:
    """SHA-256 of the public key."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def sign(statement: Mapping[str, Any], key: PrivateKey) -> str:
    """The envelope, as JSON."""
    payload = json.dumps(statement, sort_keys=True).encode()
    signed = _pre_authentication(_PAYLOAD, payload)
    signature = key.sign(signed) if isinstance(key, ed25519.Ed25519PrivateKey) else key.sign(signed, _ECDSA)
    envelope = {
        "payloadType": _PAYLOAD,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope, indent=2) + "\n"


def verify(file: Path, public_key: Path) -> dict[str, Any]:
    """The statement of an envelope that this key has signed.

    Raises:
        UserError: a file cannot be read, or no signature is this key's of what is there.
    """
    key = _public_key(public_key)
    try:
        envelope = json.loads(file.read_bytes())
        kind, payload = str(envelope["payloadType"]), base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(each["sig"], validate=True) for each in envelope["signatures"]]
    except (ValueError, TypeError, KeyError, binascii.Error):
        raise UserError(f"{file}: is no signed statement (a DSSE envelope); give what `--attest` wrote") from None
    if not any(_is_signed(_pre_authentication(kind, payload), signature, key) for signature in signatures):
        raise UserError(f"{file}: not signed by the key in {public_key}, or changed since; do not rely on it")
    statement: dict[str, Any] = json.loads(payload)
    if (kind, statement.get("predicateType")) != (_PAYLOAD, PREDICATE) or "reproduction" not in statement["predicate"]:
        raise UserError(f"{file}: signed, but no statement about a reproduction; give what `--attest` wrote")
    return statement


def _public_key(file: Path) -> PublicKey:
    try:
        found = load_pem_public_key(file.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, PublicKey):
        raise UserError(
            f"--key {file}: expected an Ed25519 or elliptic-curve public key in PEM, as "
            "`openssl pkey -in key.pem -pubout` writes it"
        )
    return found


def _is_signed(content: bytes, signature: bytes, key: PublicKey) -> bool:
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, content)
        else:
            key.verify(signature, content, _ECDSA)
    except InvalidSignature:
        return False
    return True


def _pre_authentication(kind: str, payload: bytes) -> bytes:
    """What is signed: DSSE's PAE, so that type and content cannot be taken for each other."""
    return b"DSSEv1 %d %b %d %b" % (len(kind.encode()), kind.encode(), len(payload), payload)
