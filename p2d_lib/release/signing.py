"""Two ways to sign a released picture: a command that people bring, or Content Credentials (C2PA) of a certificate.

What a signature states is that a trained model made the picture, and that nobody has changed it since.
"""

import json
import shlex
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

from p2d_lib.release.refusal import Refused

Sign = Callable[[Path], None]  # signs a PNG in place; raises Refused
ALGORITHMS = ("es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519")  # C2PA 2.2, section 13.2
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"  # a trained model made it
PNG = "image/png"


def by_command(command: str) -> Sign:
    """Runs a command for each file, with {} where the file's name goes. Raises Refused for what is no command."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Refused(f"--sign {command!r}: {error}: quote it as a shell would have it") from None
    if not words:
        raise Refused(f"--sign {command!r} names no command: name one, or leave it out")

    def sign(file: Path) -> None:
        filled = [word.replace("{}", str(file)) for word in words]
        try:
            done = subprocess.run(filled, capture_output=True, encoding="utf-8", errors="replace")
        except OSError as error:
            raise Refused(f"--sign {command!r}: {words[0]} cannot be run ({error.strerror}): name a command") from None
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise Refused(f"--sign {command!r} ended with {done.returncode} on {file.name}: {last}")

    return sign


def by_certificate(chain: Path, key: Path, algorithm: str = "es256", time_stamps: str = "") -> Sign:
    """Adds a C2PA manifest to each file: the action "created", with IPTC's source type of trained models.

    chain: PEM, the signer's certificate first, then those that vouch for it. key: PEM (PKCS #8), without a password.
    algorithm: one of ALGORITHMS. time_stamps: address of a server for time stamps (RFC 3161), "" for none. A
    certificate that no list of trust names is valid all the same, and readers call its signer unknown. Raises Refused
    for files that cannot be read or do not belong together, and where the package c2pa-python is missing.
    """
    try:
        import c2pa  # 53 MB that few releases need
    except ImportError:
        raise Refused(
            "--certificate needs a package that is not installed: .venv/bin/python -m pip install c2pa-python"
        ) from None
    try:
        texts = [path.read_text(encoding="ascii") for path in (chain, key)]
    except (OSError, ValueError) as error:
        raise Refused(f"--certificate {chain} --key {key}: {error}: name two PEM files") from None
    info = c2pa.C2paSignerInfo(algorithm, texts[0].encode(), texts[1].encode(), time_stamps or None)
    settings = c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})  # as large as the picture

    def sign(file: Path) -> None:
        signed = BytesIO()
        try:
            with c2pa.Signer.from_info(info) as signer, c2pa.Builder(_manifest(file), settings) as builder:
                builder.sign(signer, PNG, BytesIO(file.read_bytes()), signed)
        except c2pa.C2paError as error:
            raise Refused(
                f"{file.name} cannot be signed ({error}): --certificate needs the chain of a certificate for signing, "
                f"--key the key of the first one in it, and --algorithm ({algorithm}) the kind of that key"
            ) from None
        file.write_bytes(signed.getvalue())

    return sign


def _manifest(file: Path) -> str:
    program = {"name": "prompt2derm", "version": version("p2d_lib")}
    created = {"action": "c2pa.created", "digitalSourceType": TRAINED, "softwareAgent": program}
    actions = {"label": "c2pa.actions.v2", "data": {"actions": [created]}}
    return json.dumps({"claim_generator_info": [program], "title": file.name, "format": PNG, "assertions": [actions]})
