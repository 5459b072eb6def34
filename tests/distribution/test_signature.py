"""A signature holds for the bytes and the key that it was made with, and for nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from export.distribution.signature import check_signature, key_id, make_key, read_private_key, read_public_key, sign
from scripts.errors import InputError


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    """A signed file, its keys beside it."""
    make_key(tmp_path / "key")
    (tmp_path / "release.json").write_bytes(b'{"files": {}}\n')
    sign(tmp_path / "release.json", read_private_key(tmp_path / "key"))
    return tmp_path / "release.json"


def test_the_signed_bytes_come_back(signed: Path) -> None:
    assert check_signature(signed, read_public_key(signed.with_name("key.pub"))) == b'{"files": {}}\n'


def test_one_changed_bit_of_the_file_is_refused(signed: Path) -> None:
    content = bytearray(signed.read_bytes())
    content[3] ^= 1
    signed.write_bytes(content)
    with pytest.raises(InputError, match="not that of these bytes"):
        check_signature(signed, read_public_key(signed.with_name("key.pub")))


@pytest.mark.parametrize("position", [0, 31, 32, 63])
def test_one_changed_bit_of_the_signature_is_refused(position: int, signed: Path) -> None:
    beside = signed.with_name("release.json.sig")
    content = bytearray(beside.read_bytes())
    assert len(content) == 64
    content[position] ^= 1
    beside.write_bytes(content)
    with pytest.raises(InputError, match="not that of these bytes"):
        check_signature(signed, read_public_key(signed.with_name("key.pub")))


def test_another_key_is_refused(signed: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    with pytest.raises(InputError, match="not that of these bytes"):
        check_signature(signed, read_public_key(tmp_path / "other.pub"))


def test_no_signature_is_refused(signed: Path) -> None:
    signed.with_name("release.json.sig").unlink()
    with pytest.raises(InputError, match=r"release\.json\.sig: no such file"):
        check_signature(signed, read_public_key(signed.with_name("key.pub")))


def test_a_key_is_not_written_over(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(InputError, match="is there already"):
        make_key(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


def test_a_private_key_is_its_owners_alone(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(InputError, match="a private key of mode 640"):
        read_private_key(tmp_path / "key")


def test_a_public_key_signs_nothing_and_a_key_of_another_algorithm_neither(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    (tmp_path / "key.pub").chmod(0o600)
    with pytest.raises(InputError, match="no private key"):
        read_private_key(tmp_path / "key.pub")
    with pytest.raises(InputError, match="no public key"):
        read_public_key(tmp_path / "key")
    rsa = generate_private_key(public_exponent=65537, key_size=2048)
    (tmp_path / "rsa").write_bytes(rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "rsa").chmod(0o600)
    with pytest.raises(InputError, match="another algorithm"):
        read_private_key(tmp_path / "rsa")


def test_the_algorithm_is_that_of_rfc_8032(tmp_path: Path) -> None:
    """Test 2 of its section 7.1: one byte, 72."""
    secret = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
    public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    (tmp_path / "message").write_bytes(b"\x72")
    sign(tmp_path / "message", Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)))
    assert (tmp_path / "message.sig").read_bytes().hex() == signature
    assert len(key_id(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)))) == 16


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the documented command needs openssl")
def test_openssl_checks_it_as_documented(signed: Path) -> None:
    command = "openssl pkeyutl -verify -pubin -inkey key.pub -rawin -in release.json -sigfile release.json.sig"
    done = subprocess.run(command.split(), cwd=signed.parent, capture_output=True, text=True)
    if "rawin" in done.stderr:
        pytest.skip("this openssl is older than -rawin")
    assert done.returncode == 0, done.stderr
    signed.write_bytes(b"other")
    assert subprocess.run(command.split(), cwd=signed.parent, capture_output=True).returncode != 0
