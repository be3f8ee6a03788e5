"""Sweep files by path and by name, and what they name on this machine."""

import pytest

from sweeps.spec.load import SpecError, located, parse, read, ready_text, recipes


def test_a_file_comes_before_a_recipe_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read("quickstart", ()).name == "quickstart"
    (tmp_path / "quickstart").write_text(ready_text("quickstart").replace("quickstart", "mine"))
    assert read("quickstart", ()).name == "mine"


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(FileNotFoundError, match=r"there are .*quickstart.*did you mean quickstart"):
        read("quickstrat", ())
    with pytest.raises(FileNotFoundError, match=r"no file mine/sweep\.yaml"):
        read("mine/sweep.yaml", ())


def test_every_recipe_is_without_problems():
    for name in recipes():
        assert read(name, ("search.trials=3",)).search.trials == 3
    with pytest.raises(SpecError):
        read("quickstart", ("search.trials=none",))


def test_paths_on_this_machine_become_absolute_and_hub_names_stay(tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    text = "name: x\nmodel: {base: %s}\ndata: {source: folder, path: %s}\n"
    here = located(parse(text % ("images", "./images")))
    assert here.model.base == here.data.path == str(tmp_path / "images")
    hub = located(parse(text % ("microsoft/git-base", "reach-vb/pokemon")))
    assert (hub.model.base, hub.data.path) == ("microsoft/git-base", "reach-vb/pokemon")
    assert located(hub) == hub
