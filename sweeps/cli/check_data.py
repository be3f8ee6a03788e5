"""``sweeps check FILE``: the data of a sweep, and how its base reads them.

Starts nothing, and loads no weights: a base's config, tokenizer and processor are enough.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from sweeps.quiet import quiet_libraries
from sweeps.spec.sweep import Sweep
from workers import data
from workers.data.contents import Reading
from workers.data.images import ImageError
from workers.data.sample import DataError, DataSet, Sample
from workers.data.survey import Histogram, Reason, Survey, drawn, reasons
from workers.evaluation.scoring import scored_samples, with_words
from workers.files.addresses import is_address
from workers.metrics.catalog import blind_objective, too_few_images
from workers.models import checkpoint_files
from workers.recipe import Data

if TYPE_CHECKING:
    from PIL.Image import Image

    from workers.evaluation.inspection import ExamplePair, Lengths
    from workers.families.base import Base

STARTS, REFUSED = 0, 1
"""Exit codes."""
_SHOWN, _REASONS = 5, 12
_WIDTH = 40  # characters of the longest bar
_GLANCE_SECONDS, _GLANCE_BYTES = 1.0, 1_000_000
"""What a plan spends on its line about the data: seconds of images, and bytes of tables."""
ProgressOf = Callable[[str], Callable[[int, int], None]]
"""Takes a kind of step, and returns what is told how many are done, of how many."""


@dataclass(frozen=True, kw_only=True)
class DataCheck:
    """What was found."""

    sweep: str
    refusals: tuple[str, ...]
    """Why the sweep would not start, and what to do; none where it would."""
    decoded: bool
    survey: Survey | None = None
    """None for data that cannot be used at all."""
    refused: tuple[Reason, ...] = ()
    """Rows, images and samples that cannot be used, by reason; images that are in two splits are
    among the survey's overlaps."""
    remarks: tuple[str, ...] = ()
    lengths: "Lengths | None" = None
    """None where the base's small files are not here."""
    measured: int = 0
    """Samples of which `lengths` are."""
    examples: "tuple[ExamplePair, ...]" = ()

    @property
    def starts(self) -> bool:
        """Whether nothing that was found keeps the sweep from starting."""
        return not self.refusals


def check_data(sweep: Sweep, console: Console, *, decode: bool, as_json: bool) -> int:
    """Check the data of a sweep and return the exit code of the command.

    With `decode` every image is decoded, and links are followed. Raises ValueError, naming the
    field, for what is wrong with the file and not with its data.
    """
    quiet_libraries()
    with _progress(console, shown=console.is_terminal and not as_json) as progress_of:
        found = examine(sweep, progress_of, decode=decode)
    if as_json:
        print(json.dumps(_as_values(found), indent=2, ensure_ascii=False))
    else:
        for name, text in _lines(found):
            console.print(Text.assemble((f"{name:<11}", "bold"), f" {text}"), soft_wrap=True)
        verdict = "would start" if found.starts else "would be refused"
        console.print(f"{sweep.name} {verdict}", style="green" if found.starts else "red")
        for refusal in found.refusals:
            console.print(f"  {refusal}", soft_wrap=True)
    return STARTS if found.starts else REFUSED


def problems_refusal(described: Data, problems: int) -> str | None:
    """Return what a sweep says that refuses data for so many problems, None where it does not."""
    if not problems or described.on_bad_sample != "error":
        return None
    return (
        f"data: {problems:,} problem{'s' if problems > 1 else ''}, which the sweep will refuse; "
        "fix them, or leave them out with data.on_bad_sample: skip"
    )


