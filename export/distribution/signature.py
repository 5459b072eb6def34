"""Ed25519 signatures (RFC 8032) of a file's bytes, beside it as 64 raw bytes. The keys are PEM, as openssl has them:

    openssl pkeyutl -verify -pubin -inkey release.pub -rawin -in release.json -sigfile release.json.sig

A key is made by `python -m export keygen` and by nothing else. The public key has to reach the users by another way than the
release.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from scripts.errors import InputError
from scripts.files import write_atomically

OWNER_ONLY = 0o600


def make_key(private_key: str | Path) -> str:
    """Make a key pair for signing: a new private key, readable by its owner alone, and `<private_key>.pub` beside it.

    Args:
        private_key: file to be written, outside the repository.

    Example:
        python -m export keygen --private_key ~/etscnet-release.key

    Returns:
        Both files and the key's id.

    Raises:
        InputError: one of both is there already.
    """
    private = Path(private_key)
    public = private.with_name(f"{private.name}.pub")
    for path in (private, public):
        if path.exists():
            raise InputError("is there already", expected="a free name", remedy="Give another name.", file=path)
    key = Ed25519PrivateKey.generate()
    private.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_atomically(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return f"{private} (keep it secret)\n{public}\nkey id {key_id(key.public_key())}"


def read_private_key(path: str | Path) -> Ed25519PrivateKey:
    """The key that signs.

    Raises:
        InputError: no such key, or others may read it.
    """
    file = _existing(path, "python -m export keygen --private_key FILE")
    if os.name == "posix" and file.stat().st_mode & 0o077:
        mode = f"{file.stat().st_mode & 0o777:o}"
        raise InputError(f"a private key of mode {mode}", expected="600", remedy=f"chmod 600 {file}", file=file)
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(f"no private key ({error})", file) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key("a key of another algorithm", file)
    return key


def read_public_key(path: str | Path) -> Ed25519PublicKey:
    """The key that a signature is checked with.

    Raises:
        InputError: no such key.
    """
    file = _existing(path, "Get the public key from the release's makers.")
    try:
        key = load_pem_public_key(file.read_bytes())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(f"no public key ({error})", file) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key("a key of another algorithm", file)
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the raw public key: to tell keys apart, not to trust one."""
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def sign(path: str | Path, key: Ed25519PrivateKey) -> Path:
    """Write `<path>.sig`."""
    target = signature_of(path)
    write_atomically(target, key.sign(Path(path).read_bytes()))
    return target


def check_signature(path: str | Path, key: Ed25519PublicKey) -> bytes:
    """The content of a file that its signature vouches for.

    Raises:
        InputError: no signature, or one of other bytes or another key.
    """
    file = _existing(path, "Get the whole release.")
    beside = _existing(signature_of(path), "Get the whole release.")
    content, signature = file.read_bytes(), beside.read_bytes()
    remedy = "Do not use the release. Get it again, and check that the public key is its makers'."
    try:
        key.verify(signature, content)
    except InvalidSignature as error:
        found = "the signature is not that of these bytes by this key"
        raise InputError(found, expected=f"a signature by the key {key_id(key)}", remedy=remedy, file=file) from error
    return content


def signature_of(path: str | Path) -> Path:
    """Where a file's signature lies."""
    return Path(path).with_name(f"{Path(path).name}.sig")


def _existing(path: str | Path, remedy: str) -> Path:
    if not Path(path).is_file():
        raise InputError("no such file", expected="a file", remedy=remedy, file=path)
    return Path(path)


def _no_key(found: str, file: Path) -> InputError:
    return InputError(found, expected="an Ed25519 key in PEM", remedy="python -m export keygen makes one.", file=file)
