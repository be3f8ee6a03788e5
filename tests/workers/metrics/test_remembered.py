"""Captions are scored once, and not remembered for ever."""

from workers.metrics import remembered
from workers.metrics.metric import Array, Bound, Captions, Metric
from workers.metrics.remembered import Remembered
from workers.metrics.rows import ratio, table


class Counted:
    """A metric of the length of texts that notes what it is asked to score."""

    def __init__(self, alone: bool = True, reads: str = "text") -> None:
        self.asked: list[dict[str, str]] = []
        self.metric = Metric(
            name=f"{reads} {alone}", outputs=("length",), bind=self._bind, pool=ratio("length"),
            alone=alone, reads=reads,
        )  # fmt: skip

    def _bind(self, references: Captions, whole: Captions) -> Bound:
        return Bound(rows=self._rows)

    def _rows(self, candidates: Captions) -> Array:
        self.asked.append({image: text for image, (text,) in candidates.items()})
        return table((len(text), 1.0) for (text,) in candidates.values())


def _remembered(*counted: Counted) -> Remembered:
    return Remembered({each.metric: each.metric.bind({}, {}) for each in counted})


def _texts(**texts: str) -> dict[str, Captions]:
    return {"text": {image: [text] for image, text in texts.items()}}


def test_only_new_captions_are_scored_and_all_are_returned_in_order() -> None:
    one, two = Counted(), Counted(reads="tokens")
    all_of_both = _remembered(one, two)
    first = {"text": {"a": ["x"], "b": ["yy"]}, "tokens": {"a": ["x"], "b": ["y"]}}
    second = {"text": {"a": ["x"], "b": ["zzz"]}, "tokens": {"a": ["x"], "b": ["zz"]}}
    all_of_both.statistics(first)
    found = all_of_both.statistics(second)
    assert one.asked == [{"a": "x", "b": "yy"}, {"b": "zzz"}]
    assert two.asked == [{"a": "x", "b": "y"}, {"b": "zz"}]
    assert found["text True"].tolist() == [[1, 1], [3, 1]]
    assert found["tokens True"].tolist() == [[1, 1], [2, 1]]
    assert all_of_both.statistics(first)["text True"].tolist() == [[1, 1], [2, 1]]
    assert len(one.asked) == 2


def test_tokens_that_changed_with_the_line_below_are_another_caption() -> None:
    tokens = Counted(reads="tokens")
    remembered_tokens = _remembered(tokens)
    for form in ("no.", "no"):
        remembered_tokens.statistics({"text": {"a": ["no."]}, "tokens": {"a": [form]}})
    assert tokens.asked == [{"a": "no."}, {"a": "no"}]


def test_the_same_caption_of_another_image_is_another_one() -> None:
    counted = Counted()
    _remembered(counted).statistics(_texts(a="x", b="x"))
    assert counted.asked == [{"a": "x", "b": "x"}]


def test_metrics_of_all_captions_together_are_not_remembered() -> None:
    together = Counted(alone=False)
    none = _remembered(together)
    none.statistics(_texts(a="x"))
    none.statistics(_texts(a="x"))
    assert together.asked == [{"a": "x"}, {"a": "x"}]


def test_the_longest_unused_are_forgotten(monkeypatch) -> None:
    monkeypatch.setattr(remembered, "_KEPT", 3)
    counted = Counted()
    few = _remembered(counted)
    for text in ("1", "2", "3", "1", "4", "1", "2"):
        few.statistics(_texts(a=text))
    assert [asked["a"] for asked in counted.asked] == ["1", "2", "3", "4", "2"]
    assert len(few._memo._rows) == 3


def test_a_round_of_more_captions_than_are_kept_is_scored(monkeypatch) -> None:
    monkeypatch.setattr(remembered, "_KEPT", 1)
    found = _remembered(Counted()).statistics(_texts(a="x", b="yy", c="zzz"))
    assert found["text True"][:, 0].tolist() == [1, 2, 3]
