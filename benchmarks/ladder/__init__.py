"""The ladder: one list of trials, trained by what people would write instead, and by sweeps.

- B0: Ray Tune, OptunaSearch, Hugging Face Trainer with peft, pycocoevalcap, Ray's MLflow callback,
  each as its own documentation shows it; a process per trial.
- B0m: B0 with METEOR's Java process kept from epoch to epoch.
- B1: the same search with every optimization of a single trial that this project knows.
- B2: B1 with the best number of processes per device; on a GPU also under NVIDIA's MPS.
- B3: B1 with torch.compile.
- P: `sweeps run`.

    python -m benchmarks.ladder run --rungs B0,B1,P --repeat 3 --trials 16

Each rung is a process of its own that is timed from its start. B0 to B3 import nothing of `sweeps`
or `workers`; images, captions and the base model lie in a folder before the clock runs.
"""
