"""``sweeps predict``: captions or answers of a trained adapter, as a file to hand in."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console

from search_spaces.issues import show
from sweeps import names
from sweeps.promotion.adapters import TrainedAdapter, open_adapter, with_progress
from sweeps.quiet import quiet_libraries
from sweeps.results.folder import SweepFolder
from sweeps.serving import prediction_files
from sweeps.spec.load import load, override, read
from sweeps.spec.problems import refuse_any
from sweeps.spec.validation import issues_of
from sweeps.spec.yaml_file import Document
from workers.data.sample import SPLITS, DataSet, Sample
from workers.recipe import Recipe


def write_predictions(
    source: str,
    out: Path,
    console: Console,
    *,
    results: Path,
    split: str = "test",
    data: str | None = None,
    overrides: Iterable[str] = (),
) -> None:
    """Write the predictions of the adapter that `source` names for each sample of a split.

    The data are those the adapter was trained on, or those of `data`: a sweep file, a ready
    recipe or an earlier sweep. `overrides` such as ``data.path=photos`` or
    ``evaluate.final_beams=5`` come on top.

    Raises `SpecError`, ValueError and OSError for what a user can fix, before a model is
    loaded where that can be known.
    """
    if split not in SPLITS:
        raise ValueError(f"--split must be one of {', '.join(SPLITS)}; got {show(split)}")
    prediction_files.check_out(out)
    with open_adapter(source, results) as found:
        recipe = override_recipe(_recipe(found, data, results), overrides)
        samples = _samples(recipe, split, console)
        console.print(f"{found.title}: {len(samples)} samples of {split}", soft_wrap=True)
        if found.base not in (None, recipe.model.base):
            note = f"note: the adapter was trained on {found.base}, not on {recipe.model.base}"
            console.print(note, soft_wrap=True)
        quiet_libraries()  # before their first import, which is when they print
        from workers.families.prompts import PromptBuilder
        from workers.inference.predict import Adapted, predict

        adapted = Adapted.load(recipe.model, recipe.quantization, found.path)
        prompts = PromptBuilder(task=recipe.task, prompt=recipe.prompt)
        written = predict(adapted, samples, prompts, recipe.evaluate)
        predictions = list(with_progress(written, len(samples), console))
    if all(sample.captions for sample in samples):
        from workers.metrics.scorer import Scorer

        truths = {each.image_id: each.references for each in predictions}
        with closing(Scorer(recipe.evaluate.metrics, truths)) as scorer:
            scored = scorer.score({each.image_id: each.caption for each in predictions})
        scores = ", ".join(f"{name} {value:.4f}" for name, value in scored.corpus.items())
        console.print(f"scores on {split}: {scores}", soft_wrap=True)
    kept, emptied = prediction_files.by_the_rules(predictions, samples, recipe)
    prediction_files.write(out, kept, recipe)
    console.print(f"wrote {len(kept)} predictions to {out}", soft_wrap=True)
    if recipe.data.source == prediction_files.CONTEST:
        console.print(f"emptied {emptied} that broke the challenge's format rule")


def override_recipe(recipe: Recipe, assignments: Iterable[str]) -> Recipe:
    """Return the recipe with assignments such as ``data.path=photos``; raises `SpecError`."""
    values = recipe.model_dump(mode="json", include=set(Recipe.model_fields))
    document = Document("the recipe", values=values)
    override(document, assignments)
    refuse_any((*document.issues, *map(document.located, issues_of(Recipe, document.values))))
    return Recipe.model_validate(document.values)


def _recipe(found: TrainedAdapter, data: str | None, results: Path) -> Recipe:
    """Return the adapter's recipe, with the data of another one if that is named."""
    named = None
    if data:
        folder = None
        if names.is_component(data):
            folder = SweepFolder(root=results.absolute(), sweep_id=data)
        named = (load(folder.spec) if folder and folder.is_there else read(data, ())).recipe
    own = found.known_recipe
    if own and named:
        return own.model_copy(update={"data": named.data})
    recipe = own or named
    if recipe is None:
        fix = "name a sweep file that does with --data"
        raise ValueError(f"{found.title} says nothing of data, prompt and base model: {fix}")
    return recipe


def _samples(recipe: Recipe, split: str, console: Console) -> Sequence[Sample]:
    from workers.data import load as load_data

    data_set: DataSet = load_data(recipe.data)
    for problem in data_set.problems:
        console.print(f"skipped: {problem}", soft_wrap=True)
    samples = data_set.splits[split]
    if not samples:
        counts = ", ".join(f"{name} {len(part)}" for name, part in data_set.splits.items())
        raise ValueError(f"--split {split} of data.path {recipe.data.path} is empty ({counts})")
    return samples
