"""Checkpoints that bring code: none of it runs, whatever is answered on the terminal."""

import ast
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from workers.files.own_code import OwnCodeError
from workers.models import checkpoint_files
from workers.models.loading import identity, load_base
from workers.recipe import Model
from workers.tiny import stand_in

ROOT = Path(__file__).parents[3]
LOADED = {
    "config.json": lambda saved: (
        saved | {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    ),
    "processor_config.json": lambda saved: (
        saved | {"processor_class": "Own", "auto_map": {"AutoProcessor": "own.Own"}}
    ),
    "processor_config.json of images": lambda saved: (
        saved
        | {
            "image_processor": saved["image_processor"]
            | {"image_processor_type": "Own", "auto_map": {"AutoImageProcessor": "own.Own"}}
        }
    ),
}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that appears when code of a checkpoint runs; every question is answered by yes."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 20))
    return tmp_path / "ran"


@pytest.fixture
def copy(untrained_base: Path, tmp_path: Path, ran: Path) -> Path:
    folder = Path(shutil.copytree(untrained_base, tmp_path / "copy"))
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: pass\n")
    return folder


def rewrite(folder: Path, name: str, change: Callable[[dict], dict]) -> None:
    file = folder / name.partition(" ")[0]
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def load(folder: Path) -> object:
    return load_base(Model(base=str(folder)), "none", torch.device("cpu"))


@pytest.mark.parametrize("file", LOADED)
def test_a_checkpoint_that_needs_its_own_code_is_refused(copy: Path, ran: Path, file: str) -> None:
    rewrite(copy, file, LOADED[file])
    with pytest.raises(OwnCodeError, match=r"model\.base: .*copy.* needs Python code .*transform"):
        load(copy)
    assert not ran.exists()


def test_what_looks_at_a_checkpoint_does_not_run_its_code(copy: Path, ran: Path) -> None:
    rewrite(copy, "config.json", LOADED["config.json"])
    with pytest.raises(OwnCodeError, match=r"model\.base: "):
        checkpoint_files.from_config(copy)
    assert len(identity(Model(base=str(copy)))) == 64
    assert not ran.exists()


def test_a_stand_in_does_not_run_the_code_of_its_base(
    copy: Path, ran: Path, tmp_path: Path
) -> None:
    rewrite(copy, "processor_config.json", LOADED["processor_config.json"])
    with pytest.raises(OwnCodeError, match=r"model\.base: "):
        stand_in.make(str(copy), None, tmp_path / "stand-ins")
    assert not ran.exists()


def test_code_beside_a_checkpoint_that_transformers_knows_stays_unused(
    copy: Path, ran: Path
) -> None:
    """As in older checkpoints, whose architecture came into transformers later."""
    classes = {"AutoConfig": "own.Own", "AutoModelForImageTextToText": "own.Own"}
    rewrite(copy, "config.json", lambda saved: saved | {"auto_map": classes})
    load(copy)
    assert not ran.exists()


class Opens:
    """Unpickled, it writes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return open, (str(self.file), "w")


def test_pickled_weights_are_not_opened(copy: Path, ran: Path) -> None:
    (copy / "model.safetensors").unlink()
    torch.save({"weight": Opens(ran)}, copy / "pytorch_model.bin")
    refusal = r"model\.base: .* must be safetensors, .* a pickle .* is not opened"
    with pytest.raises(ValueError, match=refusal):
        load(copy)
    with pytest.raises(ValueError, match=refusal):
        checkpoint_files.find(str(copy), None)
    assert not ran.exists()


def loading() -> Iterator[tuple[str, ast.Call, str]]:
    """Yield the calls that load something, with the keyword that keeps code out of it."""
    for top in ("sweeps", "workers", "mlflow", "search_spaces", "benchmarks"):
        for file in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
                if called == "torch.load":
                    yield f"{file.name}:{node.lineno}", node, "weights_only"
                elif called.endswith((".from_pretrained", ".from_config")) and called.startswith(
                    ("Auto", "image_only(")
                ):
                    yield f"{file.name}:{node.lineno}", node, "trust_remote_code"


def test_no_place_leaves_it_open_whether_code_runs() -> None:
    wanted = {"weights_only": "weights_only=True", "trust_remote_code": "trust_remote_code=False"}
    found = [
        (place, {ast.unparse(each) for each in node.keywords}, wanted[keyword])
        for place, node, keyword in loading()
    ]
    assert len(found) > 10
    assert [place for place, keywords, needed in found if needed not in keywords] == []
