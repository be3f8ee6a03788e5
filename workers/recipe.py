"""The recipe: the complete typed description of one fine-tuning.

A recipe is a frozen value without behaviour. This module imports neither torch nor any
plug-in, so the driver can read and check a sweep file in milliseconds.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Task = Literal["captioning", "vqa"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]

QUESTION = "{question}"
"""Stands in ``prompt.text`` for the question of the sample."""


class Section(BaseModel):
    """Base of every section of the sweep file: frozen, typed strictly, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Model(Section):
    """The base model."""

    base: str = Field(min_length=1)
    """Folder of a saved checkpoint or its address, name on the model hub, or a built-in base such
    as ``tiny:shapes``."""
    revision: str | None = None
    """Commit of the hub repository; null takes the newest."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the frozen base; auto is bfloat16 on a GPU, float16 on one without bfloat16, and
    float32 on a CPU."""
    attn_implementation: (
        Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"] | None
    ) = None
    """Kernel of the attention, as transformers calls it; null is transformers' choice."""
    unquantized_modules: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    """Modules that a quantization leaves alone, as `workers.quantizations.unquantized` reads the
    names; null is those that the checkpoint's config names. The head is left alone in any case."""
    min_pixels: Count | None = None
    """Fewest pixels of a resized image; null is the processor's own limit."""
    max_pixels: Count | None = None
    """The most, see `workers.models.resolution`."""

    @property
    def shared(self) -> "Model":
        """What trials of all resolutions have in common: the model without limits of pixels."""
        return self.model_copy(update={"min_pixels": None, "max_pixels": None})


class Split(Section):
    """Division of the images: shares (0.8), or names that the source defines (train.txt).

    Beside names for train and test, a share for validation takes it from train's images.
    """

    train: Fraction | str = 0.8
    validation: Fraction | str = 0.1
    test: Fraction | str = 0.1

    @property
    def named(self) -> bool:
        """Whether train and test are names; otherwise all parts are shares."""
        return isinstance(self.train, str)

    @model_validator(mode="after")
    def _one_kind(self) -> "Split":
        parts = (self.train, self.validation, self.test)
        shares = [part for part in parts if not isinstance(part, str)]
        if isinstance(self.train, str) != isinstance(self.test, str) or len(shares) == 2:
            raise ValueError("either three shares or three files that list image names")
        if sum(shares) > 1.0 + 1e-9:
            raise ValueError(f"shares that add up to at most 1, these add up to {sum(shares):g}")
        if shares and not (self.train and self.validation):
            raise ValueError("a train and a validation share above 0")
        if shares and self.named and sum(shares) >= 1.0:
            raise ValueError("a validation share below 1, for the rest stays with train")
        return self


class Columns(Section):
    """Names of a table's columns; null takes the first usual name that is there."""

    image: str | None = None
    """File name or link of the image, or the image itself in a Hugging Face data set."""
    caption: str | None = None
    """Caption, or the answer to the question."""
    question: str | None = None
    """Null: there are no questions."""
    id: str | None = None
    """Identifier of a row in written predictions; null takes what the source defines."""


class Data(Section):
    """The images and captions."""

    source: str
    """Name of a data source, see `workers.data`."""
    path: str | None = None
    """Folder, file or hub name, as the source defines it."""
    revision: str | None = None
    """Commit, tag or branch of a data set on the hub; null takes the newest."""
    images: str | None = None
    """Folder of the images, absolute or relative to that of `path`; null looks in the usual
    places beside the captions."""
    columns: Columns = Columns()
    allow_private_links: bool = False
    """Whether images may be fetched from addresses that are not public (loopback, 10.0.0.0/8
    and the like), which a data set of strangers could abuse to reach inner services."""
    allow_redirected_links: bool = False
    """Whether a link may redirect to another address, which is then checked like the first."""
    limit: Count | None = None
    """Use at most this many images (sampled with `seed`); null uses all."""
    split: Split | None = None
    """Null keeps the division that comes with the data set, where the source knows one, and
    otherwise takes shares of 0.8, 0.1 and 0.1."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the split and of `limit`; the same for all trials of a sweep."""
    on_bad_sample: Literal["error", "skip"] = "error"
    """Treatment of unreadable images, missing captions and the like; never silent."""


class PromptText(Section):
    """The prompt about each image; null is the default of its family."""

    system: str | None = None
    """System prompt, for models with a chat template."""
    text: str | None = None
    """Instruction; ``{question}`` is replaced by the question of the sample (task ``vqa``)."""


class Train(Section):
    """Optimization by AdamW."""

    epochs: Count = 15
    """Passes over the training split; a rung ends with each epoch."""
    batch_size: Count = 2
    """Examples (image-caption pairs) in one forward pass."""
    accumulate: Count = 1
    """Forward passes per optimizer step."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 5e-5
    vision_learning_rate: Annotated[float, Field(gt=0.0)] | None = None
    """That of adapters in the image encoder, with the same warm-up and decay; null is
    `learning_rate`. What belongs to which part: `workers.models.parts`."""
    projector_learning_rate: Annotated[float, Field(gt=0.0)] | None = None
    """The same between image encoder and language model."""
    lora_plus_ratio: Annotated[float, Field(gt=0.0)] = 1.0
    """Learning rate of B by that of A (LoRA+, Hayou et al. 2024)."""
    warmup: Fraction = 0.05
    """Share of all optimizer steps during which the learning rate rises from 0."""
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """The same as a number of optimizer steps; null takes the share."""
    decay: Literal["constant", "linear", "cosine"] = "linear"
    """Fall of the learning rate to 0 after the warm-up; constant has none."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0.0)] | None = 1.0
    """Largest L2 norm of the gradient over all adapter weights; null does not clip."""
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of each target that is spread over the whole vocabulary; for the training loss only."""
    activation_checkpointing: bool = False
    """Keep few activations and compute the others again: less memory, more time, same result."""
    patience: Count | None = None
    """End a trial after this many rungs without a better objective; null trains all epochs."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the adapter's first weights, of the data order and of dropout."""


