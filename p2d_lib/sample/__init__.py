"""Room 04: adapter and prompts -> synthetic images.

plan       how many images of each class, with which prompts and seeds
generate   the images of a plan, as files; shards: several processes on one plan
measure    what scout and alignment model read in the images
accept     which images are accepted, and how far the check for copies can be believed; controls: copies on purpose
obedience  whether images show what they were asked for
sweep      what guidance and denoising steps buy
pack       the accepted images as a folder and as tars
report     tables, figures and findings
"""
