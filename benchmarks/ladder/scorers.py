"""pycocoevalcap as everybody calls it, and the same kept warm.

`Stock` makes everything anew for each set of captions, as `COCOEvalCap.evaluate` does (SPICE left
out: its program is not in the package), or everything but METEOR. `Kept` is what a careful
engineer makes of it without touching the scorers: references are tokenized once, a caption that
came before is not tokenized again, and METEOR's Java goes on living.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

Texts = Mapping[str, Sequence[str]]
"""Image -> captions."""
NAMES = ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l", "cider")


class Stock:
    """Keeps the references as text, and nothing else but METEOR's process if that is wanted."""

    def __init__(self, references: Texts, *, keep_meteor: bool) -> None:
        self._references = references
        self._meteor = Meteor() if keep_meteor else None

    def score(self, captions: Mapping[str, str]) -> dict[str, float]:
        """Return the corpus scores of one caption per image."""
        candidates = {image: [captions[image]] for image in self._references}
        return _scores(tokenize(self._references), tokenize(candidates), self._meteor or Meteor())


class Kept:
    """Keeps tokens and METEOR's process."""

    def __init__(self, references: Texts) -> None:
        self._meteor = Meteor()  # its Java loads while the references are tokenized
        self._references = tokenize(references)
        self._tokens: dict[str, str] = {}

    def score(self, captions: Mapping[str, str]) -> dict[str, float]:
        """Return the corpus scores of one caption per image."""
        new = sorted({text for text in captions.values() if text not in self._tokens})
        if new:
            tokens = tokenize({text: [text] for text in new})
            self._tokens |= {text: tokens[text][0] for text in new}
        candidates = {image: [self._tokens[captions[image]]] for image in self._references}
        return _scores(self._references, candidates, self._meteor)


def tokenize(texts: Texts) -> dict[str, list[str]]:
    """Return the captions as PTB tokens; one run of Java."""
    items = {image: [{"caption": text} for text in several] for image, several in texts.items()}
    tokens: dict[str, list[str]] = PTBTokenizer().tokenize(items)
    return tokens


def _scores(references: Texts, candidates: Texts, meteor: Any) -> dict[str, float]:
    bleu, _ = Bleu(4).compute_score(references, candidates, verbose=0)
    others = [s.compute_score(references, candidates)[0] for s in (meteor, Rouge(), Cider())]
    return dict(zip(NAMES, map(float, (*bleu, *others)), strict=True))
