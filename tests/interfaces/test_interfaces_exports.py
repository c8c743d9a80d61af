"""What is imported from where, and what an import brings along."""

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

import kitfox.data
import kitfox.modules
from kitfox.interfaces.common import data_model as common
from kitfox.interfaces.common.data_model import producer, stream_sources
from kitfox.interfaces.runtime.data_model import RuntimeServerContextType
from kitfox.services import Context

MODULES = [
    "common",
    "common.data_model",
    "common.data_model.connection",
    "common.data_model.job_status",
    "common.data_model.producer",
    "common.data_model.stream_sources",
    "common.data_model.vectors",
    "nlp",
    "nlp.data_model",
    "nlp.data_model.classification",
    "nlp.data_model.embedding",
    "nlp.data_model.generation",
    "nlp.data_model.guarded_generation",
    "nlp.data_model.reranking",
    "nlp.data_model.sentence_similarity",
    "nlp.data_model.tokens",
    "nlp.tasks",
    "runtime",
    "runtime.context",
    "runtime.data_model",
    "scalars",
    "ts",
    "ts.data_model",
    "vision",
    "vision.data_model",
    "ts.tasks",
]


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize("name", MODULES)
def test_all_names_are_there_and_sorted(name: str) -> None:
    found = importlib.import_module(f"kitfox.interfaces.{name}")
    assert found.__all__ == sorted(found.__all__)
    assert all(hasattr(found, item) for item in found.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_no_data_object_or_task_is_missing_from_the_list(name: str) -> None:
    found = importlib.import_module(f"kitfox.interfaces.{name}")
    own = {
        item
        for item, value in vars(found).items()
        if not item.startswith("_") and getattr(value, "__module__", "") == found.__name__
    }
    assert own <= set(found.__all__)


def test_a_package_offers_all_that_its_modules_define() -> None:
    for package in (common, importlib.import_module("kitfox.interfaces.nlp.data_model")):
        for name, value in vars(package).items():
            if isinstance(value, ModuleType) and value.__name__.startswith(package.__name__):
                assert set(value.__all__) <= set(package.__all__), name


def test_classes_of_other_rooms_are_not_defined_twice() -> None:
    for name in stream_sources.__all__:
        assert getattr(stream_sources, name) is getattr(common, name)
        assert getattr(common, name) is getattr(kitfox.data, name)
    assert common.StrSequence is kitfox.data.StrSequence
    assert common.ProducerId is producer.ProducerId is kitfox.modules.ProducerId


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NoSuchName"):
        _ = common.NoSuchName  # type: ignore[attr-defined] # that is the point


def test_importing_kitfox_brings_no_domain_along() -> None:
    loaded = _python(
        "import sys, kitfox, kitfox.interfaces.common.data_model, "
        "kitfox.interfaces.runtime.data_model\n"
        "domains = ('nlp', 'vision', 'ts')\n"
        "print([name for name in sys.modules for domain in domains "
        "if name.startswith(f'kitfox.interfaces.{domain}')], "
        "[name for name in ('numpy', 'pandas', 'PIL') if name in sys.modules])"
    )
    assert loaded == "[] []"


@pytest.mark.parametrize("name", ["common.data_model.producer", "runtime.data_model", "nlp.tasks"])
def test_a_module_can_be_the_first_to_be_imported(name: str) -> None:
    assert _python(f"import kitfox.interfaces.{name}") == ""


def test_common_and_runtime_do_not_import_modules_by_themselves() -> None:
    """`kitfox.modules` uses them, so they must not need it to be imported."""
    loaded = _python(
        "import sys, types\n"
        "import importlib.util as util\n"
        "bare = types.ModuleType('kitfox')\n"
        "bare.__path__ = list(util.find_spec('kitfox').submodule_search_locations)\n"
        "sys.modules['kitfox'] = bare\n"
        "import kitfox.interfaces.runtime.data_model\n"
        "print([name for name in sys.modules if name.startswith('kitfox.modules')])"
    )
    assert loaded == "[]"


def test_the_context_of_a_call_fits_its_type() -> None:
    context: RuntimeServerContextType = Context(
        model_id="m", request_id="r", metadata={"mm-model-id": "m"}
    )
    assert context.metadata["mm-model-id"] == context.model_id
