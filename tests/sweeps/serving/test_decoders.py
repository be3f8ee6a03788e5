"""Decoding in processes that can be ended, and whose turn it is."""

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from sweeps.serving import decoders
from sweeps.serving.decoders import AT_WORK, CHEAP, Decoders
from workers.data.images import open_rgb
from workers.inference.caption_requests import RequestError

from .conftest import encoded, picture

DEAR = 2 * CHEAP


def body(*images, **fields):
    return json.dumps({"inputs": [{"image": image, **fields} for image in images]}).encode()


@asynccontextmanager
async def started(folder=None):
    with ThreadPoolExecutor(2) as threads:
        made = Decoders(folder, threads, 2)
        try:
            yield made
        finally:
            made.close()


def test_images_are_those_that_this_process_would_decode(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (1100, 1300, 4), dtype=np.uint8)
    images = [Image.fromarray(noise), picture("navy", (1, 3)), picture("red").convert("P")]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
    call = [{"path": f"{number}.png", "max_new_tokens": 9} for number in range(3)]

    async def decoded():
        async with started(tmp_path) as made, made.turn(0, 0) as turn:
            opened = turn.decoder.open(json.dumps({"inputs": call}).encode())
            assert opened.pixels == [image.width * image.height for image in images]
            assert [one.max_new_tokens for one in opened.requests] == [9, 9, 9]
            for limit in ("CHEAP", "FEW"):
                with monkeypatch.context() as patch:
                    patch.setattr(decoders, limit, 2)
                    assert turn.decoder.open(json.dumps({"inputs": call}).encode()).images == []
            return [*opened.images, *(turn.decoder.image(number) for number in (2, 0, 1))]

    for number, image in zip((0, 1, 2, 2, 0, 1), asyncio.run(decoded()), strict=True):
        assert image.tobytes() == open_rgb(tmp_path / f"{number}.png").tobytes()


def test_refusals_are_sentences_and_the_process_lives_on():
    async def run():
        async with started() as made, made.turn(0, 0) as turn:
            with pytest.raises(RequestError, match="must be JSON such as"):
                turn.decoder.open(b"[" * 100_000)
            broken = encoded(picture("red", (400, 300)))[:400]
            with pytest.raises(RequestError, match=r"inputs\[0\].image: cannot be decoded"):
                turn.decoder.open(body(broken, encoded(picture())))
            assert turn.decoder.open(body(encoded(picture()))).images[0].size == (40, 30)

    asyncio.run(run())


def test_memory_is_limited():
    code = "from sweeps.serving import decoder; decoder.MEMORY = 150_000_000; decoder.main()"
    call = body(encoded(Image.new("1", (7000, 7000))))
    orders = b'{"open": %d, "cheap": 0, "few": 0}\n%s{"decode": 0}\n' % (len(call), call)
    done = subprocess.run([sys.executable, "-c", code], input=orders, stdout=subprocess.PIPE)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said[0]["pixels"] == [49_000_000]
    assert said[1]["refused"] == "inputs[0].image: cannot be decoded: it takes too much memory"


def test_it_gets_no_secret_and_no_torch(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "planted")

    async def run():
        async with started() as made, made.turn(0, 0) as turn:
            turn.decoder.open(body(encoded(picture())))
            process = f"/proc/{turn.decoder.pid}"
            with open(f"{process}/environ") as environ, open(f"{process}/maps") as maps:
                assert "planted" not in environ.read()
                assert "torch" not in maps.read()

    asyncio.run(run())


@pytest.mark.parametrize("way", ["crash", "patience"])
def test_a_process_that_fails_is_replaced(monkeypatch, way):
    monkeypatch.setattr(decoders, "PATIENCE", 0.2 if way == "patience" else 60)
    reason = {"crash": "the decoder failed on it", "patience": "took over 0 seconds"}[way]

    async def run():
        async with started() as made:
            async with made.turn(0, 0) as turn:
                first = turn.decoder.pid
                os.kill(first, signal.SIGKILL if way == "crash" else signal.SIGSTOP)
                with pytest.raises(RequestError, match=rf"the image .*{reason}"):
                    await turn.do(partial(turn.decoder.open, body(encoded(picture()))), "the image")
            monkeypatch.setattr(decoders, "PATIENCE", 60)
            async with made.turn(0, 0) as turn:
                opened = await turn.do(partial(turn.decoder.open, body(encoded(picture()))), "it")
                assert turn.decoder.pid != first
                assert opened.pixels == [1200]

    asyncio.run(run())


