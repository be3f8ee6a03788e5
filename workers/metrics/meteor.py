"""METEOR 1.5 (Denkowski and Lavie 2014) for English, by the jar that pycocoevalcap ships.

Its corpus value is not the mean over the images. Starting the jar and scoring 1000 captions take
about one CPU-second each, so the Java process stays alive as long as its scorer.

Of a caption or reference the first 1000 words count. The jar's memory grows with the square of
their number, and its heap of 2 GiB would end with a caption of 20,000 words that goes on for ever.
"""

from workers.metrics.java.meteor_formula import STATISTICS, pool, summable
from workers.metrics.metric import Array, Bound, Captions, Metric
from workers.metrics.rows import table

_WORDS = 1000


def _bind(references: Captions, whole: Captions) -> Bound:
    # here, because the catalog must stay light
    from workers.metrics.java.meteor_jvm import Jvm, MeteorServer
    from workers.metrics.java.paraphrases import table_for

    server = MeteorServer(table_for(text for captions in references.values() for text in captions))
    expected = {image: [_cut(text) for text in texts] for image, texts in references.items()}

    def rows(candidates: Captions) -> Array:
        """Return the jar's statistics of each image, and behind them its score."""
        asked = [(expected[image], _cut(caption)) for image, (caption,) in candidates.items()]

        def ask(jvm: Jvm) -> Array:
            answers = jvm.score(asked)
            scores = jvm.evaluate(answers)[:-1]
            pairs = zip(answers, scores, strict=True)
            return table([*summable(answer), score] for answer, score in pairs)

        return server.do(ask)

    def finish(statistics: Array) -> tuple[dict[str, float], dict[str, Array]]:
        """Return the jar's own scores: that of the corpus is the one of the summed statistics."""
        totals = statistics[:, :STATISTICS].sum(axis=0).tolist()
        corpus = server.do(lambda jvm: jvm.evaluate([" ".join(map(str, totals))]))[-1]
        return {"meteor": corpus}, {"meteor": statistics[:, STATISTICS]}

    return Bound(rows=rows, finish=finish, session=server.session)


def _cut(text: str) -> str:
    words = text.split(" ", _WORDS)
    return text if len(words) <= _WORDS else " ".join(words[:_WORDS])


METRIC = Metric(name="meteor", outputs=("meteor",), bind=_bind, pool=pool)
