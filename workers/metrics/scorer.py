"""Scores the captions of one set of images by any metrics of the catalog."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack

from workers.metrics import catalog
from workers.metrics.metric import Captions
from workers.metrics.tokenizer import tokenize


class Scorer:
    """Holds the references of a set of images, tokenized once.

    Scorers of one process share METEOR's JVM; it ends when the last of them is closed.
    """

    def __init__(self, metrics: Sequence[str], references: Mapping[str, Sequence[str]]) -> None:
        """Take the names of metrics, and the references of each image by its id.

        As tokens, references without a word (blank, or only punctuation) are left out: an empty
        caption would match them. As text they stay: an empty answer is to match them.

        Raises ValueError for an unknown metric or images without references, and
        `workers.metrics.java.JavaMissingError`.
        """
        self._metrics = tuple(catalog.get(name) for name in metrics)
        self._tokenized = any(metric.reads == "tokens" for metric in self._metrics)
        self._references = {"text": _given(references)}
        if self._tokenized:
            self._references["tokens"] = _with_words(tokenize(references))
        self._sessions: ExitStack | None = None

    def start(self) -> None:
        """Begin to load what the metrics need running, and return at once.

        Calling it early, before a model is loaded say, hides METEOR's start-up time.
        """
        if self._sessions is None:
            with ExitStack() as sessions:
                for metric in self._metrics:
                    sessions.enter_context(metric.session())
                self._sessions = sessions.pop_all()

    def score(self, candidates: Mapping[str, str]) -> dict[str, float]:
        """Return output -> value over all images, for one caption per image.

        Raises ValueError unless the ids of `candidates` are those of the references.
        """
        self._check_ids(candidates)
        self.start()
        texts = {image: [candidates[image]] for image in self._references["text"]}
        given: dict[str, Captions] = {"text": texts}
        if self._tokenized:
            given["tokens"] = tokenize(texts)
        scores: dict[str, float] = {}
        for metric in self._metrics:
            scores |= metric.compute(self._references[metric.reads], given[metric.reads])
        return scores

    def close(self) -> None:
        """Let go of what `start` began; a later `score` starts it again."""
        if self._sessions is not None:
            self._sessions.close()
            self._sessions = None

    def _check_ids(self, candidates: Mapping[str, str]) -> None:
        missing = self._references["text"].keys() - candidates.keys()
        unknown = candidates.keys() - self._references["text"].keys()
        if missing:
            raise ValueError(f"every image must have a caption; missing: {_some(missing)}")
        if unknown:
            raise ValueError(f"captions of images without references: {_some(unknown)}")


def _given(references: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the references as they are; raises ValueError if an image has none."""
    if not references:
        raise ValueError("at least one image with references is needed to score captions")
    bare = [image for image, texts in references.items() if not texts]
    if bare:
        raise ValueError(f"every image must have a reference; not so: {_some(bare)}")
    return {image: list(texts) for image, texts in references.items()}


def _with_words(references: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the references that have a word; raises ValueError if an image keeps none."""
    kept = {image: [text for text in texts if text.strip()] for image, texts in references.items()}
    bare = [image for image, texts in kept.items() if not texts]
    if bare:
        raise ValueError(f"every image must have a reference with a word; not so: {_some(bare)}")
    return kept


def _some(images: Iterable[str]) -> str:
    """Name up to five images."""
    names = sorted(images)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more
