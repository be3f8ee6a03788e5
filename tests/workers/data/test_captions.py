from pathlib import Path

import pytest

from workers.data import captions
from workers.data.captions import CaptionRow
from workers.data.sample import DataError


def read(folder: Path, name: str, content: str | bytes) -> tuple[list[tuple[str, str]], list[str]]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    rows, problems = captions.read(path)
    return [(row.image, row.caption) for row in rows], problems


TWO = [("a.png", "a dog"), ("a.png", "a hound"), ("b.png", "a cat, asleep")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "metadata.jsonl",
            '{"file_name": "a.png", "captions": ["a dog", "a hound"]}\n'
            '{"file_name": "b.png", "text": "a cat, asleep"}\n',
        ),
        (
            "metadata.jsonl",
            '{"file_name": "a.png", "caption": ["a dog", "a hound"]}\n\n'
            '{"file_name": "b.png", "caption": "a cat, asleep", "size": 3}',
        ),
        ("captions.csv", 'image,caption\na.png,a dog\na.png,a hound\nb.png,"a cat, asleep"\n'),
        ("captions.csv", "image,caption\na.png,a dog\na.png,a hound\nb.png,a cat, asleep\n"),
        (
            "captions.csv",
            'id,Caption,Image\n1,a dog,a.png\n2,a hound,a.png\n3,"a cat, asleep",b.png',
        ),
        ("captions.txt", 'image,caption\na.png,a dog\na.png,a hound\nb.png,"a cat, asleep"\n'),
        ("captions.txt", "a.png,a dog\na.png,a hound\nb.png,a cat, asleep\n"),
        ("captions.txt", "a.png#0\ta dog\na.png#1\ta hound\nb.png#0\ta cat, asleep\n"),
    ],
)
@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
    ],
    ids=["plain", "bom", "crlf", "cr"],
)
def test_all_forms_give_the_same_rows(tmp_path: Path, name: str, content: str, written) -> None:
    assert read(tmp_path, name, written(content)) == (TWO, [])


def test_rows_know_their_lines_and_whitespace_is_reduced(tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    path.write_text('image,caption\na.png,"a  dog\non a mat"\n\n b.png ,  a cat \n')
    assert captions.read(path)[0] == [
        CaptionRow(image="a.png", caption="a dog on a mat", line=2),
        CaptionRow(image="b.png", caption="a cat", line=5),
    ]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("metadata.jsonl", '{"file_name": "a.png", "text": "x"\n', "line 1: not JSON"),
        ("metadata.jsonl", '["a.png", "x"]\n', "line 1: must be an object with file_name"),
        ("metadata.jsonl", '{"file_name": "a.png"}\n', "line 1: must be an object with file_name"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": 3}', "line 1: must be an object"),
        (
            "metadata.jsonl",
            '{"file_name": "a.png", "text": ["x", {}]}',
            "line 1: must be an object",
        ),
        ("metadata.jsonl", '{"file_name": 7, "text": "x"}', "line 1: must be an object"),
        ("metadata.jsonl", '{"text": "x"}', "line 1: caption without an image name"),
        ("captions.csv", "image,caption\na.png\n", "line 2: must have 2 columns, has 1"),
        ("captions.csv", "image,caption,n\na.png,a,b,3\n", "line 2: must have 3 columns, has 4"),
        ("captions.csv", "image,caption\n,a dog\n", "line 2: caption without an image name"),
        ("captions.txt", "a.png,a dog\nb.png\n", "line 2: must have 2 columns, has 1"),
        ("captions.txt", "a.png#0\ta dog\nb.png a cat\n", "line 2: must be written as name"),
    ],
)
def test_malformed_rows_are_named_with_their_line(
    tmp_path: Path, name: str, content: str, problem: str
) -> None:
    problems = read(tmp_path, name, content)[1]
    assert len(problems) == 1
    assert problems[0].startswith(f"{name} {problem}")


def test_a_stray_quote_costs_one_row_only(tmp_path: Path) -> None:
    content = 'image,caption\na.png,"a dog\nb.png,a cat\nc.png,a "big" cow\n'
    rows, problems = read(tmp_path, "captions.csv", content)
    assert rows == [("b.png", "a cat"), ("c.png", 'a "big" cow')]
    assert len(problems) == 1
    assert problems[0].startswith("captions.csv line 2: unbalanced quotes")


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    content = "image,caption\na.png,a café\nb.png,a cat\n".encode("latin-1")
    rows, problems = read(tmp_path, "captions.csv", content)
    assert rows == [("b.png", "a cat")]
    (problem,) = problems
    assert problem.startswith("captions.csv line 2: not UTF-8 text; in Windows-1252")
    assert "it reads 'a.png,a café'; save the file as UTF-8" in problem


def test_utf16_is_known_by_its_mark(tmp_path: Path) -> None:
    content = "image,caption\na.png,a café\n"
    assert read(tmp_path, "captions.csv", content.encode("utf-16"))[0] == [("a.png", "a café")]
    with pytest.raises(DataError, match=r"captions\.csv: must be UTF-8"):
        read(tmp_path, "captions.csv", content.encode("utf-16-le"))


@pytest.mark.parametrize("mark", [";", "\t", "|", "| "])
def test_fields_are_separated_as_the_header_is(tmp_path: Path, mark: str) -> None:
    content = f"image{mark}caption\na.png{mark}a dog, a cat\n"
    assert read(tmp_path, "captions.csv", content) == ([("a.png", "a dog, a cat")], [])


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 2 columns that are called 'caption'"):
        read(tmp_path, "captions.csv", "image,caption,caption\na.png,a,b\n")


@pytest.mark.parametrize("content", ["", "a.png,a dog\n"])
def test_a_table_needs_its_header(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match="must begin with the header image,caption"):
        read(tmp_path, "captions.csv", content)
