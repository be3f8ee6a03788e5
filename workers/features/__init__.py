"""Image features: the output of a frozen image encoder, computed once and kept.

A sweep trains the language model of one base again and again on the same images. Where nothing
trains up to the last module of `Family.VISION_CHAIN`, its output, an image's features, is the same
in every step of every trial. A batch then carries features in place of pixels, and the modules of
the chain pass them on instead of computing them.
"""
