"""Room 04: adapter and prompts -> synthetic images.

plan       how many images of each class, with which prompts and seeds
shards     several processes on one plan (models.generate makes its images)
measure    what scout and alignment model read in the images
accept     which images are accepted, and the error rates of the check for copies; controls: copies made on purpose;
           audit_table: the verdicts of a memorisation audit that somebody brings
single_words, probes   prompts that test single words; word_readings: what is read in their images
counterfactual         pairs in which one attribute is changed; pair_check: which of them show just that
worst_case several images for each of some prompts, for the memorisation audit of 05
sweep      the effect of guidance and denoising steps
pack       the accepted images as a folder and as tars
report     tables, figures and findings; report_sweep: those of the sweep; report_words: of single words and pairs
"""
