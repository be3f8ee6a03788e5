"""One trial of B0: Hugging Face Trainer, peft, and scores at the end of each epoch."""

import time
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from ray import tune
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BitsAndBytesConfig,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from benchmarks.ladder import samples
from benchmarks.ladder.job import Job
from benchmarks.ladder.scorers import Stock
from workers.data.images import FORMATS

IGNORED = -100


def train(config: dict[str, Any], job: Job, started: float) -> None:
    """Train one point for all its epochs; the process began at `started` of `perf_counter`."""
    torch.set_num_threads(job.threads)
    set_seed(job.seed)
    processor = AutoProcessor.from_pretrained(job.base, trust_remote_code=False)
    model = get_peft_model(load(job, config["quantization"]), lora_config(job, config))
    validation = samples.read(job.data, "validation")
    trainer = Trainer(
        model=model,
        args=_arguments(job, config),
        train_dataset=samples.pairs(samples.read(job.data, "train")),
        eval_dataset=samples.pairs(validation),
        data_collator=Collate(processor),
        callbacks=[ScoreCaptions(job, processor, validation, started)],
    )
    trainer.train()


def load(job: Job, quantization: str) -> Any:
    """Return the frozen base in the precision that is usual on its device."""
    dtype = torch.bfloat16 if job.gpus else torch.float32
    stored = {
        "none": None,
        "int8": BitsAndBytesConfig(load_in_8bit=True),
        "nf4": BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        ),
    }  # fmt: skip
    model = AutoModelForImageTextToText.from_pretrained(
        job.base, dtype=dtype, quantization_config=stored[quantization],
        device_map={"": "cuda:0" if job.gpus else "cpu"}, trust_remote_code=False,
    )  # fmt: skip
    for module in model.modules():  # else bitsandbytes repacks 4-bit weights when captions are
        if hasattr(module, "support_avx512bf16_for_cpu"):  # written, and training then fails
            module.support_avx512bf16_for_cpu = False
    return model


def lora_config(job: Job, config: dict[str, Any]) -> LoraConfig:
    """Return peft's configuration of a point."""
    return LoraConfig(
        r=config["adapter.rank"],
        lora_alpha=config["adapter.alpha"],
        lora_dropout=job.dropout,
        target_modules=job.targets,
    )


def _arguments(job: Job, config: dict[str, Any]) -> TrainingArguments:
    return TrainingArguments(
        output_dir="trainer",
        num_train_epochs=job.epochs,
        per_device_train_batch_size=job.batch_size,
        per_device_eval_batch_size=job.evaluation_batch,
        learning_rate=config["train.learning_rate"],
        lr_scheduler_type="linear",
        warmup_steps=job.warmup,
        bf16=bool(job.gpus),
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="epoch",
        prediction_loss_only=True,
        remove_unused_columns=False,
        label_names=["labels"],
        report_to="none",
        use_cpu=not job.gpus,
        disable_tqdm=True,
        seed=job.seed,
    )


class Collate:
    """Decodes and prepares the images of a batch; loss is on the caption and its end alone."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __call__(self, rows: list[dict[str, str]]) -> dict[str, torch.Tensor]:
        batch = self._processor(
            images=[Image.open(row["image"], formats=FORMATS).convert("RGB") for row in rows],
            text=[row["text"] for row in rows],
            padding=True,
            return_tensors="pt",
        )
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
        return {**batch, "labels": labels}


class ScoreCaptions(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """After each evaluation: captions of the validation images, their scores, a report to Tune."""

    def __init__(
        self, job: Job, processor: Any, images: list[samples.Image], started: float
    ) -> None:
        self._job, self._processor, self._images = job, processor, images
        references = {image.name: image.captions for image in images}
        self._scorer = Stock(references, keep_meteor=job.keep_meteor)
        self._best, self._loss = float("-inf"), float("nan")
        self._started, self._epoch_began = started, 0.0
        self._seconds: dict[str, float] = {}

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        if not self._epoch_began:
            self._seconds["seconds_start"] = time.perf_counter() - self._started
        self._epoch_began = time.perf_counter()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self._seconds["seconds_training"] = time.perf_counter() - self._epoch_began

    def on_log(self, args: Any, state: Any, control: Any, logs: Any, **_: Any) -> None:
        self._loss = logs.get("loss", self._loss)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, model: Any, metrics: dict[str, float], **_: Any
    ) -> None:
        began = time.perf_counter()
        captions = self._captions(model)
        written = time.perf_counter()
        scores = self._scorer.score(captions)
        self._seconds |= {
            "seconds_loss": metrics["eval_runtime"],
            "seconds_generation": written - began,
            "seconds_scoring": time.perf_counter() - written,
        }
        if scores["cider"] > self._best:
            self._best = scores["cider"]
            model.save_pretrained("best")  # in the trial's folder, which Tune made the current one
        loss = {"val_loss": metrics["eval_loss"], "train_loss": self._loss}
        tune.report({**scores, **loss, **self._seconds})

    def _captions(self, model: Any) -> dict[str, str]:
        model.eval()
        found: dict[str, str] = {}
        size = self._job.evaluation_batch
        for start in range(0, len(self._images), size):
            images = self._images[start : start + size]
            opened = [Image.open(image.path, formats=FORMATS).convert("RGB") for image in images]
            inputs = self._processor(images=opened, return_tensors="pt").to(model.device)
            with torch.inference_mode():
                ids = model.generate(
                    **inputs, max_new_tokens=self._job.max_new_tokens, do_sample=False
                )
            texts = self._processor.batch_decode(ids, skip_special_tokens=True)
            found |= {i.name: text.strip() for i, text in zip(images, texts, strict=True)}
        return found
