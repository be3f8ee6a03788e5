"""A registry with versions of a captioner, and real servers of them."""

import base64
import http.client
import io
import json
import threading
from contextlib import contextmanager

import pytest
import torch
from PIL import Image

from sweeps.promotion import registry
from sweeps.serving import server
from sweeps.serving.answers import Answers
from sweeps.serving.batcher import Batcher
from sweeps.serving.served import Keeper, Registered
from sweeps.tracking.client import Tracking
from sweeps.tracking.sweep_run import SweepRun
from tests.sweeps.published import PublishedTrial
from workers.evaluation.generation import generate
from workers.families.prompts import PromptBuilder
from workers.models.adapters import AdaptedBase
from workers.models.loading import load_base
from workers.recipe import Recipe

NAME = "shapes-captioner"
COLORS = ("red", "green", "blue", "white", "orange", "purple", "black", "yellow")


def picture(color="red", size=(40, 30)):
    return Image.new("RGB", size, color)


def encoded(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return base64.b64encode(file.getvalue()).decode()


class Shop:
    """A store with registered versions, and what each of them says of a picture."""

    def __init__(self, root, base):
        self.results = root
        self.tracking = Tracking(uri=None, experiment="shapes", root=root)
        self.base = base
        self._captioners = {}
        sweep = SweepRun.open(self.tracking, "shapes-1", "name: shapes\n", {})
        self.run = PublishedTrial.open(sweep, "trial-000", "trial-000", params={}, tags={})
        self.run.best({"val/cider": 1.5}, 3)

    def recipe(self, **point):
        return Recipe.model_validate(
            {
                "model": {"base": str(self.base)},
                "data": {"source": "shapes"},
                "evaluate": {"final_beams": 2, "max_new_tokens": 6},
            }
        ).with_point(point)

    def register(self, name, seed, **point):
        """Register an adapter with weights drawn by `seed`; return its version."""
        recipe = self.recipe(**point)
        base = load_base(recipe.model, recipe.quantization, torch.device("cpu"))
        adapted = AdaptedBase(base)
        adapted.attach("trial", recipe.adapter, seed=1)
        with torch.no_grad():
            for parameter in adapted.parameters("trial"):
                parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(seed))
        folder = self.results / f"{name}-{seed}"
        adapted.save("trial", folder, recipe.model.base)
        number = registry.register(self.tracking, self.run.run_id, folder, recipe, name, tags={})
        self._captioners[name, str(number)] = adapted, recipe
        return str(number)

    def alias(self, name, number, alias="champion"):
        self.tracking.client().set_registered_model_alias(name, alias, number)

    def says(self, name, number, images, tokens=6, question=None):
        """What the version writes when the images are given to `generate`, all at once."""
        adapted, recipe = self._captioners[name, number]
        base, prompts = adapted.base, PromptBuilder(task=recipe.task, prompt=recipe.prompt)
        return generate(
            base, adapted.model.eval(), [base.family.encode(base, image) for image in images],
            [prompts.build(base.family, question, "image")] * len(images),
            beams=2, max_new_tokens=tokens,
        )  # fmt: skip


@pytest.fixture(scope="session")
def shop(untrained_base, tmp_path_factory):
    """Versions 1 to 3 of `NAME`: two adapters on one base, and one on it as int8."""
    made = Shop(tmp_path_factory.mktemp("shop"), untrained_base)
    made.register(NAME, 1)
    made.register(NAME, 2, **{"adapter.rank": 4})
    made.register(NAME, 3, quantization="int8")
    made.alias(NAME, "1")
    return made


@pytest.fixture(autouse=True)
def embedded_store(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


class Client:
    """Asks a server at a port."""

    def __init__(self, port):
        self.port = port

    def send(self, method, path, body=None, headers=None):
        """Return status, headers and text of one answer; an object in JSON is decoded."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        return answer.status, answer.headers, json.loads(text) if text[:1] == "{" else text

    def ask(self, *requests):
        """Return status and decoded answer of one call."""
        return self.post(json.dumps({"inputs": list(requests)}))

    def post(self, body, kind="application/json"):
        status, _, said = self.send("POST", "/invocations", body, {"Content-Type": kind})
        return status, said

    def model(self):
        return self.send("GET", "/model")[2]


@contextmanager
def serving(shop, name=NAME, images=None):
    """Give a client of a real server in a thread, and its keeper."""
    batcher = Batcher()
    model = Registered(name=name, alias="champion", results=shop.results, images=images)
    keeper = Keeper(model, batcher)
    answers = Answers(keeper)
    keeper.follow()
    listening = server.listen("127.0.0.1", 0)
    http_server = server.CaptionServer(answers, "127.0.0.1")
    thread = threading.Thread(target=http_server.run, kwargs={"sockets": [listening]})
    thread.start()
    client = Client(listening.getsockname()[1])
    client.batcher, client.server = batcher, http_server
    try:
        yield client, keeper
    finally:
        http_server.should_exit = True
        thread.join()
        keeper.close()
        answers.close()
        batcher.close()


@contextmanager
def busy(batcher):
    """Keep a batcher from writing anything meanwhile."""
    begun, free = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: batcher.run(lambda: begun.set() or free.wait(30)))
    thread.start()
    begun.wait(30)
    try:
        yield
    finally:
        free.set()
        thread.join()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of images that may be named by path, beside a file that may not."""
    root = tmp_path_factory.mktemp("allowed")
    (root / "images" / "sub").mkdir(parents=True)
    picture("blue").save(root / "images" / "sub" / "blue.png")
    picture("red").save(root / "secret.png")
    (root / "images" / "link.png").symlink_to(root / "secret.png")
    (root / "images" / "linked").symlink_to(root)
    return root / "images"


@pytest.fixture(scope="module")
def served(shop, images):
    """Client and keeper of a server of version 1."""
    shop.alias(NAME, "1")
    with serving(shop, images=images) as running:
        yield running


@pytest.fixture
def client(served):
    return served[0]
