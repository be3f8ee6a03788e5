"""Caption metrics of the COCO evaluation, computed by pycocoevalcap on PTB tokens.

One file and one line in `catalog` per metric; `scorer.Scorer` computes them.

SPICE is left out: it needs Stanford CoreNLP 3.6.0, a download of 384 MB that is not part of
pycocoevalcap, and 8 GiB of Java heap. For the same reason pycocoevalcap's `COCOEvalCap`, which
sets up SPICE before anything else, is not used.
"""
