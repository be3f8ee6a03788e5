"""What may leave the working folder: by name, link and kind of file."""

import os
import re
import socket

import pytest

from sweeps.jobs import outgoing as module
from sweeps.jobs.ignoring import OWN
from sweeps.jobs.outgoing import collect_files, contents

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n"


def names(*arguments, **keywords):
    return [file.name for file in collect_files(*arguments, **keywords).files]


@pytest.fixture
def outside(folder):
    """A folder beside the working folder, with an image and a key."""
    place = folder.parent / "disk"
    place.mkdir()
    (place / "a.png").write_text("x")
    (place / "id_rsa").write_text(KEY)
    return place


def test_a_name_that_is_never_sent_is_refused_with_the_line_that_sends_it(tabled, fill):
    wanted = tabled("a.png", "shots/ID_RSA", "shots/ID_ED25519")
    fill("a.png", "shots/ID_RSA", "shots/ID_ED25519")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"data\.path: shots/ID_\w+.* not sent") as said:
            collect_files(wanted)
        line = re.search(r"a line `(.*)` in \.sweepsignore sends it", str(said.value))[1]
        with open(OWN, "a") as file:
            file.write(f"{line}\n")
    sent = collect_files(wanted)
    assert [(file.name, file.allowed and file.allowed.text) for file in sent.files] == [
        ("a.png", None), ("captions.csv", None), ("shots/ID_ED25519", "!/shots/ID_ED25519"),
        ("shots/ID_RSA", "!/shots/ID_RSA"),
    ]  # fmt: skip


def test_images_that_git_leaves_alone_are_refused_once_with_the_line_for_all(tabled, fill):
    wanted = tabled("a.raw", "b.raw")
    fill("a.raw", "b.raw")
    fill(".gitignore", text="\n*.raw\n")
    with pytest.raises(ValueError, match=r"a\.raw and 1 more .*`\*\.raw` \(\.gitignore:2\); a line "
                                         r"`!\*\.raw` in \.sweepsignore"):  # fmt: skip
        collect_files(wanted)
    fill(OWN, text="!*.raw\n")
    assert names(wanted) == ["a.raw", "b.raw", "captions.csv"]


@pytest.mark.parametrize("link", ["shots", "shots/a.png"])
def test_a_link_out_of_the_folder_is_refused_unless_asked_for(tabled, folder, outside, link):
    (folder / link).parent.mkdir(exist_ok=True)
    target = outside / ("a.png" if link.endswith("png") else "")
    (folder / link).symlink_to(target)
    wanted = tabled("shots/a.png")
    with pytest.raises(ValueError, match="--follow-links") as said:
        collect_files(wanted)
    expected = (f"data.path: shots/a.png must lie in the working folder {folder}, and the link "
                f"{link} leads to {target}; copy it here")  # fmt: skip
    assert str(said.value).startswith(expected.rstrip("/"))
    sent = collect_files(wanted, follow_links=True)
    assert [file.name for file in sent.files] == ["captions.csv", "shots/a.png"]
    assert contents(sent.files[1], sent.ignored) == b"x"


def test_a_link_has_the_name_of_its_target_too(tabled, folder, outside, fill):
    (folder / "a.png").symlink_to(outside / "id_rsa")
    with pytest.raises(ValueError, match=r"a\.png, a link to id_rsa, .*`id_rsa\*`"):
        collect_files(tabled("a.png"), follow_links=True)
    fill("keys/prod.env")
    (folder / "b.png").symlink_to("keys/prod.env")
    with pytest.raises(ValueError, match=r"b\.png, a link to keys/prod\.env, .*`!/keys/prod\.env`"):
        collect_files(tabled("b.png"))


def test_a_link_within_the_folder_is_the_file_and_a_circle_is_none(tabled, folder, fill):
    fill("shots/a.png")
    (folder / "b.png").symlink_to("shots/a.png")
    (folder / "c.png").symlink_to("c.png")
    (folder / "round").symlink_to(".")
    assert names(tabled("b.png", "round/round/shots/a.png")) == [
        "b.png", "captions.csv", "round/round/shots/a.png"
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"c\.png: no such image"):
        collect_files(tabled("c.png"))


def test_a_base_that_is_a_link_out_of_the_folder_or_a_circle_is_refused(sweep, folder, outside):
    (outside / "config.json").write_text("{}")
    (folder / "base").symlink_to(outside)
    with pytest.raises(ValueError, match=r"model\.base: base/config\.json must lie in"):
        collect_files(sweep("model.base=base"))
    assert names(sweep("model.base=base"), follow_links=True) == ["base/config.json"]
    (folder / "round").symlink_to("round")
    with pytest.raises(ValueError, match=r"model\.base: must be a folder with a saved checkpoint"):
        collect_files(sweep("model.base=round"))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: bind(path)])
def test_what_is_no_regular_file_is_refused_and_not_read(sweep, fill, make):
    fill("base/config.json")
    make("base/model.safetensors")
    with pytest.raises(ValueError, match=r"model\.base: base/model\.safetensors must be a regular"):
        collect_files(sweep("model.base=base"))


def bind(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)


@pytest.mark.parametrize("swapped", ["link", "folder link", "fifo", "longer", "gone"])
def test_a_file_that_is_swapped_after_it_was_listed_is_not_read(
    tabled, folder, outside, fill, swapped
):
    fill("shots/a.png")
    sent = collect_files(tabled("shots/a.png"))
    file = folder / "shots/a.png"
    file.unlink()
    if swapped == "link":
        file.symlink_to(outside / "a.png")
    elif swapped == "folder link":
        file.parent.rmdir()
        file.parent.symlink_to(outside)
    elif swapped == "fifo":
        os.mkfifo(file)
    elif swapped == "longer":
        file.write_text("xx")
    with pytest.raises(ValueError, match=r"data\.path: shots/a\.png (cannot|must|changed)"):
        contents(sent.files[1], sent.ignored)


def test_a_private_key_under_another_name_is_refused_unless_its_line_is_there(tabled, fill):
    wanted = tabled("a.png")
    fill("a.png", text=KEY)
    sent = collect_files(wanted)
    with pytest.raises(ValueError, match=r"a\.png holds a private key; .* a line `!/a\.png`"):
        contents(sent.files[0], sent.ignored)
    fill(OWN, text="!*.png\n!/a.png\n")
    sent = collect_files(wanted)
    assert contents(sent.files[0], sent.ignored) == KEY.encode()


def test_no_descriptor_stays_open(tabled, fill):
    fill("shots/deep/a.png")
    sent = collect_files(tabled("shots/deep/a.png"))
    before = set(os.listdir("/dev/fd"))
    for file in sent.files:
        contents(file, sent.ignored)
    with pytest.raises(OSError, match="No such file"):
        module._opened(sent.files[1].place.with_name("none"))
    assert set(os.listdir("/dev/fd")) == before