_COCO_METRICS = ("bleu", "meteor", "rouge_l", "cider")
_REWRITING = ("pissa", "olora", "loftq", "corda", "lora_ga")
_INITS = "default, gaussian, orthogonal or mica"


class Adapter(Section):
    """Low-rank adaptation (LoRA, Hu et al. 2021): W + alpha / rank * B A."""

    variant: Literal["lora", "rslora", "dora"] = "lora"
    """rslora scales by alpha / sqrt(rank) (Kalajdzievski 2023); dora learns the length of each
    column of W besides (Liu et al. 2024)."""
    init: Literal["default", "gaussian", "orthogonal", "mica"] = "default"
    """First weights of A and B, as peft calls them; B A is 0 in each, up to rounding. orthogonal
    has no zeros in B and needs an even rank. mica (arXiv 2604.01694) takes for B the directions in
    which W does least, and trains A alone."""
    rank: Count = 16
    alpha: Annotated[float, Field(gt=0.0)] = 32.0
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    targets: str = "text_all"
    """Name of a target set of the model family, see `workers.families`, or ``re:`` and a regular
    expression over full paths of linear layers."""
    compute_dtype: Literal["auto", "float32", "tf32", "bfloat16"] = "auto"
    """Precision in which a pack multiplies with A and B; they are stored in float32, and sums are
    made in it. auto is float32 on a CPU, and on a GPU that of the base; tf32 is float32 rounded to
    10 bits by a GPU's matrix units."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Biases of the base that are trained: none, all, or those of the adapted layers."""
    trained_modules: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Full paths of modules of the base of which the adapter trains a whole copy."""

    @field_validator("init", mode="before")
    @classmethod
    def _leaves_the_base_alone(cls, value: Any) -> Any:
        if str(value).startswith(_REWRITING):
            raise ValueError(
                f"{_INITS}: {value} rewrites the weights of the base, which trials share"
            )
        if value == "eva":
            raise ValueError(f"{_INITS}: eva reads the data before a trial has its first weights")
        if value is False:
            raise ValueError(f"{_INITS}: random weights in both A and B change what the base says")
        return value


class Evaluate(Section):
    """Scoring of generated captions at each rung."""

    metrics: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = _COCO_METRICS
    """Names of metrics, see `workers.metrics`."""
    batch_size: Count | None = None
    """Images in one batch of generation or of validation loss, on a GPU at most; null is 16, and on
    a GPU as many at once as its memory has room for their captions."""
    limit: Count | None = None
    """Score at most this many validation images; the same ones for all trials and rungs."""
    final_limit: Count | None = None
    """The same for the last scoring of a finished trial; null scores the whole split."""
    from_rung: Count = 1
    """First rung whose captions are written and scored; before it there is validation loss only.
    The last of all epochs always has captions."""
    beams: Count = 1
    """Beams at each rung; 1 is greedy."""
    final_beams: Count = 3
    """Beams for the last scoring of a finished trial's best adapter."""
    max_new_tokens: Count = 40

    @property
    def usual_batch(self) -> int:
        """Images in one batch where no GPU's memory decides."""
        return self.batch_size or 16


Threshold = Annotated[float, Field(gt=0.0, le=1.0)]


class Guard(Section):
    """Thresholds of a collapsed trial (`workers.evaluation.collapse`), and whether it is stopped.

    A threshold of null does not look for its symptom.
    """

    stop: bool = True
    """Stop a collapsed trial as failed-by-guard; false only names the symptoms."""
    same_caption: Threshold | None = 0.9
    """Share of the images that got one and the same caption, which none of their references is."""
    repetition: Threshold | None = 0.5
    """Share of a caption's 4-grams that are repeats, beyond that of its references: mean."""
    empty: Threshold | None = 0.5
    """Share of the images that got an empty caption, though none of their references is empty."""
    rungs: Count = 2
    """Rungs with symptoms in a row after which the trial is stopped: a first epoch at a low rate
    may still write as the base does. A loss that is no finite number stops it at once."""


class Recipe(Section):
    """One fine-tuning: everything that determines its result."""

    task: Task = "captioning"
    model: Model
    data: Data
    prompt: PromptText = PromptText()
    train: Train = Train()
    adapter: Adapter = Adapter()
    quantization: str = "none"
    """Name of a quantization of the base, see `workers.quantizations`."""
    evaluate: Evaluate = Evaluate()
    guard: Guard = Guard()

    def with_point(self, point: Mapping[str, Any]) -> "Recipe":
        """Return this recipe with the dotted fields of `point` replaced.

        Raises `pydantic.ValidationError` when a field does not exist or a value does not fit.
        """
        values = self.model_dump(include=set(Recipe.model_fields))
        for path, value in point.items():
            *sections, field = path.split(".")
            inner = values
            for section in sections:
                inner = inner.setdefault(section, {})
                if not isinstance(inner, dict):
                    raise KeyError(f"{path}: {section} is a value, not a section")
            inner[field] = value
        return Recipe.model_validate(values)
