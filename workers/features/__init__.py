"""What a frozen image encoder makes of an image, computed once and kept.

A sweep trains the language model of one base again and again on the same images. Where nothing
trains up to the last module of `Family.VISION_CHAIN`, its output, an image's features, is the same
in every step of every trial. A batch then carries features in place of pixels, and the modules of
the chain hand them on instead of computing them.
"""
