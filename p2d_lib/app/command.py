"""The command line of the app: which run, which address, who may enter. It needs nothing but Python."""

import argparse
import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence

from p2d_lib.home import home

PASSWORD = "P2D_APP_PASSWORD"
SHORTEST_PASSWORD = 10  # characters


class NotStarted(Exception):
    """Something that the user can correct; the message is one sentence."""


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./run_all.sh app",
        description="Opens the web app over a finished run: images from words, review of prompts, the reader study, "
        "and a look through all tables, figures and images.",
        epilog=f"Beyond this machine (--host) a user and a password are needed. The password is read from the variable "
        f"{PASSWORD}, or asked for; it is never an argument, since others on the machine can read these.",
    )
    parser.add_argument("--run", default="smoke", metavar="NAME", help="the run that is shown (default: smoke)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    parser.add_argument("--port", type=int, default=7860, help="port (default: 7860)")
    parser.add_argument(
        "--user", action="append", default=[], metavar="NAME", help="who may enter; repeatable; all share the password"
    )
    options = parser.parse_args(argv)
    if not 0 < options.port < 2**16:
        parser.error(f"--port {options.port}: a port is a number from 1 to {2**16 - 1:,}")
    if not all(name.strip() for name in options.user):
        parser.error("--user is followed by nothing: name who may enter")
    return options


def check_run(name: str) -> None:
    """Raises NotStarted, which says how to make it, for a run that has no synthetic images."""
    made = sorted(path.parent.name for path in (home() / "data" / "runs").glob("*/synthetic.parquet"))
    if name not in made:
        known = f" (runs that have some: {', '.join(made)})" if made else ""
        command = "./run_all.sh" if name == "smoke" else f"./run_all.sh --run {name}"
        raise NotStarted(f"run {name!r} has no synthetic images yet{known}: make it first with {command}")


def check_address(host: str, port: int) -> None:
    """Raises NotStarted where nothing can listen on an address: it is not of this machine, or the port is taken."""
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        words = getattr(error, "strerror", None) or error
        raise NotStarted(f"port {port} of {host}: {words}: choose another one (--port, --host)") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def password(
    host: str, users: Sequence[str], environment: Mapping[str, str], ask: Callable[[str], str] | None = None
) -> str:
    """The password that all users give; "" where nobody has to.

    ask: asks for it on the terminal; None where there is no terminal. Raises NotStarted where the address is open to
    others and a user or a password is missing, and for one that is too short.
    """
    if not users:
        if is_loopback(host):
            return ""
        raise NotStarted(f"--host {host} is open to others: name who may enter (--user NAME) and give {PASSWORD}")
    typed = environment.get(PASSWORD) or (ask(f"Password for {', '.join(users)}: ") if ask else "")
    if len(typed) < SHORTEST_PASSWORD:
        raise NotStarted(f"{PASSWORD}: {SHORTEST_PASSWORD} characters are needed at least, and {len(typed)} were given")
    return typed
