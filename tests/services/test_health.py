"""The health service, asked directly and by the stock client over a real server."""

import asyncio
import shutil
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import (  # type: ignore[import-untyped] # it has no types
    health_pb2,
    health_pb2_grpc,
)

from kitfox.data import codec_of
from kitfox.errors import NotFound, Unavailable
from kitfox.models import ModelManager, ModelStore
from kitfox.modules import (
    ModuleBase,
    ModuleLoader,
    ModuleSaver,
    RequestContext,
    default_registry,
    module,
)
from kitfox.services.health import Health
from kitfox.services.protocols import ServingStatus, health_methods
from tests.conftest import Server
from tests.waiting import wait_for

SERVING, NOT_SERVING = ServingStatus.SERVING, ServingStatus.NOT_SERVING
SERVICE_UNKNOWN = ServingStatus.SERVICE_UNKNOWN
CHECK, LIST, WATCH = health_methods()
SERVICE = "example.ExampleService"


class Fox(ModuleBase):
    """A model that can do nothing but be loaded."""

    @classmethod
    def load(cls, model_path: str) -> "Fox":
        ModuleLoader(model_path)
        return cls()

    def save(self, model_path: str) -> None:
        with ModuleSaver(self, model_path):
            pass


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of models: `fox`, and `broken`, which does not load."""
    with default_registry().preserved():
        module("5b5a5e8a-0c5c-4d55-9a3c-6b2f6f0e0b11", "Fox", "1.0.0")(Fox)
        Fox().save(str(tmp_path / "fox"))
        (tmp_path / "broken").mkdir()
        yield tmp_path


@asynccontextmanager
async def health_of(folder: Path) -> AsyncIterator[tuple[Health, ModelManager]]:
    models = ModelManager(
        store=ModelStore(folder),
    )
    health = Health(models=models, services=[SERVICE])
    models.on_change(health.changed)
    try:
        yield health, models
    finally:
        models.close()


async def check(health: Health, name: str) -> ServingStatus:
    answer: Any = await health.check({"service": name}, RequestContext())
    return ServingStatus(answer.status)


async def watched(batches: AsyncGenerator[list[bytes], None]) -> ServingStatus:
    """The next answer of a watch."""
    async with asyncio.timeout(30):
        (data,) = await anext(batches)
    answer: Any = codec_of(WATCH.response).decode(data)
    return ServingStatus(answer.status)


def watch(health: Health, name: str) -> AsyncGenerator[list[bytes], None]:
    request = health_pb2.HealthCheckRequest(service=name).SerializeToString()

    async def requests() -> AsyncIterator[bytes]:
        yield request

    decode, encode = codec_of(WATCH.request).decode_fields, codec_of(WATCH.response).encode
    return health.watch(requests(), RequestContext(), decode=decode, encode=encode)


def run(scenario: Callable[[Health, ModelManager], Any], folder: Path) -> None:
    async def whole() -> None:
        async with health_of(folder) as (health, models):
            await scenario(health, models)

    asyncio.run(whole())


@pytest.mark.parametrize("name", ["", SERVICE])
def test_the_server_serves_from_the_end_of_its_start_until_it_drains(
    name: str, folder: Path
) -> None:
    async def scenario(health: Health, models: ModelManager) -> None:
        assert await check(health, name) is NOT_SERVING
        health.start()
        assert await check(health, name) is SERVING
        health.drain()
        assert await check(health, name) is NOT_SERVING
        health.start()
        assert not health.ready

    run(scenario, folder)


def test_a_model_serves_while_it_is_loaded(folder: Path) -> None:
    async def scenario(health: Health, models: ModelManager) -> None:
        assert await check(health, "fox") is NOT_SERVING
        await models.get("fox")
        assert await check(health, "fox") is SERVING
        assert await check(health, "model:fox") is SERVING
        models.unload("fox")
        assert await check(health, "model:fox") is NOT_SERVING
        await models.get("fox")
        health.drain()
        assert await check(health, "fox") is NOT_SERVING

    run(scenario, folder)


@pytest.mark.parametrize("name", ["cat", "model:cat", "model:", "../fox", "a\0b", "x" * 300])
def test_what_is_not_there_is_not_found(name: str, folder: Path) -> None:
    async def scenario(health: Health, models: ModelManager) -> None:
        with pytest.raises(NotFound, match="no service and no model"):
            await check(health, name)

    run(scenario, folder)


def test_the_list_has_everything_that_can_be_asked_for(folder: Path) -> None:
    async def scenario(health: Health, models: ModelManager) -> None:
        health.start()
        await models.get("fox")
        listed: Any = await health.list_all({}, RequestContext())
        assert {name: answer.status for name, answer in listed.statuses.items()} == {
            "": SERVING,
            SERVICE: SERVING,
            "model:fox": SERVING,
            "model:broken": NOT_SERVING,
        }

    run(scenario, folder)


def test_a_watch_tells_each_change_once(folder: Path) -> None:
    async def scenario(health: Health, models: ModelManager) -> None:
        async with aclosing(watch(health, "model:fox")) as answers:
            assert await watched(answers) is NOT_SERVING
            following = asyncio.ensure_future(watched(answers))
            for _ in range(10):  # nothing that matters to this watch
                health.changed()
                await asyncio.sleep(0)
            assert not following.done()
            await models.get("fox")
            assert await following is SERVING
            shutil.rmtree(folder / "fox")
            models.unload("fox")
            assert await watched(answers) is SERVICE_UNKNOWN

    run(scenario, folder)


def test_a_watch_begins_before_there_is_anything_of_the_name(folder: Path) -> None:
    async def scenario(health: Health, models: ModelManager) -> None:
        async with aclosing(watch(health, "late")) as answers:
            assert await watched(answers) is SERVICE_UNKNOWN
            shutil.copytree(folder / "broken", folder / "late")
            with pytest.raises(Exception, match="late"):
                await models.get("late")
            assert await watched(answers) is NOT_SERVING
            shutil.copytree(folder / "fox", folder / "late", dirs_exist_ok=True)
            await models.get("late")
            assert await watched(answers) is SERVING

    run(scenario, folder)


def test_a_change_while_a_watch_is_looking_is_not_missed(folder: Path) -> None:
    async def scenario(health: Health, models: ModelManager) -> None:
        async with aclosing(watch(health, "")) as answers:
            assert await watched(answers) is NOT_SERVING
            # Between two looks of the watch, which is not waiting now.
            health.start()
            assert await watched(answers) is SERVING

    run(scenario, folder)


@pytest.mark.parametrize(
    ("name", "last"), [("", NOT_SERVING), ("fox", NOT_SERVING), ("cat", SERVICE_UNKNOWN)]
)
def test_watches_end_when_the_server_drains(name: str, last: ServingStatus, folder: Path) -> None:
    async def scenario(health: Health, models: ModelManager) -> None:
        health.start()
        await models.get("fox")
        async with aclosing(watch(health, name)) as answers:
            first = await watched(answers)
            health.drain()
            if first is not last:
                assert await watched(answers) is last
            with pytest.raises(Unavailable):
                await watched(answers)
        async with aclosing(watch(health, name)) as late:  # begun when it is over
            assert await watched(late) is last
            with pytest.raises(Unavailable):
                await watched(late)

    run(scenario, folder)


def test_a_watch_that_is_cancelled_leaves_nothing_behind(folder: Path) -> None:
    async def scenario(health: Health, models: ModelManager) -> None:
        async def follow(answers: AsyncGenerator[list[bytes], None]) -> None:
            async with aclosing(answers):
                async for _ in answers:
                    pass

        follower = asyncio.ensure_future(follow(watch(health, "")))
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(health._watches) == 1
        follower.cancel()
        await asyncio.wait([follower])
        assert not health._watches

    run(scenario, folder)


def test_the_messages_are_those_of_the_generated_code() -> None:
    for method in (CHECK, LIST, WATCH):
        service = health_pb2.DESCRIPTOR.services_by_name["Health"]
        known = service.methods_by_name[method.name]
        for cls, message in (
            (method.request, known.input_type),
            (method.response, known.output_type),
        ):
            assert cls.full_name == message.full_name
            assert cls.fields == tuple(field.name for field in message.fields)
        assert method.path == f"/{service.full_name}/{known.name}"
        assert method.output_streaming == known.server_streaming


# -- over the wire


def ask(name: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "caikit.runtime.Example.ExampleService",
        "grpc.health.v1.Health",
        "model:example",
        "example",
    ],
)
def test_the_stock_client_is_told_what_serves(name: str, each_server: Server) -> None:
    with each_server.channel() as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(ask(name), timeout=60)
    assert answer.status == SERVING


def test_the_stock_client_is_told_what_is_not_there(each_server: Server) -> None:
    with each_server.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(channel).Check(ask("nothing"), timeout=60)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_the_stock_client_gets_the_list(each_server: Server) -> None:
    with each_server.channel() as channel:
        answer = health_pb2_grpc.HealthStub(channel).List(
            health_pb2.HealthListRequest(), timeout=60
        )
    assert answer.statuses["model:example"].status == SERVING
    assert answer.statuses["caikit.runtime.Example.ExampleTrainingService"].status == SERVING


class Watch:
    """A watch of the stock client, followed in a thread."""

    def __init__(self, channel: grpc.Channel, name: str) -> None:
        self.seen: list[int] = []
        self.code: grpc.StatusCode | None = None
        self._call = health_pb2_grpc.HealthStub(channel).Watch(ask(name))
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        try:
            for answer in self._call:
                self.seen.append(answer.status)
        except grpc.RpcError as err:
            self.code = err.code()

    def saw(self, *statuses: int) -> None:
        wait_for(lambda: self.seen == list(statuses), what=f"{statuses}, not {self.seen}")

    def end(self) -> grpc.StatusCode | None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.code


@pytest.mark.parametrize("engine", ["envoy", "hypercorn"])
def test_watches_follow_the_models_and_do_not_hold_up_the_end(
    make_server: Callable[..., Server], engine: str
) -> None:
    server = make_server(RUNTIME_LAZY_LOAD_POLL_PERIOD_SECONDS="0.05", SERVER_ENGINE=engine).start()
    models = server.project / "client" / "models"
    with server.channel() as channel:
        whole, model = Watch(channel, ""), Watch(channel, "model:late")
        whole.saw(SERVING)
        model.saw(SERVICE_UNKNOWN)
        shutil.copytree(models / "example", models / ".late")
        (models / ".late").rename(models / "late")
        model.saw(SERVICE_UNKNOWN, SERVING)
        (models / "late").rename(models / ".late")
        model.saw(SERVICE_UNKNOWN, SERVING, SERVICE_UNKNOWN)
        assert server.stop() == 0, server.log
        assert whole.end() is model.end() is grpc.StatusCode.UNAVAILABLE
        assert whole.seen == [SERVING, NOT_SERVING]
        assert model.seen == [SERVICE_UNKNOWN, SERVING, SERVICE_UNKNOWN]
    assert "requests in flight" not in server.log
