"""``sweeps caption``: captions of image files at the terminal."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sweeps.names import printable
from sweeps.promotion.adapters import open_adapter
from sweeps.spec.problems import complain
from workers.data.images import ImageError
from workers.families.prompts import PromptBuilder
from workers.inference.caption_requests import RequestError
from workers.inference.captioner import BATCH, Captioner, Prepared
from workers.inference.predict import Adapted


@dataclass(frozen=True, kw_only=True)
class CaptionResult:
    """The caption of one file, or why it has none."""

    path: Path
    caption: str | None = None
    error: str | None = None


def caption_files(
    paths: Sequence[Path], source: str, results: Path, question: str | None, as_json: bool
) -> bool:
    """Print a caption of each image, on stderr the errors; return whether all have a caption.

    `source` is what `sweeps.promotion.adapters.open_adapter` takes. Raises ValueError and
    OSError, before anything is written, for a model that cannot be loaded or takes no question.
    """
    captioner = load(source, results)
    found: list[CaptionResult] = []
    for each in captioned(captioner, paths, question):
        found.append(each)
        if each.error is not None:
            complain(f"error: {each.error}")
        elif not as_json:
            print(printable(f"{each.path}\t{each.caption}"), flush=True)
    if as_json:
        rows = [{k: str(v) for k, v in asdict(each).items() if v is not None} for each in found]
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    return all(each.error is None for each in found)


def load(source: str, results: Path) -> Captioner:
    """Return the captioner that `source` names; raises ValueError or OSError."""
    with open_adapter(source, results) as found:
        recipe = found.recipe
        adapted = Adapted.load(recipe.model, recipe.quantization, found.path)
    prompts, settings = PromptBuilder(task=recipe.task, prompt=recipe.prompt), recipe.evaluate
    beams, most = settings.final_beams, settings.max_new_tokens
    return Captioner.of(adapted, prompts, beams=beams, max_new_tokens=most)


def captioned(
    captioner: Captioner, paths: Sequence[Path], question: str | None
) -> Iterator[CaptionResult]:
    """Yield a result per image, in order, writing `BATCH` images at a time.

    Raises ValueError for a question to a model that takes none, or the reverse.
    """
    captioner.check_question(question, "--question")
    for start in range(0, len(paths), BATCH):
        batch: list[tuple[Path, Prepared | str]] = []
        for path in paths[start : start + BATCH]:
            try:
                batch.append((path, captioner.prepare_file(path, question)))
            except (ImageError, RequestError) as error:
                batch.append((path, str(error)))
        images = [one for _, one in batch if isinstance(one, Prepared)]
        written = iter(captioner.write_all(images))
        for path, one in batch:
            if isinstance(one, str):
                yield CaptionResult(path=path, error=one)
            else:
                yield CaptionResult(path=path, caption=next(written))
