"""Captions are scored once, and not kept for ever."""

from workers.metrics.metric import Array, Bound, Captions, Metric, ratio, table
from workers.metrics.scorer import StatisticsCache


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


def _cache(*counted: Counted) -> StatisticsCache:
    return StatisticsCache({each.metric: each.metric.bind({}, {}) for each in counted})


def _texts(**texts: str) -> dict[str, Captions]:
    return {"text": {image: [text] for image, text in texts.items()}}


def test_only_new_captions_are_scored_and_all_are_returned_in_order() -> None:
    one, two = Counted(), Counted(reads="tokens")
    all_of_both = _cache(one, two)
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
    cached_tokens = _cache(tokens)
    for form in ("no.", "no"):
        cached_tokens.statistics({"text": {"a": ["no."]}, "tokens": {"a": [form]}})
    assert tokens.asked == [{"a": "no."}, {"a": "no"}]


def test_the_same_caption_of_another_image_is_another_one() -> None:
    counted = Counted()
    _cache(counted).statistics(_texts(a="x", b="x"))
    assert counted.asked == [{"a": "x", "b": "x"}]


def test_metrics_of_all_captions_together_are_not_cache() -> None:
    together = Counted(alone=False)
    none = _cache(together)
    none.statistics(_texts(a="x"))
    none.statistics(_texts(a="x"))
    assert together.asked == [{"a": "x"}, {"a": "x"}]


def test_the_longest_unused_are_forgotten(monkeypatch) -> None:
    monkeypatch.setattr("workers.metrics.scorer._KEPT", 3)
    counted = Counted()
    few = _cache(counted)
    for text in ("1", "2", "3", "1", "4", "1", "2"):
        few.statistics(_texts(a=text))
    assert [asked["a"] for asked in counted.asked] == ["1", "2", "3", "4", "2"]
    assert len(few._rows) == 3


def test_a_round_of_more_captions_than_are_kept_is_scored(monkeypatch) -> None:
    monkeypatch.setattr("workers.metrics.scorer._KEPT", 1)
    found = _cache(Counted()).statistics(_texts(a="x", b="yy", c="zzz"))
    assert found["text True"][:, 0].tolist() == [1, 2, 3]
