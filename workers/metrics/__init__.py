"""Metrics of captions, those of the COCO evaluation, and of answers to questions.

One file and one line in `catalog` per metric; `scorer.Scorer` computes them. Caption
metrics come from pycocoevalcap and read PTB tokens. Metrics of answers read the text as it is:
the usual normalization drops punctuation, and "12.5 gram" would be "125 gram".

SPICE is left out: it needs Stanford CoreNLP 3.6.0, a download of 384 MB that is not part of
pycocoevalcap, and 8 GiB of Java heap. For the same reason pycocoevalcap's `COCOEvalCap`, which
sets up SPICE before anything else, is not used.
"""
