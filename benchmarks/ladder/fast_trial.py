"""A trial of B1: a plain loop on what a process keeps for all its trials.

Kept are the base of each quantization, the output of its vision tower for every image, the tokens
of all captions, and the scorers. Only positions with a label are projected to the vocabulary, and
the optimizer steps over one flat tensor. GIT has no SDPA; bases that have it load with it.
"""

import time
from itertools import pairwise
from typing import Any

import torch
from peft import get_peft_model
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoProcessor, get_linear_schedule_with_warmup, set_seed

from benchmarks.ladder import samples
from benchmarks.ladder.flat import Flat
from benchmarks.ladder.frozen_vision import keep_features
from benchmarks.ladder.job import Job
from benchmarks.ladder.scorers import Kept
from benchmarks.ladder.stock_trial import load, lora_config

Batch = dict[str, torch.Tensor]


class Worker:
    """What the trials of one process share."""

    def __init__(self, job: Job, started: float) -> None:
        torch.set_num_threads(job.threads)
        self.job = job
        self.images = {split: samples.read(job.data, split) for split in ("train", "validation")}
        self.scorer = Kept({i.name: i.captions for i in self.images["validation"]})
        self.processor = AutoProcessor.from_pretrained(job.base, trust_remote_code=False)
        self._bases: dict[str, Any] = {}
        self._features: dict[tuple[str, str], torch.Tensor] = {}
        self.started: float | None = started

    def begin(self, config: dict[str, Any]) -> "Trial":
        """Return a new trial on the base of its quantization."""
        quantization = config["quantization"]
        if quantization not in self._bases:
            model = load(self.job, quantization)
            kept = keep_features(model, self.processor, self.images, self.job.evaluation_batch)
            self._bases[quantization] = model
            self._features |= {(quantization, split): each for split, each in kept.items()}
        features = {split: self._features[quantization, split] for split in self.images}
        return Trial(self, self._bases[quantization], features, config)


class Trial:
    """One adapter, its optimizer and schedule."""

    def __init__(
        self, worker: Worker, base: Any, features: dict[str, torch.Tensor], config: dict[str, Any]
    ) -> None:
        self._worker, self._job, self._features = worker, worker.job, features
        set_seed(self._job.seed)
        self._model = get_peft_model(base, lora_config(self._job, config))
        self._forward = torch.compile(self._model) if self._job.compiled else self._model
        self._splits = {
            split: Captions(images, worker.processor.tokenizer, base)
            for split, images in worker.images.items()
        }
        self._flat = Flat(p for p in self._model.parameters() if p.requires_grad)
        self._optimizer = torch.optim.AdamW(
            [self._flat.weights], lr=config["train.learning_rate"], weight_decay=0.0, fused=True
        )
        per_epoch = -(-len(self._splits["train"]) // self._job.batch_size)
        steps = per_epoch * self._job.epochs
        self._schedule = get_linear_schedule_with_warmup(
            self._optimizer, round(self._job.warmup * steps), steps
        )
        self.epochs = 0

    def end(self) -> None:
        """Leave the base as it was."""
        self._model.unload()

    def save(self, folder: str) -> None:
        """Write the adapter."""
        self._model.save_pretrained(folder)

    def epoch(self) -> dict[str, float]:
        """Train one epoch and return losses, scores and seconds."""
        marks = [time.perf_counter()]
        start, self._worker.started = self._worker.started, None
        train_loss = self._train()
        marks.append(time.perf_counter())
        val_loss = self._validation_loss()
        marks.append(time.perf_counter())
        captions = self._captions()
        marks.append(time.perf_counter())
        scores = self._worker.scorer.score(captions)
        marks.append(time.perf_counter())
        self.epochs += 1
        names = ("training", "loss", "generation", "scoring")
        spent = {
            f"seconds_{name}": end - begin
            for name, (begin, end) in zip(names, pairwise(marks), strict=True)
        }
        spent["seconds_start"] = marks[0] - start if start else 0.0
        return {**scores, "val_loss": val_loss, "train_loss": train_loss, **spent}

    def _train(self) -> float:
        self._model.train()
        rows, losses = self._splits["train"], []
        for chosen in torch.split(torch.randperm(len(rows)), self._job.batch_size):
            loss = self._loss(rows.batch(chosen, self._features["train"]))
            loss.backward()  # type: ignore[no-untyped-call]
            self._flat.clip(1.0)
            self._optimizer.step()
            self._schedule.step()
            self._flat.forget_gradient()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def _loss(self, batch: Batch) -> torch.Tensor:
        labels = batch.pop("labels")
        logits = self._forward(**batch, use_cache=False).logits
        return cross_entropy(logits.float(), labels)

    @torch.inference_mode()
    def _validation_loss(self) -> float:
        self._model.eval()
        rows, total = self._splits["validation"], 0.0
        for chosen in torch.split(torch.arange(len(rows)), self._job.evaluation_batch):
            batch = rows.batch(chosen, self._features["validation"])
            total += float(self._loss(batch)) * len(chosen)
        return total / len(rows)

    @torch.inference_mode()
    def _captions(self) -> dict[str, str]:
        texts: list[str] = []
        for features in torch.split(self._features["validation"], self._job.evaluation_batch):
            ids = self._model.generate(
                pixel_values=features, max_new_tokens=self._job.max_new_tokens, do_sample=False
            )
            texts += self._worker.processor.batch_decode(ids, skip_special_tokens=True)
        images = self._worker.images["validation"]
        return {i.name: text.strip() for i, text in zip(images, texts, strict=True)}


class Captions:
    """The captions of a split as tokens, each with the number of its image."""

    def __init__(self, images: list[samples.Image], tokenizer: Any, model: Any) -> None:
        texts = [text for image in images for text in image.captions]
        ids = [torch.tensor(row) for row in tokenizer(texts)["input_ids"]]
        owners = [number for number, image in enumerate(images) for _ in image.captions]
        self._owners = torch.tensor(owners, device=model.device)
        self._lengths = torch.tensor([len(row) for row in ids], device=model.device)
        self._ids = pad_sequence(ids, batch_first=True, padding_value=tokenizer.pad_token_id)
        self._ids = self._ids.to(model.device)
        self._image_tokens = model.git.encoder.layer[0].attention.self.image_patch_tokens

    def __len__(self) -> int:
        return len(self._owners)

    def batch(self, chosen: torch.Tensor, features: torch.Tensor) -> Batch:
        """Return the model's arguments, and the labels (predicted tokens,) in its order."""
        lengths = self._lengths[chosen]
        ids = self._ids[chosen, : int(lengths.max())]
        places = torch.arange(ids.shape[1], device=ids.device)
        mask = places < lengths[:, None]
        predicting = places < lengths[:, None] - 1  # each token but the last predicts the next
        image = predicting.new_zeros(len(ids), self._image_tokens)
        return {
            "input_ids": ids,
            "attention_mask": mask.long(),
            "pixel_values": features[self._owners[chosen]],
            "logits_to_keep": torch.cat((image, predicting), dim=1),
            "labels": ids[:, 1:][predicting[:, :-1]],
        }
