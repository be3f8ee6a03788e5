"""A journal file that a crash left: Optuna's own reading of it before and after."""

import optuna
import pytest

from sweeps.results.folder import SweepFolder
from sweeps.spec.load import parse
from sweeps.study.storage import repair_storage
from sweeps.study.study import open_study, prepare_study

FILE = """
name: journal
model: {base: tiny:shapes}
data: {source: shapes}
search: {space: {adapter.rank: {choice: [2, 4, 8]}}}
"""


@pytest.fixture
def sweep():
    return parse(FILE)


@pytest.fixture
def folder(sweep, tmp_path):
    """A study of three trials."""
    made = SweepFolder.create(tmp_path, "journal")
    study, _ = prepare_study(sweep, made, resuming=False)
    for number in range(3):
        study.tell(study.ask(), number / 10)
    return made


def values(study):
    return [trial.value for trial in study.trials if trial.state.is_finished()]


@pytest.mark.parametrize("tail", ["", "\n"])
def test_a_truncated_last_line_is_removed_when_the_sweep_resumes(sweep, folder, tail):
    text = folder.study.read_text()
    folder.study.write_text(text[:-20] + tail)
    study, _ = prepare_study(sweep, folder, resuming=True)
    assert folder.study.read_text() == text[: text[:-20].rindex("\n") + 1]
    study.tell(study.ask(), 0.7)
    assert values(open_study(sweep, folder)) == [0.0, 0.1, 0.7]


def test_without_the_repair_optuna_could_not_read_the_file_again(sweep, folder):
    """What `repair_storage` is there for; if this fails, it is not needed any more."""
    folder.study.write_text(folder.study.read_text()[:-20])

    def load():
        backend = optuna.storages.journal.JournalFileBackend(str(folder.study))
        storage = optuna.storages.JournalStorage(backend)
        return optuna.load_study(study_name=folder.sweep_id, storage=storage)

    study = load()
    study.set_user_attr("more", 1)
    with pytest.raises(ValueError, match=r"Extra data|delimiter|Invalid"):
        study.set_user_attr("more", 2)


def test_a_whole_file_is_left_as_it_is(sweep, folder):
    before = folder.study.read_bytes()
    repair_storage(None, folder)
    open_study(sweep, folder)
    assert folder.study.read_bytes() == before


@pytest.mark.parametrize(
    ("damaged", "advice"),
    [
        ('{"op_code":6,"trial_i', r"delete it \(sed -i 3d\)"),
        ('{"op_code":4,"worker', "restore a copy of the file"),
        ("\0\0\0", "restore a copy of the file"),
        ('{"op_code":6,"tri{"op_code":6,"a":1}', "delete its first 17 characters"),
    ],
)
def test_a_damaged_line_is_named_with_what_to_do(sweep, folder, damaged, advice):
    lines = folder.study.read_text().splitlines()
    lines[2] = damaged
    folder.study.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=rf"study\.log:3: the line is damaged; {advice}"):
        open_study(sweep, folder)


def test_a_missing_file_is_no_damage(tmp_path):
    folder = SweepFolder.create(tmp_path, "journal")
    repair_storage(None, folder)
    assert not folder.study.exists()
