"""05: how near synthetic images are to real ones, whether they fit their prompts, and whether they show train lesions.

sets           which images are compared, at equal n; controls: senseless and degraded images
compare        features of every set, and the measures (measures.py) between each set and real test images
pixels         block borders and power by spatial frequency; pixel_pairs: SSIM, PSNR and MSE, descriptive
alignment      images and prompts in the alignment model; attributes: what a linear readout of an extractor says
maps           images as points in a plane; neighbours: each image beside its nearest real ones
copying        whether a set reproduces train images; audit: which images show a train lesion, and the set's verdict
verdicts       all hypotheses as one family
report/        tables, figures and findings; audit_report: those of the audit
references     Fréchet distance of any folder or tar file (picture_sources.py) to a reference file, without a run:
               python -m p2d_lib.fidelity ref|measure
"""
