"""python -m p2d_lib.app: the web app over a finished run, on this machine unless --host says otherwise."""

import getpass
import os
import sys
from collections.abc import Sequence

from p2d_lib.app.command import NotStarted, arguments, check_address, check_run, password


def main(argv: Sequence[str]) -> int:
    options = arguments(argv)
    try:
        ask = getpass.getpass if sys.stdin.isatty() else None
        check_run(options.run)
        check_address(options.host, options.port)
        secret = password(options.host, options.user, os.environ, ask)
        from p2d_lib.app.serve import open_run, serve  # gradio and pandas, which --help does without

        print(f"prompt2derm: opening run {options.run!r} ...", file=sys.stderr, flush=True)
        serve(open_run(options.run), options.host, options.port, dict.fromkeys(options.user, secret))
    except NotStarted as problem:
        print(f"prompt2derm: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    if not sys.flags.utf8_mode:  # all our files are UTF-8, whatever the locale
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    sys.exit(main(sys.argv[1:]))
