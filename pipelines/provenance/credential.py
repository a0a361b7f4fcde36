"""Signed C2PA credentials in PNG and WebP files, where c2pa-python is installed (`pip install 'ganlib[provenance]'`).

A signature holds random numbers: files of equal images differ, their pixels do not. The certificate is the one in
the folder that `GANLIB_CREDENTIAL` names (`certificate.pem`, the whole chain, and `key.pem`), else one that is made at
the first use, which readers show as untrusted.
"""

import datetime
import importlib.metadata
import importlib.util
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganlib.errors import UserError
from ganlib.marking import SOURCE_TYPE, Origin
from pipelines import paths

VARIABLE = "GANLIB_CREDENTIAL"
_CERTIFICATE, _KEY = "certificate.pem", "key.pem"
_VALID_DAYS = 3650
_PNG = "image/png"
MIMES = {".png": _PNG, ".webp": "image/webp"}


@dataclass(frozen=True)
class Credential:
    """What a file's credential says.

    Attributes:
        intact: whether the file is as it was signed.
        issuer: whom the certificate names.
        trusted: whether the reader knows who has issued it.
    """

    intact: bool
    issuer: str
    trusted: bool


def available() -> bool:
    """Whether credentials can be written and read."""
    return importlib.util.find_spec("c2pa") is not None


def sign(file: bytes, origin: Origin, *, source_type: str = SOURCE_TYPE, mime: str = _PNG) -> bytes:
    """A file with a credential that says what made it.

    Raises:
        UserError: the certificate cannot be used.
    """
    import c2pa

    certificate, key = _own_or_made()
    manifest = {
        "claim_generator_info": [{"name": "ganlib", "version": importlib.metadata.version("ganlib")}],
        "title": "Generated image",
        "format": mime,
        "assertions": [
            {
                "label": "c2pa.actions.v2",
                "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": source_type}]},
            },
            {
                "label": "org.ganlib.origin",
                "data": {"generator_sha256": origin.generator_sha256, "request": dict(origin.request)},
            },
        ],
    }
    signed = io.BytesIO()
    try:
        information = c2pa.C2paSignerInfo(_algorithm(key), certificate, key, None)
        with (
            _context() as context,
            c2pa.Signer.from_info(information) as signer,
            c2pa.Builder(manifest, context) as builder,
        ):
            builder.sign(signer, mime, io.BytesIO(file), signed)
    except (c2pa.C2paError, ValueError) as error:
        raise UserError(f"{_folder()}: cannot sign with this certificate ({error}); replace it") from None
    return signed.getvalue()


def read(file: bytes, mime: str = _PNG) -> Credential | None:
    """What the credential of a file says; None where it has none."""
    import c2pa

    try:
        with c2pa.Reader(mime, io.BytesIO(file)) as reader:
            found = json.loads(reader.json())
    except c2pa.C2paError as error:
        if "ManifestNotFound" in f"{type(error).__name__} {error}":
            return None
        return Credential(intact=False, issuer="", trusted=False)
    active = found.get("manifests", {}).get(found.get("active_manifest"), {})
    codes = {each["code"] for each in found.get("validation_status", ())}
    untrusted = {code for code in codes if code.startswith("signingCredential.untrusted")}
    issuer = str(active.get("signature_info", {}).get("issuer", ""))
    return Credential(intact=not codes - untrusted, issuer=issuer, trusted=not untrusted)


def _context() -> Any:
    import c2pa

    # Thumbnails would be larger than the images, and what was just signed need not be verified.
    return c2pa.Context(
        settings=c2pa.Settings.from_json(
            json.dumps({"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_after_sign": False}})
        )
    )


def _folder() -> Path:
    return Path(os.environ.get(VARIABLE) or paths.CREDENTIAL)


def _own_or_made() -> tuple[bytes, bytes]:
    folder = _folder()
    if not os.environ.get(VARIABLE) and not (folder / _KEY).exists():
        _make(folder)
    try:
        return (folder / _CERTIFICATE).read_bytes(), (folder / _KEY).read_bytes()
    except OSError as error:
        raise UserError(
            f"{VARIABLE}={folder}: {error.filename} cannot be read ({error.strerror}); "
            f"expected {_CERTIFICATE} and {_KEY} in it, or the variable unset"
        ) from None


def _algorithm(key: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    match load_pem_private_key(key, None):
        case ed25519.Ed25519PrivateKey():
            return b"ed25519"
        case ec.EllipticCurvePrivateKey(key_size=256):
            return b"es256"
        case ec.EllipticCurvePrivateKey(key_size=384):
            return b"es384"
        case _:
            raise ValueError(f"{_KEY}: expected an Ed25519, P-256 or P-384 key")


def _make(folder: Path) -> None:
    """A certificate for this project, issued by an authority whose key is forgotten at once."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def named(name: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "ganlib, self-made"),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )

    def issued(name: str, public: ec.EllipticCurvePublicKey, *, is_authority: bool) -> bytes:
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
             "decipher_only"),
            False,
        )  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("authority"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority, **usage
                ),
                critical=True,
            )
        )
        if not is_authority:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
            )
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    chain = issued("images", key.public_key(), is_authority=False)
    chain += issued("authority", authority.public_key(), is_authority=True)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _CERTIFICATE).write_bytes(chain)
    # Last: it is by the key that a certificate is taken to be there.
    descriptor = os.open(folder / _KEY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
