from typing import Any, assert_type

import pytest

from kitfox.data import DataObjectBase, dataobject
from kitfox.modules import (
    ModuleBase,
    ModuleRegistry,
    ProducerId,
    TaskBase,
    UnknownModule,
    default_registry,
    module,
    module_registry,
    task,
)


@dataobject(package="kitfox.tests.registration")
class Greeting(DataObjectBase):
    text: str


@task(unary_parameters={"name": str}, unary_output_type=Greeting)
class GreetTask(TaskBase):
    pass


class Greeter(ModuleBase):
    def run(self, name: str) -> Greeting:
        return Greeting(text=f"Hello {name}")

    @classmethod
    def train(cls, names: list[str]) -> "Greeter":
        return cls()


def test_a_module_knows_who_it_is() -> None:
    decorated = module("greeter-1", "The greeter", "1.2.3-rc.1+build", GreetTask)(Greeter)
    assert decorated is Greeter
    assert Greeter.MODULE_ID == "greeter-1"
    assert Greeter.MODULE_NAME == "The greeter"
    assert Greeter.MODULE_VERSION == "1.2.3-rc.1+build"
    assert f"{__name__}.Greeter" == Greeter.MODULE_CLASS
    assert ProducerId(name="The greeter", version="1.2.3-rc.1+build") == Greeter.PRODUCER_ID
    assert Greeter.BACKEND_TYPE == "LOCAL"
    assert Greeter.SUPPORTED_LOAD_BACKENDS == ["LOCAL"]
    assert Greeter.tasks == [GreetTask]
    assert module_registry()["greeter-1"] is Greeter


def test_a_module_knows_its_run_and_train() -> None:
    module("greeter-2", "Greeter", "1.0.0", task=GreetTask)(Greeter)
    assert Greeter.RUN_SIGNATURE is not None
    assert list(Greeter.RUN_SIGNATURE.parameters) == ["name"]
    assert Greeter.TRAIN_SIGNATURE is not None
    assert dict(Greeter.TRAIN_SIGNATURE.parameters) == {"names": list[str]}
    assert Greeter.TRAIN_SIGNATURE.return_type is Greeter


def test_what_a_module_does_not_have_has_no_signature() -> None:
    @module("idle", "Idle", "1.0.0")
    class Idle(ModuleBase):
        pass

    assert Idle.RUN_SIGNATURE is None
    assert Idle.TRAIN_SIGNATURE is None
    assert Idle.tasks == []


def test_the_decorator_keeps_the_class_type() -> None:
    @module("typed", "Typed", "1.0.0")
    class Typed(ModuleBase):
        @classmethod
        def load(cls, model_path: str, **kwargs: Any) -> "Typed":
            return cls()

        def run(self, text: str, *, loud: bool = False) -> str:
            return text

    assert_type(Typed, type[Typed])
    assert_type(Typed.load("somewhere"), Typed)
    assert_type(Typed().run("a", loud=True), str)


def test_two_modules_with_one_id_are_refused_by_name() -> None:
    class First(ModuleBase):
        pass

    class Second(ModuleBase):
        pass

    module("same", "First", "1.0.0")(First)
    with pytest.raises(RuntimeError) as caught:
        module("same", "Second", "1.0.0")(Second)
    assert "Two modules have the id same" in str(caught.value)
    assert "First` and " in str(caught.value)
    assert "Second`" in str(caught.value)
    assert module_registry()["same"] is First


def test_a_base_module_lends_what_is_not_given() -> None:
    module("base", "Base", "1.0.0", GreetTask)(Greeter)

    class Remote(ModuleBase):
        def run(self, name: str) -> Greeting:
            return Greeting(text=name)

    for base in (Greeter, "base"):
        with default_registry().preserved():
            module(base_module=base, backend_type="REMOTE", backend_config_override={"a": 1})(
                Remote
            )
            assert Remote.MODULE_ID == "base"
            assert Remote.MODULE_NAME == "Base"
            assert Remote.tasks == [GreetTask]
            assert Remote.SUPPORTED_LOAD_BACKENDS == ["REMOTE"]
            assert Remote.BACKEND_CONFIG_OVERRIDE == {"a": 1}
            assert default_registry().find("base") is Greeter
            assert default_registry().get("base", backend_type="REMOTE") is Remote


