"""Scores the captions of one set of images by any metrics of the catalog."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from workers.metrics import catalog
from workers.metrics import references as checks
from workers.metrics.java.tokenizer import tokenize_each
from workers.metrics.metric import Array, Captions
from workers.metrics.remembered import Forms, Remembered


@dataclass(frozen=True)
class Scored:
    """What the captions of one set of images are worth."""

    ids: tuple[str, ...]
    """The images, in the order of the references."""
    corpus: dict[str, float]
    """Output -> value over all images."""
    images: dict[str, Array] = field(repr=False)
    """Output -> value of each image (images,)."""
    statistics: dict[str, Array] = field(repr=False)
    """Name of the metric -> statistics (images, k), which `Metric.pool` makes values of."""


class Scorer:
    """Holds the references of a set of images, tokenized once, and what it has scored before.

    Threads may share one; they take turns.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        references: Mapping[str, Sequence[str]],
        whole: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Take the names of metrics, and the references of each image by its id.

        As tokens, references without a word (blank, or only punctuation) are left out: an empty
        caption would match them. As text they stay: an empty answer is to match them.

        `whole` has the references of the whole split where only a part of it is scored; document
        frequencies that are to be fixed come from there.

        Raises ValueError for an unknown metric or images without references, and
        `workers.metrics.java.runtime.JavaMissingError`.
        """
        self._metrics = tuple(catalog.get(name) for name in metrics)
        self._given = checks.given(references)
        scored = documents = self._read(self._given)
        part = whole is not None and whole.keys() != references.keys()
        if whole is not None and part and any(metric.whole for metric in self._metrics):
            documents = self._read(checks.given(whole))
        self._bound = {m: m.bind(scored[m.reads], documents[m.reads]) for m in self._metrics}
        self._remembered = Remembered(self._bound)
        self._lock = threading.Lock()
        self._sessions: ExitStack | None = None

    def start(self) -> None:
        """Begin to load what the metrics need running, and return at once.

        Calling it early, before a model is loaded say, hides METEOR's start-up time.
        """
        if self._sessions is None:
            with ExitStack() as sessions:
                for bound in self._bound.values():
                    sessions.enter_context(bound.session())
                self._sessions = sessions.pop_all()

    def score(self, candidates: Mapping[str, str]) -> Scored:
        """Return the scores of one caption per image.

        Raises ValueError unless the ids of `candidates` are those of the references, and
        `workers.metrics.java.meteor_jvm.JavaDiedError`.
        """
        return self.score_each([candidates])[0]

    def score_each(self, several: Sequence[Mapping[str, str]]) -> list[Scored]:
        """Return what `score` returns for each, in less time than one after the other."""
        for candidates in several:
            checks.check_ids(candidates, self._given)
        texts = [{image: [own[image]] for image in self._given} for own in several]
        with self._lock:
            self.start()
            return [self._scored(forms) for forms in self._forms_of_each(texts)]

    def _scored(self, candidates: Forms) -> Scored:
        statistics = self._remembered.statistics(candidates)
        finished = [m.finished(bound, statistics[m.name]) for m, bound in self._bound.items()]
        return Scored(
            ids=tuple(self._given),
            corpus={key: value for corpus, _ in finished for key, value in corpus.items()},
            images={key: value for _, images in finished for key, value in images.items()},
            statistics=statistics,
        )

    def close(self) -> None:
        """Let go of what `start` began; a later `score` starts it again."""
        if self._sessions is not None:
            self._sessions.close()
            self._sessions = None

    def _forms_of_each(self, several: Sequence[Captions]) -> list[Forms]:
        """Return the captions in the forms that the metrics read."""
        if all(metric.reads == "text" for metric in self._metrics):
            return [{"text": captions} for captions in several]
        tokens = tokenize_each(several)
        return [
            {"text": captions, "tokens": own} for captions, own in zip(several, tokens, strict=True)
        ]

    def _read(self, references: Captions) -> Forms:
        (forms,) = self._forms_of_each([references])
        if "tokens" in forms:
            forms["tokens"] = checks.with_words(forms["tokens"])
        return forms
