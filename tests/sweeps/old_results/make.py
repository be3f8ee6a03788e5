"""Makes `sweep-results.tar.xz`: a sweep that the code before today's folders left half done.

It ran with commit bee1a85, in an environment in which that is what Python imports:

    mkdir /old-workplace && git archive --prefix code/ bee1a85 | tar -x -C /old-workplace
    LOGNAME=someone unshare --uts sh -c \
        'hostname somewhere; PYTHONPATH=/old-workplace/code python make.py sweep-results.tar.xz'

Of four trials, two have ended, and of the third the driver was killed with rungs on record that
wait for MLflow. The first one is the champion of a registered model.
"""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import torch
from workers.tiny_git import make_model, make_processor

PLACE = Path("/old-workplace")
MODEL = "old-captioner"
FILE = """\
name: old
model: {{base: {base}}}
data: {{source: shapes, limit: 96, split: {{train: 0.4, validation: 0.1, test: 0.5}}}}
train: {{epochs: 4, batch_size: 4}}
evaluate: {{metrics: [word_error_rate, exact_match], max_new_tokens: 6, final_beams: 1}}
guard: {{stop: false}}
search:
  space:
    adapter.rank: {{choice: [2, 4, 8]}}
    train.learning_rate: {{log_uniform: [1e-4, 1e-1]}}
  start:
    - {{adapter.rank: 2, train.learning_rate: 1e-3}}
    - {{adapter.rank: 8, train.learning_rate: 5e-3}}
    - {{adapter.rank: 4, train.learning_rate: 1e-2}}
  objective: {{metric: word_error_rate}}
  sampler: {{name: tpe, seed: 0}}
  trials: 4
schedule: {{name: fifo}}
resources: {{hosts: 1, slots: 1}}
promote: {{model: {model}}}
"""


def write_base(folder):
    """Save a GIT with random weights, rounded so that they take little space in an archive."""
    processor = make_processor()
    torch.manual_seed(0)
    model = make_model(len(processor.tokenizer))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(32).round_().div_(32)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def command(*arguments):
    """Begin a command of the CLI where all is made."""
    return subprocess.Popen(
        [sys.executable, "-c", "from sweeps.cli import main; main()", *arguments], cwd=PLACE
    )


def wait_for(done):
    """Wait until `done()` holds."""
    deadline = time.monotonic() + 300
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


def rungs(trial):
    """Return how many rungs of a trial are on record."""
    record = PLACE / f"sweep-results/old-1/trials/trial-{trial:03d}/rungs.jsonl"
    return record.read_bytes().count(b"\n") if record.exists() else 0


def pack(archive):
    """Archive base and results, without what nobody reads back, and without who made them."""
    sweep = PLACE / "sweep-results/old-1"
    shutil.rmtree(sweep / "tune", ignore_errors=True)
    for older in sorted(sweep.glob("trials/trial-002/rung-*"))[:-1]:
        shutil.rmtree(older)

    def plain(member):
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return None if member.name.endswith((".lock", "__pycache__")) else member

    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for name in ("base", "sweep-results", "captions.csv"):
            packed.add(PLACE / name, name, filter=plain)


def main(archive):
    """Run, promote, resume, kill, and archive what is left."""
    os.environ["SWEEPS_CACHE"] = str(PLACE / "cache")
    write_base(PLACE / "base")
    (PLACE / "old.yaml").write_text(FILE.format(base=PLACE / "base", model=MODEL))
    driver = command("run", "old.yaml")
    wait_for(lambda: rungs(1) == 2)
    driver.send_signal(signal.SIGINT)
    assert driver.wait() == 130
    assert command("promote", "old-1/trial-000").wait() == 0
    driver = command("resume", "old-1")
    wait_for(lambda: rungs(2) == 2)
    driver.kill()  # before its thread has sent the rung to MLflow
    driver.wait()
    assert any((PLACE / "sweep-results/old-1/spool").rglob("*"))
    captions = ("--out", "captions.csv")  # for whoever loads the version later
    assert command("predict", f"models:/{MODEL}@champion", *captions).wait() == 0
    pack(archive)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
