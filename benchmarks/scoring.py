"""Scoring measured against the stock scorers: `python -m benchmarks.scoring --help`."""

import random
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import rounds as kept_over_rounds
from benchmarks import stock, texts
from benchmarks.tables import corpus_difference, image_difference, largest, print_table
from benchmarks.usage import measured, peak_memory
from workers.metrics import bootstrap, catalog
from workers.metrics.coco_caption import COCO
from workers.metrics.scorer import Scored, Scorer

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
Images = Annotated[int, typer.Option(help="How many; 5 references each.")]
Folder = Annotated[Path | None, typer.Option(help="Folder of Flickr8k's text; else made up.")]
SEED = 0


@app.command()
def rounds(
    images: Images = 1000,
    count: Annotated[int, typer.Option(help="Rounds that score all images.")] = 5,
    share: Annotated[float, typer.Option(help="Captions that change from one to the next.")] = 0.25,
    flickr8k: Folder = None,
) -> None:
    """Compare CPU, time, memory and values, round by round."""
    stock.prepare()
    draw = random.Random(SEED)
    kept_over_rounds.show(kept_over_rounds.play(_references(images, flickr8k), count, share, draw))


@app.command()
def resamples(images: Images = 1000, count: int = 10_000, flickr8k: Folder = None) -> None:
    """Measure the paired bootstrap between two sets of captions, all COCO metrics."""
    references = _references(images, flickr8k)
    draw = random.Random(SEED)
    scorer = Scorer(COCO, references)
    one, other = (scorer.score(texts.guesses(references, draw)) for _ in range(2))
    scorer.close()
    pools = {name: catalog.get(name).pool for name in COCO}
    with peak_memory() as grown, measured() as usage:
        bootstrap.paired(one, other, pools, resamples=count)
    row = [str(images), str(count), f"{usage.wall:.2f}", f"{usage.cpu:.2f}", f"{grown[0]:.0f}"]
    print_table(["images", "resamples", "wall s", "CPU s", "MiB"], [row])


@app.command()
def clients(images: Images = 1000, flickr8k: Folder = None) -> None:
    """Let two clients score different captions at once, and compare with one after the other."""
    references = _references(images, flickr8k)
    draw = random.Random(SEED)
    sets = [texts.guesses(references, draw) for _ in range(2)]
    alone = [_alone(references, candidates) for candidates in sets]
    shared, own = Scorer(COCO, references), Scorer(COCO, references)
    rows = []
    for name, scorers in {"one scorer": (shared, shared), "a scorer each": (shared, own)}.items():
        pairs = list(zip(_at_once(scorers, sets), alone, strict=True))
        corpus = max(corpus_difference(*pair) for pair in pairs)
        each = max(image_difference(*pair) for pair in pairs)
        rows.append([name, f"{corpus:g}", f"{each:g}"])
    shared.close()
    own.close()
    print_table(["two at once, through", "corpus difference", "per image"], rows)


@app.command()
def human(flickr8k: Annotated[Path, typer.Option(help="Folder of Flickr8k's text.")]) -> None:
    """Score caption 0 of each of Flickr8k's test images against the other four, both ways."""
    stock.prepare()
    captions = texts.flickr8k(flickr8k)
    references = {image: several[1:] for image, several in captions.items()}
    candidates = {image: several[0] for image, several in captions.items()}
    scored, expected = _alone(references, candidates), stock.score(references, candidates)
    rows = [
        [output, f"{value:.6f}", f"{expected.corpus[output]:.6f}",
         f"{abs(value - expected.corpus[output]):g}",
         f"{largest(scored.images[output], expected.images[output]):g}"]
        for output, value in scored.corpus.items()
    ]  # fmt: skip
    print_table(["output", "here", "stock", "difference", "largest per image"], rows)


def _references(images: int, folder: Path | None) -> dict[str, list[str]]:
    """Return made-up captions, or Flickr8k's: of test images up to 1000, else of train images."""
    if folder is None:
        return texts.made(images, SEED)
    found = texts.flickr8k(folder, "test" if images <= 1000 else "train")
    if len(found) < images:
        raise typer.BadParameter(f"--images must be at most {len(found)} with that text")
    return dict(list(found.items())[:images])


def _alone(references: Mapping[str, Sequence[str]], candidates: Mapping[str, str]) -> Scored:
    scorer = Scorer(COCO, references)
    scored = scorer.score(candidates)
    scorer.close()
    return scored


def _at_once(scorers: Sequence[Scorer], sets: Sequence[Mapping[str, str]]) -> list[Scored]:
    """Return what threads get that score at the same time, one scorer and one set each."""
    found: dict[int, Scored] = {}
    start = threading.Barrier(len(sets))

    def client(number: int) -> None:
        start.wait()
        found[number] = scorers[number].score(sets[number])

    threads = [threading.Thread(target=client, args=(number,)) for number in range(len(sets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(len(sets))]


if __name__ == "__main__":
    app()
