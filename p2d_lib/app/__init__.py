"""The web app, above the rooms: images from words, review of prompts, the reader study, a run to look through.

__main__   python -m p2d_lib.app: which run, which address, who may enter
page       the page with its four tabs
store      what the tabs leave in the run's folder, line by line
safety     bounds of what comes in, and what may go out
"""
