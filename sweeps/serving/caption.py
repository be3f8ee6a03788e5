"""``sweeps caption``: captions of image files at the terminal."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps.names import printable
from sweeps.promotion.adapters import open_adapter
from sweeps.spec.problems import complain
from workers.data.images import ImageError
from workers.families.prompts import Asking
from workers.inference.caption_requests import RequestError
from workers.inference.captioner import BATCH, Captioner, Prepared
from workers.inference.predict import Adapted


@dataclass(frozen=True, kw_only=True)
class CaptionResult:
    """What is said of one file: its caption, or why it has none."""

    path: Path
    caption: str | None = None
    error: str | None = None

    def values(self) -> dict[str, str]:
        """Return it as JSON has it."""
        said = {"caption": self.caption} if self.error is None else {"error": self.error}
        return {"path": str(self.path), **{key: str(value) for key, value in said.items()}}


def caption_files(
    paths: Sequence[Path], source: str, results: Path, question: str | None, as_json: bool
) -> bool:
    """Print a caption of each image, and say on stderr which have none; return whether all have.

    `source` is what `sweeps.promotion.adapters.open_adapter` takes. Raises ValueError and
    OSError, before anything is written, for a model that cannot be loaded or asked so.
    """
    captioner = load(source, results)
    lines: list[CaptionResult] = []
    for line in captioned(captioner, paths, question):
        lines.append(line)
        if line.error is not None:
            complain(f"error: {line.error}")
        elif not as_json:
            print(printable(f"{line.path}\t{line.caption}"), flush=True)
    if as_json:
        print(json.dumps([line.values() for line in lines], ensure_ascii=False, indent=2))
    return all(line.error is None for line in lines)


def load(source: str, results: Path) -> Captioner:
    """Return the captioner that `source` names; raises ValueError or OSError."""
    with open_adapter(source, results) as found:
        recipe = found.recipe
        adapted = Adapted.load(recipe.model, recipe.quantization, found.path)
    return Captioner.of(
        adapted,
        Asking(task=recipe.task, prompt=recipe.prompt),
        beams=recipe.evaluate.final_beams,
        max_new_tokens=recipe.evaluate.max_new_tokens,
    )


def captioned(
    captioner: Captioner, paths: Sequence[Path], question: str | None
) -> Iterator[CaptionResult]:
    """Yield a line per image, in order, writing `BATCH` images at a time.

    Raises ValueError for a question to a model that takes none, or the reverse.
    """
    captioner.check_question(question, "--question")
    for start in range(0, len(paths), BATCH):
        some = paths[start : start + BATCH]
        yield from _written(
            captioner, [(path, _prepared(captioner, path, question)) for path in some]
        )


def _prepared(captioner: Captioner, path: Path, question: str | None) -> Prepared | str:
    """Return the image as the model takes it, or why it cannot be read."""
    try:
        return captioner.prepare_file(path, question)
    except (ImageError, RequestError) as error:
        return str(error)


def _written(
    captioner: Captioner, ready: Sequence[tuple[Path, Prepared | str]]
) -> Iterator[CaptionResult]:
    images = [one for _, one in ready if isinstance(one, Prepared)]
    written = iter(captioner.write_all(images))
    for path, one in ready:
        if isinstance(one, str):
            yield CaptionResult(path=path, error=one)
        else:
            yield CaptionResult(path=path, caption=next(written))
