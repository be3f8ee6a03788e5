"""The metric as users of `evaluate` take it: by file or by class, whole or in batches."""

import gc
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import psutil
import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from workers.metrics import coco_caption
from workers.metrics.coco_caption import CocoCaption
from workers.metrics.java.runtime import java
from workers.metrics.scorer import Scorer

WORDS = (
    *("a", "the", "two", "dog", "dogs", "cat", "runs", "running", "sits", "on", "in"),
    *("park", "street", "big", "bigger", "red", "man's"),
)
IMAGES = 24
LIGHT = ("bleu", "exact_match")
"""Metrics without METEOR's Java."""


def _sentence(draw: random.Random) -> str:
    return " ".join(draw.choices(WORDS, k=draw.randint(3, 12))).capitalize() + "."


def _rows() -> tuple[list[str], list[list[str]]]:
    draw = random.Random(0)
    references = [[_sentence(draw) for _ in range(draw.randint(1, 5))] for _ in range(IMAGES)]
    predictions = [_sentence(draw) for _ in references]
    predictions[::3] = [several[-1].rstrip(".") for several in references[::3]]
    return predictions, references


PREDICTIONS, REFERENCES = _rows()
ROWS = {"predictions": PREDICTIONS, "references": REFERENCES}


@pytest.fixture(scope="module")
def metric() -> CocoCaption:
    return CocoCaption(keep_in_memory=True)


def light(**options: Any) -> CocoCaption:
    return CocoCaption(keep_in_memory=True, metrics=LIGHT, **options)


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, float]]:
    """The values by pycocoevalcap's own classes, tokenizer included."""
    monkeypatch.setenv("PATH", str(java().parent), prepend=os.pathsep)
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=en -Duser.country=US")

    def tokens(captions: list[list[str]]) -> Any:
        items = {n: [{"caption": text} for text in several] for n, several in enumerate(captions)}
        return PTBTokenizer().tokenize(items)

    truths, captions = tokens(REFERENCES), tokens([[text] for text in PREDICTIONS])
    bleu, _ = Bleu(4).compute_score(truths, captions, verbose=0)
    values = dict(zip(("bleu_1", "bleu_2", "bleu_3", "bleu_4"), bleu, strict=True))
    for name, scorer in {"meteor": Meteor(), "rouge_l": Rouge(), "cider": Cider()}.items():
        values[name], _ = scorer.compute_score(truths, captions)
    return values


def test_equals_the_stock_scorers(metric: CocoCaption, stock: dict[str, float]) -> None:
    assert metric.compute(**ROWS) == stock


def test_equals_the_scorer_also_per_image(metric: CocoCaption) -> None:
    scorer = Scorer(coco_caption.COCO, dict(zip(map(str, range(IMAGES)), REFERENCES, strict=True)))
    scored = scorer.score(dict(zip(map(str, range(IMAGES)), PREDICTIONS, strict=True)))
    scorer.close()
    found = metric.compute(**ROWS, per_image=True)
    per_image = found.pop("per_image")
    assert found == scored.corpus
    assert per_image == {name: values.tolist() for name, values in scored.images.items()}


def test_is_loaded_from_its_file_and_fed_in_batches(metric: CocoCaption, tmp_path: Path) -> None:
    file = str(Path(coco_caption.__file__))
    loaded = evaluate.load(file, cache_dir=str(tmp_path), keep_in_memory=True)
    assert type(loaded).__module__.startswith("evaluate_modules.")
    loaded.add_batch(predictions=PREDICTIONS[:20], references=REFERENCES[:20])
    for caption, truths in zip(PREDICTIONS[20:], REFERENCES[20:], strict=True):
        loaded.add(prediction=caption, reference=truths)
    assert loaded.compute() == metric.compute(**ROWS)


def test_metrics_can_be_chosen(tmp_path: Path) -> None:
    file = str(Path(coco_caption.__file__))
    loaded = evaluate.load(file, cache_dir=str(tmp_path), metrics=LIGHT)
    found = loaded.compute(**ROWS)
    assert list(found) == ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "exact_match"]
    with pytest.raises(ValueError, match=r"a metric must be one of .*; got 'spice'"):
        CocoCaption(metrics=["spice"])


def test_combines_with_other_metrics() -> None:
    combined = evaluate.combine([light(), light()])
    found = combined.compute(**ROWS)
    assert found["coco_caption_0_bleu_4"] == light().compute(**ROWS)["bleu_4"]


