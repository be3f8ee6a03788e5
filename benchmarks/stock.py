"""pycocoevalcap's scorers as its users compose them, anew for each set of captions.

SPICE is left out: it is not in the package. The caption texts of the benchmarks avoid what these
scorers cannot take (line separators, images without references); Java is the same one that this
project uses, found through the PATH, and speaks English, for METEOR fails on a decimal comma.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from benchmarks.usage import java_peaks
from workers.metrics.java.runtime import java

BLEU = ("bleu_1", "bleu_2", "bleu_3", "bleu_4")


@dataclass(frozen=True, kw_only=True)
class Stock:
    """What the stock scorers say of one set of captions."""

    corpus: Mapping[str, float]
    images: Mapping[str, NDArray[np.float64]]
    """Output -> value of each image (images,)."""
    java_peak: float
    """MiB that METEOR's Java took at most."""


def prepare() -> None:
    """Let the stock scorers find Java. Side-effect: the environment of this process."""
    os.environ["PATH"] = os.pathsep.join([str(java().parent), os.environ["PATH"]])
    os.environ["JAVA_TOOL_OPTIONS"] = "-Duser.language=en -Duser.country=US"


def score(references: Mapping[str, Sequence[str]], candidates: Mapping[str, str]) -> Stock:
    """Return the scores; nothing is kept for the next call."""
    truths = _tokens(references)
    captions = _tokens({image: [candidates[image]] for image in references})
    bleu, bleu_images = Bleu(4).compute_score(truths, captions, verbose=0)
    corpus = dict(zip(BLEU, bleu, strict=True))
    images = dict(zip(BLEU, bleu_images, strict=True))
    meteor = Meteor()
    scorers = {"meteor": meteor, "rouge_l": Rouge(), "cider": Cider()}
    for name, scorer in scorers.items():
        corpus[name], images[name] = scorer.compute_score(truths, captions)
    peak = java_peaks([meteor.meteor_p.pid])
    return Stock(
        corpus=corpus,
        images={name: np.asarray(values, dtype=np.float64) for name, values in images.items()},
        java_peak=peak,
    )  # METEOR's Java ends here, with the last name for it


def _tokens(captions: Mapping[str, Sequence[str]]) -> Any:
    items = {image: [{"caption": text} for text in texts] for image, texts in captions.items()}
    return PTBTokenizer().tokenize(items)