def examine(sweep: Sweep, progress_of: ProgressOf, *, decode: bool) -> DataCheck:
    """Look at the data of a sweep, and at how its base reads them if it is here."""
    recipe = sweep.recipe
    described, metrics = recipe.data.model_copy(update={"on_bad_sample": "skip"}), recipe.evaluate
    start = partial(DataCheck, sweep=sweep.name, decoded=decode)
    notes, refusals, base = list[str](), list[str](), None
    try:
        base = _base(sweep)
        if base is None:
            notes.append(
                f"lengths are not known: {recipe.model.base} is not on this machine; of a model on "
                f"the hub, sweeps check --model {recipe.model.base} fetches the small files"
            )
    except ValueError as error:
        refusals.append(str(error))
    try:
        data_set = data.load(described, Reading(decode=decode, progress=progress_of("images")))
        data_set = with_words(data_set, described, metrics.metrics)
        if base is not None:
            from workers.encoding.fitness import fitting

            data_set = fitting(base, data_set, described)
    except DataError as error:
        refusals.append(str(error).partition("\n")[0].removesuffix(":"))
        return start(refusals=tuple(refusals), refused=reasons(error.problems))
    if refusal := problems_refusal(recipe.data, len(data_set.problems)):
        refusals.append(refusal)
    scored = len(scored_samples(data_set.splits["validation"], metrics.limit))
    objectives = [each.metric for each in sweep.search.objectives]
    if blind := blind_objective(objectives, metrics.metrics, scored):
        refusals.append(blind)
    elif few := too_few_images(metrics.metrics, scored):
        notes.append(few)
    every = [sample for own in data_set.splits.values() for sample in own]
    unseen = sum(each.digest is not None and each.size is None for each in every)
    if unseen:
        notes.append(f"images behind links are not looked at ({unseen:,}); --images fetches them")
    overlaps = {*data_set.overlaps}
    found = start(
        refusals=tuple(refusals),
        survey=Survey.of(data_set),
        refused=reasons(each for each in data_set.problems if each not in overlaps),
        remarks=(*data_set.remarks, *notes),
    )
    if base is None:
        return found
    try:
        return _with_lengths(found, sweep, base, data_set, progress_of)
    except ValueError as error:
        return replace(found, refusals=(*found.refusals, str(error)))


def glance(sweep: Sweep) -> str | None:
    """Return the counts of a sweep's data as one line.

    None where they are not on this machine, cannot be used, or take more than about a second.
    """
    place = Path(sweep.data.path or "").expanduser()
    if sweep.data.path is None or is_address(sweep.data.path) or not place.exists():
        return None
    tables = [place] if place.is_file() else [each for each in place.iterdir() if each.is_file()]
    if sum(each.stat().st_size for each in tables if each.suffix in _TABLES) > _GLANCE_BYTES:
        return None
    end = time.monotonic() + _GLANCE_SECONDS

    def stop(done: int, of: int) -> None:
        if time.monotonic() > end and done < of:
            raise TimeoutError

    described = sweep.recipe.data.model_copy(update={"on_bad_sample": "skip"})
    try:
        data_set = data.load(described, Reading(decode=False, progress=stop))
    except (ValueError, OSError):
        return None
    found, problems = Survey.of(data_set), len(data_set.problems)
    more = f"; {problems:,} problems: sweeps check lists them" if problems else ""
    images, captions = _of_splits(found, "images"), sum(o.captions for o in found.splits.values())
    return f"{images} images, {captions:,} captions{more}"


_TABLES = (".csv", ".json", ".jsonl", ".parquet", ".arrow", ".tsv", ".txt")


def _base(sweep: Sweep) -> "Base | None":
    """Return the base without weights; None where its files are not on this machine.

    Raises ValueError, naming the field, for a base that cannot be used.
    """
    folder = checkpoint_files.local_folder(sweep.model.base, sweep.model.revision)
    if folder is None:
        return None
    checkpoint_files.refuse_without_processor(sweep.model.base, sweep.model.revision)
    from workers.models import resolution
    from workers.models.loading import without_weights

    base = without_weights(folder)
    resolution.set_limits(base.processor, sweep.model)
    return base


def _with_lengths(
    found: DataCheck, sweep: Sweep, base: "Base", data_set: DataSet, progress_of: ProgressOf
) -> DataCheck:
    from PIL.Image import new

    from workers.evaluation.inspection import INSPECTED, lengths, shown_pairs
    from workers.families.prompts import PromptBuilder
    from workers.training.loop import Examples

    builder = PromptBuilder(task=sweep.task, prompt=sweep.prompt)
    looked_at = drawn([sample for name in INSPECTED for sample in data_set.splits[name]])
    measured = lengths(base, looked_at, builder, progress_of("tokens"))
    shown: list[Sample] = []
    for sample in looked_at:
        if len(shown) == _SHOWN:
            break
        try:
            image = sample.open()
        except ImageError:  # behind a link, or found broken just now
            image = new("RGB", sample.size or (640, 640), "grey")
        shown.append(replace(sample, captions=sample.captions[:1], open=partial(_same, image)))
    return replace(
        found,
        lengths=measured,
        measured=len(looked_at),
        examples=tuple(shown_pairs(base, Examples.of(base, shown, builder))),
    )


def _same(image: "Image") -> "Image":
    return image


@contextmanager
def _progress(console: Console, *, shown: bool) -> Iterator[ProgressOf]:
    """Show how far each kind of step is, while the block runs."""
    with Progress(console=console, transient=True, disable=not shown) as bars:

        def progress_of(kind: str) -> Callable[[int, int], None]:
            task = bars.add_task(kind, total=None)

            def tell(done: int, of: int) -> None:
                bars.update(task, completed=done, total=of)

            return tell

        yield progress_of


