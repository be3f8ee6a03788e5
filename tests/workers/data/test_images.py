import ast
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import pytest
from PIL import Image, ImageFile

from workers.data.images import FORMATS, MAX_PIXELS, ImageError, open_rgb

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def half_transparent(mode: str) -> Image.Image:
    """Left pixel opaque, right pixel black under full transparency."""
    image = Image.new("RGBA", (2, 1), (*RED, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16", "I", "F", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (3, 300), (300, 3)])
def test_every_mode_and_size_becomes_rgb(mode: str, size: tuple[int, int]) -> None:
    opened = open_rgb(encoded(Image.new(mode, size), "TIFF"))
    assert (opened.mode, opened.size) == ("RGB", size)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_become_white(mode: str) -> None:
    opened = open_rgb(encoded(half_transparent(mode)))
    assert opened.getpixel((1, 0)) == WHITE
    assert opened.getpixel((0, 0)) != WHITE


def test_transparent_palette_entry_becomes_white() -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([*RED, 0, 0, 0])
    image.putpixel((1, 0), 1)
    opened = open_rgb(encoded(image, transparency=1))
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [RED, WHITE]


def test_half_transparency_is_mixed_with_white() -> None:
    opened = open_rgb(encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 128))))
    assert opened.getpixel((0, 0)) == (127, 127, 127)


def test_sixteen_bit_gray_keeps_its_middle() -> None:
    pixels = struct.pack("<3H", 0, 32768, 65535)
    image = Image.frombytes("I;16", (3, 1), pixels)
    opened = open_rgb(encoded(image))
    assert [opened.getpixel((x, 0))[0] for x in range(3)] == [0, 127, 255]


def test_cmyk_jpeg_keeps_its_colour() -> None:
    opened = open_rgb(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = opened.getpixel((4, 4))
    assert red > 200
    assert max(green, blue) < 60


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (40, 20), WHITE)
    image.paste(RED, (0, 0, 20, 20))  # left half
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise: left becomes top
    opened = open_rgb(encoded(image, "JPEG", exif=exif))
    assert opened.size == (20, 40)
    assert opened.getpixel((10, 5))[1] < 60
    assert opened.getpixel((10, 35))[1] > 200


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), WHITE)]
    opened = open_rgb(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert opened.getpixel((0, 0)) == RED


def test_path_and_bytes_give_the_same_image(tmp_path: Path) -> None:
    content = encoded(half_transparent("RGBA"))
    path = tmp_path / "a.png"
    path.write_bytes(content)
    images = [open_rgb(path), open_rgb(str(path)), open_rgb(content)]
    assert len({image.tobytes() for image in images}) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_truncated_image_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    path = tmp_path / "half.img"
    path.write_bytes(encoded(noise, kind)[:-900])
    with pytest.raises(ImageError, match=r"half\.img: "):
        open_rgb(path)


def test_text_called_png_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "letter.png"
    path.write_text("Dear Sir or Madam")
    with pytest.raises(ImageError, match=r"letter\.png: not an image of a known format"):
        open_rgb(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM" + bytes(60)])
def test_stubs_of_images_are_refused(content: bytes) -> None:
    with pytest.raises(ImageError, match=r"stub: "):
        open_rgb(content, "stub")


def test_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png: cannot be decoded: No such file"):
        open_rgb(tmp_path / "gone.png")


def claiming(width: int, height: int) -> bytes:
    """A small PNG whose header says another size."""
    content = encoded(Image.new("L", (1, 1)))
    header = b"IHDR" + struct.pack(">2I", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", crc32(header)) + content[33:]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "size"), [(10_000, "10000 x 10000"), (60_000, "600000000")])
def test_an_image_too_large_for_memory_is_refused_by_name(width: int, size: str) -> None:
    refusal = rf"bomb\.png: too large to be decoded: .*{size}.* the limit is {MAX_PIXELS} in all"
    with pytest.raises(ImageError, match=refusal):
        open_rgb(claiming(width, 10_000), "bomb.png")


@pytest.mark.parametrize("kind", [*FORMATS, "MPO"])
def test_what_people_train_on_is_opened(kind: str) -> None:
    assert open_rgb(encoded(Image.new("RGB", (16, 8), RED), kind)).size == (16, 8)


def test_an_eps_file_is_refused_by_what_it_is_and_starts_no_program(eps: SimpleNamespace) -> None:
    refusal = (
        r"cat\.jpg: not an image of a known format, but EPS .*; convert it to AVIF, .* or WEBP"
    )
    with pytest.raises(ImageError, match=refusal):
        open_rgb(eps.content, "cat.jpg")
    assert not eps.started.exists()
    with pytest.raises(OSError), Image.open(BytesIO(eps.content)) as opened:  # noqa: PT011
        opened.load()
    assert eps.started.exists()  # so does Pillow alone


@pytest.mark.parametrize("kind", ["ICNS", "ICO", "IM", "PCX", "QOI", "SGI", "TGA", "XBM"])
def test_formats_that_nobody_trains_on_are_refused(kind: str) -> None:
    image = Image.new("1" if kind == "XBM" else "RGB", (16, 16))
    with pytest.raises(ImageError, match="not an image of a known format"):
        open_rgb(encoded(image, kind), "odd.png")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"%PDF-1.7\n", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC or video"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    ],
)
def test_usual_files_that_are_no_images_are_called_by_their_names(
    content: bytes, kind: str
) -> None:
    with pytest.raises(ImageError, match=f"not an image of a known format, but {kind}; convert"):
        open_rgb(content, "cat.jpg")


def test_a_text_that_unfolds_to_gigabytes_is_refused() -> None:
    content = encoded(Image.new("L", (1, 1)))
    chunk = b"zTXt" + b"comment\0\0" + zlib.compress(bytes(100_000_000))
    bomb = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", crc32(chunk))
    with pytest.raises(ImageError, match=r"bomb\.png: cannot be decoded: .*too large"):
        open_rgb(content[:33] + bomb + content[33:], "bomb.png")


def test_cut_off_images_are_not_filled_up() -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def opening(file: Path) -> Iterator[ast.Call]:
    """Yield the calls of Pillow's `Image.open`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Image.open":
            yield node


def test_no_place_opens_every_format() -> None:
    root = Path(__file__).parents[3]
    tops = ("sweeps", "workers", "mlflow", "search_spaces", "benchmarks")
    found = {
        (file.relative_to(root), call.lineno): [keyword.arg for keyword in call.keywords]
        for top in tops
        for file in (root / top).rglob("*.py")
        for call in opening(file)
    }
    assert found
    assert [place for place, keywords in found.items() if "formats" not in keywords] == []
