"""The web app, above the rooms: images from words, review of prompts, the reader study, a run to look through.

__main__, command   python -m p2d_lib.app: which run, which address, who may enter
serve               the server, and what it does not give away
page                the page with its four tabs
store               what the tabs leave in the run's folder, line by line
safety              bounds of what comes in, and refusals
pictures            images as addresses that hold them
create              the tab that makes images; create_layout: its components; create_form: presets and prompts;
                    create_request: what an image depends on; create_jobs: the queue; create_models: the networks;
                    create_gallery: the images on disk; create_cards: what is shown of them
review              the tab where people review descriptions; review_desk: what it asks of the server; review_log: what
                    stands and what was decided blind; review_agreement, review_export
read                the tab of the reader study; read_desk: what it asks of the server, which never opens the key
widget              a part of the page with a script of its own (template/); people: a name and its private code
browse              the tab that shows a run; browse_images: real and synthetic ones; browse_results: tables, figures
"""