def test_padding_counts_once_and_the_order_of_rows_does_not_matter() -> None:
    expected = light(image_ids=True).compute(**ROWS, image_ids=range(IMAGES))
    metric = light(image_ids=True)
    for shard in (range(1, IMAGES, 2), [*range(0, IMAGES, 2), 1, 3]):  # the last two are padding
        metric.add_batch(
            predictions=[PREDICTIONS[n] for n in shard],
            references=[REFERENCES[n] for n in shard],
            image_ids=np.array(shard),
        )
    found = metric.compute(per_image=True)
    per_image = found.pop("per_image")
    assert found == expected
    assert per_image["image_ids"] == sorted(map(str, range(IMAGES)))
    assert len(per_image["bleu_4"]) == IMAGES


@pytest.mark.slow
def test_two_processes_give_one_result(tmp_path: Path) -> None:
    options = {"num_process": 2, "experiment_id": "two", "cache_dir": str(tmp_path)}
    arguments = f"metrics={LIGHT}, image_ids=True, process_id=1, **{options}"
    code = f"""
from workers.metrics.coco_caption import CocoCaption
metric = CocoCaption({arguments})
metric.add_batch(predictions={PREDICTIONS[1::2]}, references={REFERENCES[1::2]},
                 image_ids={[*range(1, IMAGES, 2)]})
assert metric.compute() is None
"""
    first = CocoCaption(metrics=LIGHT, image_ids=True, process_id=0, **options)
    with subprocess.Popen([sys.executable, "-c", code]) as other:
        first.add_batch(
            predictions=PREDICTIONS[::2], references=REFERENCES[::2],
            image_ids=range(0, IMAGES, 2),
        )  # fmt: skip
        found = first.compute()
    assert other.returncode == 0
    assert found == light(image_ids=True).compute(**ROWS, image_ids=range(IMAGES))


def test_the_same_references_are_tokenized_once() -> None:
    metric = light()
    first = metric.compute(**ROWS)
    scorer = metric._scorer
    assert metric.compute(**ROWS) == first
    assert metric._scorer is scorer
    swapped = metric.compute(predictions=PREDICTIONS, references=REFERENCES[::-1])
    assert metric._scorer is not scorer
    assert swapped != first


def _javas() -> set[int]:
    return {child.pid for child in psutil.Process().children() if child.name() == "java"}


def test_java_is_held_between_computes_and_ends_with_the_object() -> None:
    gc.collect()  # metrics of other tests, and their Java
    before = _javas()
    metric = CocoCaption(keep_in_memory=True, metrics=["meteor"])
    metric.compute(**ROWS)
    (held,) = _javas() - before
    metric.compute(predictions=PREDICTIONS[::-1], references=REFERENCES)
    assert _javas() - before == {held}
    metric.compute(predictions=["a dog"], references=[["a cat"]])
    assert len(_javas() - before) == 1
    del metric
    gc.collect()
    assert _javas() == before


@pytest.mark.slow
def test_java_ends_with_the_interpreter() -> None:
    code = """
import psutil
from workers.metrics.coco_caption import CocoCaption
metric = CocoCaption(keep_in_memory=True, metrics=["meteor"])
metric.compute(predictions=["a dog"], references=[["a dog"]])
print(*(child.pid for child in psutil.Process().children()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pids = [int(pid) for pid in done.stdout.split()]
    assert pids
    assert not any(map(psutil.pid_exists, pids))


@pytest.mark.parametrize(
    ("predictions", "references", "said"),
    [
        (["a", "b"], [["a"], []], r"at least one text; row 1 of the batch has \[\]"),
        (["a", None], [["a"], ["b"]], "predictions must be texts; row 1 of the batch has None"),
        (["a"], [None], "at least one text; row 0 of the batch has None"),
        (["a"], [["b", None]], r"at least one text; row 0 of the batch has \['b', None\]"),
        (["a"], ["one string"], "at least one text; row 0 of the batch has 'one string'"),
        (["a", "b"], [["a"]], r"same length; got {'predictions': 2, 'references': 1}"),
        (["a"], None, r"same length; got {'predictions': 1}"),
        ([], [], "at least one image"),
    ],
)
def test_the_row_that_is_wrong_is_named(predictions: Any, references: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        light().compute(predictions=predictions, references=references)


def test_ids_that_are_wrong_are_named() -> None:
    metric = light(image_ids=True)
    with pytest.raises(ValueError, match="'image_ids': 0"):
        metric.add_batch(predictions=["a"], references=[["a"]])
    with pytest.raises(ValueError, match="row 0 of the batch, image None, is neither"):
        metric.add(prediction="a", reference=["a"], image_ids=None)
    with pytest.raises(ValueError, match="row 0 of the batch, image '7', has None"):
        metric.add(prediction=None, reference=["a"], image_ids=7)
    with pytest.raises(ValueError, match="'7' comes with different references"):
        metric.compute(predictions=["a", "a"], references=[["a"], ["b"]], image_ids=[7, 7])
