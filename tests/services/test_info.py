"""What a server tells of itself and of its models."""

import asyncio
import importlib.metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import kitfox
from kitfox.config import VersionInfo, parse
from kitfox.errors import ModelNotFound
from kitfox.modules import RequestContext
from kitfox.services.handlers import Information


def information(*, loading: tuple[str, ...] = (), **versions: Any) -> Information:
    """With one model that is loaded."""
    module = SimpleNamespace(MODULE_ID="1", MODULE_NAME="Fox", MODULE_VERSION="1.0.0")
    model: Any = SimpleNamespace(
        name="fox",
        path=Path("/models/fox"),
        size=10,
        module=module,
        execution=SimpleNamespace(public_info=lambda: {"mode": "thread"}),
    )
    models: Any = SimpleNamespace(loaded={"fox": model}, loading=frozenset(loading))
    config = parse({"runtime": {"version_info": versions}}, source="test")
    return Information(models, config.runtime.version_info)


def versions_of(**versions: Any) -> Any:
    return asyncio.run(information(**versions).runtime({}, RequestContext()))


def models_of(*names: str, **words: Any) -> list[Any]:
    fields = {"model_ids": list(names)} if names else {}
    answer: Any = asyncio.run(information(**words).models(fields, RequestContext()))
    return list(answer.models)


def test_it_tells_the_versions_that_are_configured() -> None:
    assert VersionInfo() == information()._versions
    plain = versions_of()
    assert plain.runtime_version == ""
    assert plain.python_packages["kitfox"] == kitfox.__version__
    assert "pytest" not in plain.python_packages
    told = versions_of(runtime_image="2.1", python_packages={"mine": "7", "all": False})
    assert told.runtime_version == "2.1"
    assert told.python_packages == {**plain.python_packages, "mine": "7"}


def test_it_tells_of_all_packages_if_it_is_to() -> None:
    told = versions_of(python_packages={"all": True, "mine": "7"}).python_packages
    assert told["pytest"] == importlib.metadata.version("pytest")
    assert told["mine"] == "7"
    assert told["kitfox"] == kitfox.__version__


def test_a_model_that_is_being_loaded_is_told_by_its_name() -> None:
    """One that a newer version is being loaded for is loaded."""
    fox, owl = models_of(loading=("owl", "fox"))
    assert (fox.name, fox.loaded, fox.module_id) == ("fox", True, "1")
    assert (owl.name, owl.loaded) == ("owl", False)
    assert owl.model_path is owl.size is owl.module_id is None
    (owl,) = models_of("owl", loading=("owl",))
    assert (owl.name, owl.loaded) == ("owl", False)
    with pytest.raises(ModelNotFound, match="it is not loaded"):
        models_of("owl")
