"""Scores the captions of one set of images by any metrics of the catalog."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from workers.metrics import catalog
from workers.metrics.java.tokenizer import tokenize_each
from workers.metrics.metric import Array, Bound, Captions, Metric

Forms: TypeAlias = dict[str, Captions]
"""``text`` or ``tokens``, as `Metric.reads` -> the captions in that form."""

Key: TypeAlias = tuple[str, ...]
"""An image and its caption in each form."""

_KEPT = 50_000
"""Captions whose statistics are kept, the longest unused leave first: about 40 MiB."""


@dataclass(frozen=True)
class Scored:
    """The scores of captions of one set of images."""

    ids: tuple[str, ...]
    """The images, in the order of the references."""
    corpus: dict[str, float]
    """Output -> value over all images."""
    images: dict[str, Array] = field(repr=False)
    """Output -> value of each image (images,)."""
    statistics: dict[str, Array] = field(repr=False)
    """Name of the metric -> statistics (images, k), which `Metric.pool` makes values of."""


class StatisticsCache:
    """Computes statistics of captions of some images once.

    They depend on nothing but the caption and its image, for nearly all metrics; and most
    captions come back at the next rung.
    """

    def __init__(self, metrics: Mapping[Metric, Bound]) -> None:
        self._metrics = metrics
        self._cached = [metric for metric in metrics if metric.alone]
        self._widths: list[int] = []
        self._rows: OrderedDict[Key, Array] = OrderedDict()

    def statistics(self, candidates: Forms) -> dict[str, Array]:
        """Return the statistics of all images (images, k) by name of the metric."""
        found = {m.name: self._compute(m, candidates) for m in self._metrics if not m.alone}
        if self._cached:
            forms = candidates.values()
            keys = [(image, *(form[image][0] for form in forms)) for image in candidates["text"]]
            self._add([key for key in keys if key not in self._rows], candidates)
            for key in keys:
                self._rows.move_to_end(key)
            table = np.stack([self._rows[key] for key in keys])
            while len(self._rows) > _KEPT:
                self._rows.popitem(last=False)
            parts = np.split(table, np.cumsum(self._widths)[:-1], axis=1)
            found |= {metric.name: part for metric, part in zip(self._cached, parts, strict=True)}
        return found

    def _add(self, keys: Sequence[Key], candidates: Forms) -> None:
        """Compute the rows of new captions, those of all metrics side by side."""
        if not keys:
            return
        images = [image for image, *_ in keys]
        some: Forms = {form: {i: own[i] for i in images} for form, own in candidates.items()}
        parts = [self._compute(metric, some) for metric in self._cached]
        self._widths = [part.shape[1] for part in parts]
        # A view of a row would keep all rows that were computed with it.
        rows = (row.copy() for row in np.hstack(parts))
        self._rows.update(zip(keys, rows, strict=True))

    def _compute(self, metric: Metric, candidates: Forms) -> Array:
        return self._metrics[metric].rows(candidates[metric.reads])


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
        self._given = _given(references)
        scored = documents = self._read(self._given)
        part = whole is not None and whole.keys() != references.keys()
        if whole is not None and part and any(metric.whole for metric in self._metrics):
            documents = self._read(_given(whole))
        self._bound = {m: m.bind(scored[m.reads], documents[m.reads]) for m in self._metrics}
        self._cache = StatisticsCache(self._bound)
        self._lock = threading.Lock()
        self._sessions: ExitStack | None = None

    def start(self) -> None:
        """Begin to load what the metrics need running, and return at once.

        Calling it early, for example before a model is loaded, hides METEOR's start-up time.
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
            missing = self._given.keys() - candidates.keys()
            unknown = candidates.keys() - self._given.keys()
            if missing:
                raise ValueError(f"every image must have a caption; missing: {_some(missing)}")
            if unknown:
                raise ValueError(f"captions of images without references: {_some(unknown)}")
        texts = [{image: [own[image]] for image in self._given} for own in several]
        with self._lock:
            self.start()
            return [self._scored(forms) for forms in self._forms_of_each(texts)]

    def _scored(self, candidates: Forms) -> Scored:
        statistics = self._cache.statistics(candidates)
        corpus: dict[str, float] = {}
        images: dict[str, Array] = {}
        for metric, bound in self._bound.items():
            own = metric.finished(bound, statistics[metric.name])
            corpus, images = corpus | own[0], images | own[1]
        return Scored(tuple(self._given), corpus, images, statistics)

    def close(self) -> None:
        """Release what `start` began; a later `score` starts it again."""
        if self._sessions is not None:
            self._sessions.close()
            self._sessions = None

    def _forms_of_each(self, several: Sequence[Captions]) -> list[Forms]:
        """Return the captions in the forms that the metrics read."""
        if all(metric.reads == "text" for metric in self._metrics):
            return [{"text": captions} for captions in several]
        tokens = tokenize_each(several)
        pairs = zip(several, tokens, strict=True)
        return [{"text": captions, "tokens": own} for captions, own in pairs]

    def _read(self, references: Captions) -> Forms:
        (forms,) = self._forms_of_each([references])
        if "tokens" in forms:
            words = {image: list(filter(str.strip, own)) for image, own in forms["tokens"].items()}
            forms["tokens"] = _with_references(words, "a reference with a word")
        return forms


def _given(references: Mapping[str, Sequence[str]]) -> Captions:
    if not references:
        raise ValueError("at least one image with references is needed to score captions")
    return _with_references({image: list(own) for image, own in references.items()}, "a reference")


def _with_references(texts: Captions, what: str) -> Captions:
    """Return the texts; raises ValueError naming the images that have none."""
    bare = [image for image, own in texts.items() if not own]
    if bare:
        raise ValueError(f"every image must have {what}; not so: {_some(bare)}")
    return texts


def _some(images: Iterable[str]) -> str:
    """Name up to five images."""
    names = sorted(images)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(repr, names[:5])) + more
