"""Statements of a reproduction: signed, verified by others, and any change noticed."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from ganlib.errors import UserError
from pipelines.comparing.attestation import PREDICATE, STATEMENT, VARIABLE, sign, signing_key, verify

STATED = {"_type": STATEMENT, "subject": [], "predicateType": PREDICATE, "predicate": {"reproduction": {}}}
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


def keys(folder: Path, *kind: str) -> tuple[Path, Path]:
    """As people make them."""
    private, public = folder / "key.pem", folder / "public.pem"
    folder.mkdir(exist_ok=True)
    subprocess.run(["openssl", "genpkey", "-algorithm", *kind, "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return private, public


@needs_openssl
@pytest.mark.parametrize("kind", [("ed25519",), ("EC", "-pkeyopt", "ec_paramgen_curve:P-256")], ids=["ed25519", "p256"])
def test_another_program_verifies_it_and_every_flipped_byte_is_noticed(
    kind: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = keys(tmp_path, *kind)
    monkeypatch.setenv(VARIABLE, str(private))
    file = tmp_path / "statement.json"
    file.write_text(sign(STATED, signing_key()))
    assert verify(file, public) == STATED

    envelope = json.loads(file.read_text())
    payload = base64.b64decode(envelope["payload"])
    signed = b"DSSEv1 %d %b %d %b" % (
        len(envelope["payloadType"]), envelope["payloadType"].encode(), len(payload), payload
    )  # fmt: skip
    (tmp_path / "signed").write_bytes(signed)
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    how = ["-rawin"] if kind == ("ed25519",) else ["-rawin", "-digest", "sha256"]
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, *how]
    done = subprocess.run(
        [*command, "-in", tmp_path / "signed", "-sigfile", tmp_path / "signature"], capture_output=True, text=True
    )
    assert "Verified Successfully" in done.stdout, done.stderr

    for place in range(len(payload)):
        flipped = bytearray(payload)
        flipped[place] ^= 1
        file.write_text(json.dumps(envelope | {"payload": base64.b64encode(flipped).decode()}))
        with pytest.raises(UserError, match=r"not signed by the key in .*public\.pem, or changed since"):
            verify(file, public)
    file.write_text(json.dumps(envelope | {"payloadType": "text/plain"}))
    with pytest.raises(UserError, match="not signed by"):
        verify(file, public)
    file.write_text(json.dumps(envelope))
    _, other = keys(tmp_path / "other", *kind)
    with pytest.raises(UserError, match=r"not signed by the key in .*other/public\.pem"):
        verify(file, other)


@needs_openssl
def test_what_cannot_be_used_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UserError, match=f"{VARIABLE}: not set"):
        signing_key()
    private, public = keys(tmp_path, "ed25519")
    rsa, _ = keys(tmp_path / "rsa", "RSA")
    for file, told in (
        (tmp_path / "none.pem", "cannot be read"),
        (public, "expected a private key in PEM"),
        (rsa, "expected an Ed25519 or elliptic-curve key"),
    ):
        monkeypatch.setenv(VARIABLE, str(file))
        with pytest.raises(UserError, match=told):
            signing_key()
    (tmp_path / "other.json").write_text('{"payload": 1}')
    with pytest.raises(UserError, match="is no signed statement"):
        verify(tmp_path / "other.json", public)
    with pytest.raises(UserError, match=r"--key .*key\.pem: expected an Ed25519 or elliptic-curve public key"):
        verify(tmp_path / "other.json", private)
    monkeypatch.setenv(VARIABLE, str(private))
    (tmp_path / "foreign.json").write_text(sign(STATED | {"predicateType": "another"}, signing_key()))
    with pytest.raises(UserError, match="no statement about a reproduction"):
        verify(tmp_path / "foreign.json", public)
