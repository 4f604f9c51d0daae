"""python -m p2d_lib.app: the web app over a finished run, on this machine unless --host says otherwise."""
