"""Who reviews and who reads: a name, and a private code with which that person, and nobody else, goes on."""

import secrets
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from p2d_lib.app import store
from p2d_lib.app.safety import Refused
from p2d_lib.app.widget import text
from p2d_lib.readers.answers import plain_name
from p2d_lib.table_files import MISSING

LOG = "people.jsonl"
LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # none that is mistaken for another
CODE_LENGTH = 8
TYPED = 1000  # characters that are looked at of a name or code


def sign_in(folder: Path, name: object, code: object = "") -> tuple[str, str]:
    """(name, code) of a person who begins or goes on.

    folder: where the app keeps its logs. A new name gets a new code, of which only the SHA-256 is kept. Raises Refused
    for no plain name, and for a known name without its code: so nobody sees or changes another person's answers.
    """
    name, code = text(name, "Name", TYPED), _code(code)
    try:
        name = plain_name(name)
    except ValueError as error:
        raise Refused(f"{error}.") from None
    if name.lower() in MISSING:  # "", and what tables write where they know nothing
        raise Refused("Write your name or initials first.")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".sign-in.lock"):
        known = _find(folder, name)
        if known is None:
            code = "".join(secrets.choice(LETTERS) for _ in range(CODE_LENGTH))
            record = {"name": name, "code_sha256": _digest(code), "time": datetime.now(UTC).isoformat()}
            store.append(folder / LOG, record)
            return name, code
    if not secrets.compare_digest(known["code_sha256"], _digest(code)):
        raise Refused(
            f"{known['name']} has begun here before: write the code that was shown then, or take another name."
        )
    return known["name"], code


def signed_in(folder: Path, name: object, code: object) -> str:
    """The name of a person who has signed in. Raises Refused for anybody else."""
    known = _find(folder, name) if isinstance(name, str) else None
    if known is None or not secrets.compare_digest(known["code_sha256"], _digest(_code(code))):
        raise Refused("You are not signed in; reload the page and begin again.")
    return known["name"]


def _find(folder: Path, name: str) -> dict | None:
    same = " ".join(name.split()).casefold()
    records = store.records(folder / LOG)
    return next((record for record in records if " ".join(record["name"].split()).casefold() == same), None)


def _code(value: object) -> str:
    return "".join(letter for letter in text(value, "Code", TYPED).upper() if letter.isalnum())


def _digest(code: str) -> str:
    return sha256(code.encode()).hexdigest()
