"""CIDEr-D equals pycocoevalcap's to the last bit, and its fixed form does not drift."""

from typing import Any

import numpy as np
import pytest
from pycocoevalcap.cider.cider import Cider

from workers.metrics import cider
from workers.metrics.cider_d import CiderD


@pytest.fixture(scope="module")
def texts(writer: Any) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    write = writer(1)
    references = {
        image: [" ".join(text.lower().split()) for text in several]
        for image, several in write.references(2000).items()
    }
    captions = write.candidates(references)
    captions |= dict.fromkeys(list(captions)[::40], "") | {"3.png": "dog dog dog dog dog dog"}
    return references, {image: [text] for image, text in captions.items()}


def test_equals_the_stock_scorer(texts: Any) -> None:
    references, candidates = texts
    corpus, images = Cider().compute_score(references, candidates)
    rows = CiderD(references, documents=references).rows(candidates)
    assert (rows[:, 0] == images).all()
    assert cider.METRIC.compute(references, candidates) == {"cider": float(corpus)}


def test_unknown_n_grams_are_not_remembered(texts: Any) -> None:
    references, candidates = texts
    scorer = CiderD(references, documents=references)
    before = len(scorer._idf)
    scorer.rows({image: ["never seen before by anyone"] for image in candidates})
    assert len(scorer._idf) == before


def test_fixed_equals_stock_on_the_whole_split(texts: Any) -> None:
    references, candidates = texts
    bound = cider.FIXED_IDF.bind(references, references)
    fixed, _ = cider.FIXED_IDF.finished(bound, bound.rows(candidates))
    stock, _ = Cider().compute_score(references, candidates)
    assert fixed == {"cider_fixed_idf": float(stock)}


def test_fixed_gives_an_image_the_same_value_in_any_subset(texts: Any) -> None:
    references, candidates = texts
    some = list(references)[:50]
    part = {image: references[image] for image in some}
    fixed = CiderD(part, documents=references).rows({image: candidates[image] for image in some})
    whole = CiderD(references, documents=references).rows(candidates)
    assert (fixed == whole[:50]).all()
    own = CiderD(part, documents=part).rows({image: candidates[image] for image in some})
    assert not np.allclose(own[:, 0], fixed[:, 0])


def test_a_single_image_has_a_value_only_with_fixed_frequencies(texts: Any) -> None:
    references, _ = texts
    one = {"1.png": references["1.png"]}
    perfect = {"1.png": references["1.png"][:1]}
    assert CiderD(one, documents=one).rows(perfect)[0, 0] == 0.0
    assert CiderD(one, documents=references).rows(perfect)[0, 0] > 1.0