def test_a_process_that_nobody_waits_for_is_ended():
    async def run():
        async with started() as made:
            async with made.turn(0, 0) as turn:
                os.kill(turn.decoder.pid, signal.SIGSTOP)
                job = asyncio.create_task(turn.do(partial(turn.decoder.open, b"{}"), "it"))
                await asyncio.sleep(0)
                job.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await job
                assert turn.decoder.ended
            free = threading.Event()
            async with made.turn(0, 0) as turn:  # one that ends by itself is kept
                job = asyncio.create_task(turn.do(lambda: free.wait(30), "it"))
                await asyncio.sleep(0)
                job.cancel()
                free.set()
                with pytest.raises(asyncio.CancelledError):
                    await job
                assert not turn.decoder.ended

    asyncio.run(run())


def test_cheap_calls_pass_and_large_ones_take_turns():
    order = []

    async def one(made, name, cost, largest):
        async with made.turn(cost, largest):
            order.append(name)
            await asyncio.sleep(0)

    async def run():
        async with started() as made:
            async with made.turn(AT_WORK, AT_WORK):
                calls = [("larger", 3 * DEAR), ("large", DEAR), ("large 2", DEAR), ("cheap", 1)]
                tasks = [asyncio.create_task(one(made, name, cost, cost)) for name, cost in calls]
                left = asyncio.create_task(one(made, "left", DEAR, DEAR))
                await asyncio.sleep(0.05)
                assert order == ["cheap"]
                left.cancel()
            await asyncio.gather(*tasks)

    asyncio.run(run())
    assert order == ["cheap", "large", "large 2", "larger"]


def test_one_that_leaves_as_its_turn_comes_takes_nothing_along():
    async def hold(made, cost, until):
        async with made.turn(cost, cost):
            await until.wait()

    async def run():
        async with started() as made:
            for cost in (1, AT_WORK):
                release = asyncio.Event()
                holders = [asyncio.create_task(hold(made, each, release)) for each in (cost, 1)]
                await asyncio.sleep(0)
                left = asyncio.create_task(hold(made, cost, release))
                await asyncio.sleep(0)
                release.set()
                left.cancel()
                done = await asyncio.gather(*holders, left, return_exceptions=True)
                assert [type(each) for each in done] == [
                    type(None), type(None), asyncio.CancelledError,
                ]  # fmt: skip
            async with asyncio.timeout(5), made.turn(AT_WORK, AT_WORK), made.turn(1, 1):
                pass

    asyncio.run(run())


def test_a_process_that_cannot_be_replaced_keeps_its_place(monkeypatch):
    def none(*_):
        raise RuntimeError("can't start new thread")

    async def run():
        async with started() as made:
            async with made.turn(AT_WORK, AT_WORK) as turn, asyncio.timeout(5):
                turn.decoder.end()
                monkeypatch.setattr(made, "_threads", SimpleNamespace(submit=none))
            async with asyncio.timeout(5), made.turn(AT_WORK, AT_WORK), made.turn(1, 1):
                pass

    asyncio.run(run())


def test_an_unknown_error_ends_the_process_whose_pipe_may_hold_more():
    def fails(free):
        free.wait(30)
        raise MemoryError

    async def run():
        async with started() as made:
            free = threading.Event()
            free.set()
            async with made.turn(0, 0) as turn:
                with pytest.raises(MemoryError):
                    await turn.do(partial(fails, free), "it")
                assert turn.decoder.ended
            free.clear()
            async with made.turn(0, 0) as turn:  # also when its call has just left
                job = asyncio.create_task(turn.do(partial(fails, free), "it"))
                await asyncio.sleep(0)
                job.cancel()
                free.set()
                with pytest.raises(asyncio.CancelledError):
                    await job
                assert turn.decoder.ended

    asyncio.run(run())


def test_a_process_is_ended_also_when_its_call_is_cancelled_twice(monkeypatch):
    monkeypatch.setattr(decoders, "GRACE", 60)

    async def run():
        async with started() as made, made.turn(0, 0) as turn:
            os.kill(turn.decoder.pid, signal.SIGSTOP)
            job = asyncio.create_task(turn.do(partial(turn.decoder.open, b"{}"), "it"))
            for _ in range(2):
                await asyncio.sleep(0.01)
                job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job
            assert turn.decoder.ended

    asyncio.run(run())


def test_a_call_that_left_logs_no_error(caplog):
    async def run():
        async with started() as made, made.turn(0, 0) as turn:
            os.kill(turn.decoder.pid, signal.SIGSTOP)
            job = asyncio.create_task(turn.do(partial(turn.decoder.open, b"{}"), "it"))
            await asyncio.sleep(0)
            job.cancel()
            with pytest.raises(asyncio.CancelledError):
                await job
            del job
            gc.collect()

    asyncio.run(run())
    gc.collect()
    assert caplog.messages == []