def _lines(found: DataCheck) -> Iterator[tuple[str, str]]:
    if survey := found.survey:
        yield from _counts(survey)
    count = sum(each.count for each in found.refused)
    if survey or count:
        what = "row or image" if count == 1 else "rows or images"
        yield "refused", f"{count:,} {what}" if count else "none"
    for each in found.refused[:_REASONS]:
        yield f"  {each.count:,}", each.reason
        for problem in each.first:
            yield "", f"  {problem}"
    if len(found.refused) > _REASONS:
        yield "", f"  ... and {len(found.refused) - _REASONS} more reasons; all are in --json"
    if found.survey and (sides := found.survey.sides):
        how = "decoded" if found.decoded else "by their headers; --images decodes all"
        yield "sizes", f"longer side in pixels, {how}"
        yield from _bars(sides)
    if found.lengths and found.survey:
        yield from _of_lengths(found.lengths, found.measured, found.survey)
    for remark in found.remarks:
        yield "note", remark
    for pair in found.examples:
        yield "example", pair.id
        yield "  prompt", repr(pair.prompt)[1:-1]
        yield "  target", repr(pair.target)[1:-1]
        image = f", {pair.image_tokens:,} of them of the image" if pair.image_tokens else ""
        yield (
            "  labels",
            f"-100 for {pair.prompt_tokens:,} tokens{image}; then {pair.learned_tokens:,} that are "
            "learned",
        )


def _counts(survey: Survey) -> Iterator[tuple[str, str]]:
    yield "images", _of_splits(survey, "images")
    if any(own.samples != own.images for own in survey.splits.values()):
        yield "samples", _of_splits(survey, "samples")
    yield "captions", _of_splits(survey, "captions")
    yield "overlap", _few(survey.overlaps, "image is in two splits", "images are in two splits")
    yield "copies", _few(survey.copies, "image has two names", "images have more than one name")
    if survey.repeated:
        yield (
            "repeated",
            _few(survey.repeated, "sample has a caption twice", "samples have a caption twice"),
        )


def _of_lengths(own: "Lengths", measured: int, survey: Survey) -> Iterator[tuple[str, str]]:
    samples = sum(each.samples for name, each in survey.splits.items() if name != "test")
    seen = f", of {measured:,} of {samples:,} samples" if measured < samples else ""
    for name, values, what in (
        ("prompts", own.prompts, f"tokens, with those of the image{seen}"),
        ("images", own.images, f"tokens of the image{seen}"),
        ("targets", own.targets, f"tokens, with the end of text{seen}"),
    ):
        if any(values) and (histogram := Histogram.of(values)):
            yield name, what
            yield from _bars(histogram)
    cut = f"of {measured:,} samples, cut at {own.positions:,} positions"
    names = f": {', '.join(own.truncated[:_SHOWN])}" if own.truncated else ""
    more = ", ..." if len(own.truncated) > _SHOWN else ""
    yield "truncated", f"{len(own.truncated):,} {cut}{names}{more}"


def _bars(histogram: Histogram) -> Iterator[tuple[str, str]]:
    most = max(bar.count for bar in histogram.bars)
    width = len(f"{histogram.bars[-1].most:,}")
    for bar in histogram.bars:
        blocks = "█" * -(-bar.count * _WIDTH // most)
        values = f"{bar.least:>{width},} to {bar.most:>{width},}"
        if all(each.least == each.most for each in histogram.bars):
            values = f"{bar.least:>{width},}"
        yield "", f"{values}  {bar.count:>7,}  {blocks}".rstrip()


def _few(lines: Sequence[str], one: str, several: str) -> str:
    if not lines:
        return "none"
    more = "; ..." if len(lines) > _SHOWN else ""
    shown = "; ".join(lines[:_SHOWN]) + more
    return f"{len(lines):,} {one if len(lines) == 1 else several}: {shown}"


def _of_splits(survey: Survey, field: str) -> str:
    return ", ".join(f"{getattr(own, field):,} {name}" for name, own in survey.splits.items())


def _as_values(found: DataCheck) -> Mapping[str, object]:
    """Return what is printed as JSON: the values that are shown, with all reasons."""
    values = asdict(found)
    if own := found.lengths:
        histograms = {name: Histogram.of(getattr(own, name)) for name in _LENGTHS}
        values["lengths"] |= {
            name: None if each is None else asdict(each) for name, each in histograms.items()
        }
    return {"starts": found.starts, **values}


_LENGTHS = ("prompts", "images", "targets")
