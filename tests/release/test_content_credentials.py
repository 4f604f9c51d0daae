"""Content Credentials (C2PA) of released pictures: read back by the library of C2PA, and broken by any change."""

import json
import sys
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from PIL import Image

from p2d_lib.release.__main__ import main
from p2d_lib.release.pictures import TRAINED, XMP, xmp
from p2d_lib.release.refusal import Refused
from p2d_lib.release.signing import by_certificate

AUTHORITY, SIGNER = "authority", "signer"


def _issued(key, subject: str, by, extensions):
    """A certificate of a key, signed by the authority's key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    def name(text):
        return x509.Name([x509.NameAttribute(oid, text) for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)])

    built = x509.CertificateBuilder(name(AUTHORITY), name(subject), key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(datetime.now(UTC) - timedelta(1)).not_valid_after(datetime.now(UTC) + timedelta(9))
    for extension, critical in extensions:
        built = built.add_extension(extension, critical)
    return built.sign(by, hashes.SHA256())


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """Files: a chain of two certificates, the signer's key, and a key of somebody else."""
    pytest.importorskip("c2pa", reason="c2pa-python is not installed: ./run_tests.sh installs it")
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    folder, of = tmp_path_factory.mktemp("pem"), ("digital_signature", "content_commitment", "key_encipherment")
    of += ("data_encipherment", "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    authority, signer, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    identified = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    signs, vouches = (x509.KeyUsage(**{each: each == name for each in of}) for name in (of[0], of[5]))
    mail = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    chain = [
        _issued(signer, SIGNER, authority, [
            (x509.BasicConstraints(False, None), True), (signs, True), (mail, False),
            (identified, False),
        ]),
        _issued(authority, AUTHORITY, authority, [
            (x509.BasicConstraints(True, None), True), (vouches, True),
        ]),
    ]  # fmt: skip
    text = serialization.Encoding.PEM
    (folder / "chain.pem").write_bytes(b"".join(each.public_bytes(text) for each in chain))
    for name, key in (("key", signer), ("other", other)):
        private = key.private_bytes(text, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / f"{name}.pem").write_bytes(private)
    return folder


@pytest.fixture
def picture(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    texts, path = PngInfo(), tmp_path / "adapter_nv_0.png"
    texts.add_itxt(XMP, xmp(TRAINED, ""))
    Image.effect_noise((32, 32), 60).convert("RGB").save(path, pnginfo=texts)
    return path


def _read(data: bytes) -> tuple[str, dict]:
    """The state of the signature, and the manifest."""
    import c2pa

    with c2pa.Reader("image/png", BytesIO(data)) as reader:
        record = json.loads(reader.json())
    return record["validation_state"], record["manifests"][record["active_manifest"]]


def test_a_signed_picture_says_that_a_trained_model_made_it_and_keeps_pixels_and_xmp(pem, picture):
    before, size = Image.open(picture).tobytes(), picture.stat().st_size
    by_certificate(pem / "chain.pem", pem / "key.pem")(picture)
    state, manifest = _read(picture.read_bytes())
    (actions,) = [each["data"]["actions"] for each in manifest["assertions"] if "actions" in each["label"]]
    assert state == "Valid" and manifest["signature_info"]["common_name"] == SIGNER
    assert [(each["action"], each["digitalSourceType"]) for each in actions] == [("c2pa.created", TRAINED)]
    with Image.open(picture) as image:
        assert image.tobytes() == before and image.getxmp()["xmpmeta"]["RDF"]["Description"]["DigitalSourceType"]
    assert picture.stat().st_size < size + 20_000, "no second picture inside"


def test_a_picture_that_was_changed_after_it_was_signed_is_no_longer_valid(pem, picture):
    by_certificate(pem / "chain.pem", pem / "key.pem")(picture)
    data = bytearray(picture.read_bytes())
    data[data.rindex(b"IDAT") + 40] ^= 1
    assert _read(bytes(data))[0] == "Invalid"


@pytest.mark.parametrize(
    ("chain", "key", "algorithm", "words"),
    [
        ("chain", "other", "es256", "cannot be signed"),
        ("chain", "key", "ed25519", "--algorithm .ed25519. the kind of that key"),
        ("key", "chain", "es256", "--certificate needs the chain of a certificate"),
        ("chain", "missing", "es256", r"missing\.pem.*name two PEM files"),
    ],
)
def test_a_key_that_does_not_fit_stops_the_release_and_leaves_the_file_as_it_was(
    pem, picture, chain, key, algorithm, words
):
    before = picture.read_bytes()
    with pytest.raises(Refused, match=words):
        by_certificate(pem / f"{chain}.pem", pem / f"{key}.pem", algorithm)(picture)
    assert picture.read_bytes() == before


def test_where_the_package_is_missing_the_command_that_installs_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(Refused, match="pip install c2pa-python"):
        by_certificate(tmp_path / "chain.pem", tmp_path / "key.pem")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--certificate", "a.pem"], "--certificate and --key go together"),
        (["--sign", "x {}", "--certificate", "a.pem", "--key", "b.pem"], "two ways to sign: choose one"),
    ],
)
def test_options_that_contradict_each_other_release_nothing(home, tmp_path, capsys, options, words):
    assert main(["--run", "small", "--to", str(tmp_path / "set"), *options]) == 1
    assert words in capsys.readouterr().err and not (tmp_path / "set").exists()
