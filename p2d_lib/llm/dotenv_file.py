"""What a .env file says of servers, checked: a line that is passed over unseen could send images to another server."""

import re
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from p2d_lib.llm.errors import ApiError

_SERVER_NAME = re.compile(r"\b(P2D|OPENAI)_(API|BASE)\w*", re.IGNORECASE)


def names(files: Iterable[Path | str] | Path | str | None) -> set[str]:
    """The names that .env files define; files that do not exist define none.

    Raises ApiError for a file that is no UTF-8 text (a byte order mark is allowed), cannot be read, or has a line on a
    server or its key that is not NAME=value.
    """
    files = [files] if isinstance(files, Path | str) else files or ()
    return {name for file in map(Path, files) if file.is_file() for name in _names(file)}


def _names(file: Path) -> set[str]:
    bindings = list(parse_stream(StringIO(_text(file))))
    for binding in bindings:
        if (binding.error or binding.value is None) and (name := _mentioned(binding)):
            text = binding.original.string
            line = binding.original.line + len(text[: len(text) - len(text.lstrip())].splitlines())
            raise ApiError(f"{file}, line {line}: mentions {name} and is not NAME=value; write {name}=...")
    return {binding.key for binding in bindings if binding.key}


def _mentioned(binding: Binding) -> str:
    """The setting that a line mentions outside a comment, or ""."""
    line = binding.original.string.strip()
    match = None if line.startswith("#") else _SERVER_NAME.search(line)
    return match[0] if match else ""


def _text(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    except OSError as error:
        raise ApiError(f"{file}: cannot be read ({error.strerror}); make it readable or remove it") from None
    if "\0" in text:  # UTF-16 without a mark decodes, and is full of these
        raise ApiError(f"{file}: is not UTF-8 text; save it as UTF-8 (PowerShell's > writes UTF-16)")
    return text