def test_a_class_may_support_more_backends() -> None:
    @module("more", "More", "1.0.0")
    class More(ModuleBase):
        SUPPORTED_LOAD_BACKENDS = ["LOCAL", "OTHER"]  # noqa: RUF012 -- as authors write it

    assert More.SUPPORTED_LOAD_BACKENDS == ["LOCAL", "OTHER"]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"name": "N", "version": "1.0.0"}, ValueError, "needs `id`, or a `base_module`"),
        ({"id": "x", "version": "1.0.0"}, ValueError, "needs `name`, or a `base_module`"),
        ({"id": "x", "name": "N"}, ValueError, "needs `version`, or a `base_module`"),
        ({"id": "", "name": "N", "version": "1.0.0"}, ValueError, "`id` must not be empty"),
        ({"id": 5, "name": "N", "version": "1.0.0"}, TypeError, "`id` is text, not int"),
        (
            {"id": "x", "name": "N", "version": "1.0"},
            ValueError,
            "the version '1.0' is not a semantic version, such as `1.0.0`",
        ),
        (
            {"id": "x", "name": "N", "version": "1.0.0", "task": Greeting},
            TypeError,
            "Greeting is no task; tasks are classes that derive from TaskBase",
        ),
        (
            {"id": "x", "name": "N", "version": "1.0.0", "task": GreetTask, "tasks": [GreetTask]},
            ValueError,
            "@module takes `task` or `tasks`, not both",
        ),
        ({"base_module": Greeting}, TypeError, "base_module is a module class or its id"),
        ({"base_module": ModuleBase}, ValueError, "`ModuleBase` is not decorated with @module"),
        ({"base_module": "absent"}, UnknownModule, "no imported module has the MODULE_ID absent"),
    ],
)
def test_a_wrong_module_is_refused(
    arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    class Wrong(ModuleBase):
        pass

    with pytest.raises(kind) as caught:
        module(**arguments)(Wrong)
    assert message in str(caught.value)
    assert "x" not in module_registry()


def test_a_module_derives_from_modulebase() -> None:
    class NoModule:
        pass

    with pytest.raises(TypeError, match="NoModule` must derive from ModuleBase"):
        module("x", "N", "1.0.0")(NoModule)  # type: ignore[type-var] # refused


def test_a_module_that_is_refused_is_not_registered() -> None:
    class Wrong(ModuleBase):
        def run(self, name: int) -> Greeting:
            return Greeting(text="")

    with pytest.raises(TypeError, match="parameter `name`: expected `str`"):
        module("refused", "Wrong", "1.0.0", GreetTask)(Wrong)
    assert "refused" not in module_registry()


def test_a_registry_of_ones_own_leaves_the_default_alone() -> None:
    registry = ModuleRegistry()
    module("own", "Greeter", "1.0.0", GreetTask, registry=registry)(Greeter)
    assert registry.classes() == {"own": Greeter}
    assert "own" not in module_registry()


def test_what_is_added_while_preserved_is_forgotten() -> None:
    registry = ModuleRegistry()
    with registry.preserved():
        module("own", "Greeter", "1.0.0", registry=registry)(Greeter)
        assert registry.get("own") is Greeter
    assert registry.get("own") is None


def test_an_unknown_id_is_answered_with_the_known_ones() -> None:
    registry = ModuleRegistry()
    module("own", "Greeter", "1.0.0", registry=registry)(Greeter)
    with pytest.raises(UnknownModule, match=r"MODULE_ID nope; known modules: own \(Greeter\)"):
        registry.find("nope")
    with pytest.raises(UnknownModule, match="known modules: none"):
        ModuleRegistry().find("nope")
