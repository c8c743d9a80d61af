"""What a model author writes with: tasks, modules, loading and saving, and the registry.

@task(unary_parameters={"name": str}, unary_output_type=Greeting)
class GreetTask(TaskBase): ...

@module("00110203-0405-0607-0809-0a0b02dd0e0f", "Greeter", "1.0.0", GreetTask)
class Greeter(ModuleBase): ...

load_model("models/greeter").run("World")
"""

from kitfox.modules.annotation import Annotation, describe, element_type, is_stream
from kitfox.modules.archive import UnsafeArchive, extract
from kitfox.modules.config import ModelConfigError, ModuleConfig
from kitfox.modules.context import GrpcRequestContext, RequestContext
from kitfox.modules.files import (
    compress,
    load_binary,
    load_csv,
    load_dict_csv,
    load_json,
    load_pickle,
    load_txt,
    load_txt_lines,
    load_yaml,
    save_binary,
    save_csv,
    save_dict_csv,
    save_json,
    save_pickle,
    save_raw,
    save_txt,
    save_yaml,
)
from kitfox.modules.loader import (
    ModelSource,
    ModuleLoader,
    load_model,
    model_class,
    model_config,
    resolve_and_load,
)
from kitfox.modules.module_class import ModuleBase
from kitfox.modules.producer import ProducerId
from kitfox.modules.registration import module
from kitfox.modules.registry import ModuleRegistry, UnknownModule, default_registry, module_registry
from kitfox.modules.saver import ModuleSaver
from kitfox.modules.serializers import (
    CSVSerializer,
    JSONSerializer,
    ObjectSerializer,
    PickleSerializer,
    TextSerializer,
    YAMLSerializer,
)
from kitfox.modules.signature import MethodKind, MethodSignature, UnresolvedAnnotation
from kitfox.modules.tasks import TaskBase, task
from kitfox.modules.training_context import TrainingContext

__all__ = [
    "Annotation",
    "CSVSerializer",
    "GrpcRequestContext",
    "JSONSerializer",
    "MethodKind",
    "MethodSignature",
    "ModelConfigError",
    "ModelSource",
    "ModuleBase",
    "ModuleConfig",
    "ModuleLoader",
    "ModuleRegistry",
    "ModuleSaver",
    "ObjectSerializer",
    "PickleSerializer",
    "ProducerId",
    "RequestContext",
    "TaskBase",
    "TextSerializer",
    "TrainingContext",
    "UnknownModule",
    "UnresolvedAnnotation",
    "UnsafeArchive",
    "YAMLSerializer",
    "compress",
    "default_registry",
    "describe",
    "element_type",
    "extract",
    "is_stream",
    "load_binary",
    "load_csv",
    "load_dict_csv",
    "load_json",
    "load_model",
    "load_pickle",
    "load_txt",
    "load_txt_lines",
    "load_yaml",
    "model_class",
    "model_config",
    "module",
    "module_registry",
    "resolve_and_load",
    "save_binary",
    "save_csv",
    "save_dict_csv",
    "save_json",
    "save_pickle",
    "save_raw",
    "save_txt",
    "save_yaml",
    "task",
]
