"""A process that reads untrusted calls and images: it can be ended, and has little memory.

It imports no torch. It takes calls and returns their images, see `main`; the other side is
`sweeps.serving.decoders`.
"""

import json
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from workers.inference import caption_requests
from workers.inference.caption_requests import CaptionRequest, RequestError

if TYPE_CHECKING:
    from PIL.Image import Image

MEMORY = 1_600_000_000
"""Bytes of address space: the largest image that is taken needs nine tenths of it."""
BAND = 1_000_000
"""Pixels that are sent at a time."""


def main() -> None:
    """Execute orders from stdin until it ends; each order and each answer is a line of JSON.

    ``{"open": bytes, "cheap": pixels, "few": images}``, followed by the body of a call, is answered
    with its requests without images, the pixels of each, and how many images follow: all, if they
    are no more than ``few`` and have no more than ``cheap`` pixels, else none. ``{"decode":
    number}`` is answered with one image: its size, followed by its pixels as RGB. What cannot be
    done is answered with ``{"refused": sentence}``.
    """
    with suppress(OSError, ValueError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    requests: Sequence[CaptionRequest] = ()
    for line in sys.stdin.buffer:
        order = json.loads(line)
        try:
            if "open" in order:
                requests = ()
                requests = parsed(sys.stdin.buffer.read(order["open"]))
                pixels = caption_requests.measure(requests, folder)
                fields = [one.model_dump(exclude={"image"}) for one in requests]
                cheap = len(pixels) <= order["few"] and sum(pixels) <= order["cheap"]
                wanted = range(len(pixels) if cheap else 0)
                write({"pixels": pixels, "requests": fields, "images": len(wanted)})
            else:
                wanted = range(order["decode"], order["decode"] + 1)
            for number in wanted:
                send(caption_requests.open_image(requests[number], f"inputs[{number}]", folder))
        except RequestError as error:
            write({"refused": str(error)})
        except MemoryError:
            write({"refused": "the request takes too much memory to be read; send it in parts"})
        sys.stdout.buffer.flush()


def parsed(body: bytes) -> list[CaptionRequest]:
    """Return the requests of MLflow's format ``{"inputs": [...]}``."""
    call: object = None
    with suppress(ValueError, RecursionError):  # bad UTF-8 is a ValueError, too
        call = json.loads(body)
    if not isinstance(call, dict) or set(call) != {"inputs"}:
        raise RequestError('the request must be JSON such as {"inputs": [{"image": "<base64>"}]}')
    return caption_requests.parse(call["inputs"])


def write(answer: object) -> None:
    """Write an answer."""
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")


def send(image: "Image") -> None:
    """Write an image, in parts: all at once would need its memory twice."""
    write({"size": image.size})
    rows = max(BAND // image.width, 1)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        sys.stdout.buffer.write(band.tobytes())


if __name__ == "__main__":
    main()
