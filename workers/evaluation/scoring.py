"""Scoring of a host's trials: images, references and scorers.

Needs neither torch nor a base, whose imports and loading take seconds: a scorer that is made
before them has its Java running when the first captions arrive.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from workers import data
from workers.data.sample import DataError, DataSet, Sample
from workers.metrics import catalog
from workers.metrics.java.tokenizer import tokenize_each
from workers.metrics.scorer import Scorer
from workers.recipe import Data, Evaluate, Recipe

MakeScorer = Callable[..., Scorer]
"""Takes the arguments of `Scorer` and returns a scorer, or a stand-in: hosts of one node may share
its processes."""


class Scoring:
    """Loads on first use the data of a host's trials, and makes the scorers of their captions."""

    def __init__(self, make_scorer: MakeScorer = Scorer) -> None:
        self._make_scorer = make_scorer
        self._data: dict[tuple[Data, bool], DataSet] = {}
        self._scorers: dict[tuple[Data, Evaluate], Scorer] = {}

    def data_set(self, recipe: Recipe) -> DataSet:
        """Return the recipe's data."""
        metrics = recipe.evaluate.metrics
        key = recipe.data, any(catalog.get(name).reads == "tokens" for name in metrics)
        if key not in self._data:
            self._data[key] = with_words(data.load(recipe.data), recipe.data, metrics)
        return self._data[key]

    def keep(self, recipe: Recipe, chosen: Callable[[DataSet], DataSet]) -> None:
        """Go on with what `chosen` returns of the recipe's data.

        Scorers that were made for samples which are left out end.
        """
        before = self.data_set(recipe)
        kept = chosen(before)
        if kept is before:
            return
        self._data = {key: kept if own is before else own for key, own in self._data.items()}
        self.close()

    def scored_samples(self, recipe: Recipe) -> tuple[Sample, ...]:
        """Return the validation images that the recipe's trials are scored on."""
        return scored_samples(self.data_set(recipe).splits["validation"], recipe.evaluate.limit)

    def final(self, recipe: Recipe) -> Recipe:
        """Return the recipe by which a finished trial is scored."""
        limit = recipe.evaluate.final_limit
        evaluate = recipe.evaluate.model_copy(update={"limit": limit})
        final = recipe.model_copy(update={"evaluate": evaluate})
        # Equally many are the same ones: then one evaluator and its scorer do for both.
        same = len(self.scored_samples(final)) == len(self.scored_samples(recipe))
        return recipe if same else final

    def scorer(self, recipe: Recipe) -> Scorer:
        """Return the scorer of the recipe's captions; its Java process begins to load."""
        key = (recipe.data, recipe.evaluate)
        if key not in self._scorers:
            whole = self.data_set(recipe).splits["validation"]
            own = _references(self.scored_samples(recipe))
            scorer = self._make_scorer(recipe.evaluate.metrics, own, _references(whole))
            scorer.start()
            self._scorers[key] = scorer
        return self._scorers[key]

    def close(self) -> None:
        """Release the scorers."""
        for scorer in self._scorers.values():
            scorer.close()
        self._scorers.clear()


def with_words(data_set: DataSet, described: Data, metrics: Iterable[str]) -> DataSet:
    """Return the data without scored images that no metric of words can score.

    These are images of validation and test whose captions have letters or digits nowhere, such as
    a lone emoji, and of which the tokenizer leaves nothing. Raises `DataError`, naming them, unless
    ``data.on_bad_sample`` is skip.
    """
    if not any(catalog.get(name).reads == "tokens" for name in metrics):
        return data_set
    scored = {name: data_set.splits[name] for name in ("validation", "test")}
    doubtful = {
        sample.id: list(sample.captions)
        for samples in scored.values()
        for sample in samples
        if sample.captions and not any(map(str.isalnum, "".join(sample.captions)))
    }
    if not doubtful:
        return data_set
    (tokens,) = tokenize_each([doubtful])
    bare = {id for id, own in tokens.items() if not any(map(str.strip, own))}
    problems = [
        f"{id}: no caption with a word, which {name} needs to be scored ({doubtful[id][0]!r})"
        for name, samples in scored.items()
        for id in (sample.id for sample in samples)
        if id in bare
    ]
    if problems and described.on_bad_sample == "error":
        raise DataError.listing(str(described.path), problems)
    kept = {
        name: tuple(sample for sample in samples if sample.id not in bare)
        for name, samples in scored.items()
    }
    if not kept["validation"]:
        raise DataError(
            f"data.path {described.path}: no image of validation has a caption with a word"
        )
    splits = {**data_set.splits, **kept}
    return replace(data_set, splits=splits, problems=(*data_set.problems, *problems))


def scored_samples(samples: Sequence[Sample], limit: int | None) -> tuple[Sample, ...]:
    """Return the images that every trial and rung is scored on, in the order of the split.

    With a limit, those with the smallest hash of their id: the same for every trial, and
    none of them changes when other images come or go.
    """
    if limit is None or limit >= len(samples):
        return tuple(samples)
    by_hash = sorted(samples, key=lambda s: hashlib.sha256(s.id.encode()).hexdigest())
    kept = {sample.id for sample in by_hash[:limit]}
    return tuple(sample for sample in samples if sample.id in kept)


def digest_of_ids(ids: Iterable[str]) -> str:
    """Return the SHA-256 of image ids in their order, as 64 hexadecimal digits.

    Scores are comparable only where this is the same: they were taken on the same images.
    """
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()


def _references(samples: Sequence[Sample]) -> dict[str, tuple[str, ...]]:
    return {sample.id: sample.captions for sample in samples}
