"""Which name of caikit is answered by which object of Kitfox: the whole table.

An object is written `package.module:name` and imported when it is first asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["MODULES", "Answers"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What one module path of caikit offers."""

    names: Mapping[str, str] = field(default_factory=dict)
    """The object for each name."""
    everything_of: str = ""
    """A module of Kitfox whose public names are offered as well."""
    warning: str = ""
    """Why the path should not be used any more."""


def _of(module: str, *names: str, **renamed: str) -> dict[str, str]:
    same = {name: f"{module}:{name}" for name in names}
    return same | {name: f"{module}:{original}" for name, original in renamed.items()}


_DATA = _of("kitfox.data", "DataObjectBase", "dataobject")
_MODULES = _of("kitfox.modules", "ModuleBase", "ModuleConfig", "ModuleLoader", "ModuleSaver")
_MODULES |= _of("kitfox.modules", "module")
_TASKS = _of("kitfox.modules", "TaskBase", "task")
_LOADING = _of("kitfox.toolkit.model_lookup", "load", "resolve_and_load")
_LOADING |= _of("kitfox.modules", "extract")
_TRAINING = _of("kitfox.toolkit.local_training", "get_model_future", "train")
_MODULE_IDS = _of("kitfox.toolkit.backends", "get_valid_module_ids")
_SETTINGS = _of("kitfox.toolkit.settings", "configure", "get_config")
_SERIALIZERS = _of(
    "kitfox.modules",
    "CSVSerializer",
    "JSONSerializer",
    "ObjectSerializer",
    "PickleSerializer",
    "TextSerializer",
    "YAMLSerializer",
)
_FILES = _of(
    "kitfox.modules",
    "compress",
    "load_binary",
    "load_csv",
    "load_dict_csv",
    "load_json",
    "load_pickle",
    "load_txt",
    "load_txt_lines",
    "load_yaml",
    "save_binary",
    "save_csv",
    "save_dict_csv",
    "save_json",
    "save_pickle",
    "save_raw",
    "save_txt",
    "save_yaml",
)
_STREAM = _of("kitfox.data", "DataStream")
_DATA_BASE = _of("kitfox.data", DataBase="DataObjectBase")
_CORE_ERRORS = _of("kitfox.toolkit.author_errors", "CaikitCoreException", "CaikitCoreStatusCode")
_DATA_ERROR = _of("kitfox.toolkit.author_errors", "DataValidationError")
_CHECKS = _of("kitfox.toolkit", error_handler="error_checks")
_JOB_STATUS = _of(
    "kitfox.interfaces.common.data_model",
    JobStatus="JobStatus",
    TrainingStatus="JobStatus",
    PredictionJobStatus="JobStatus",
)
_PRODUCER = _of("kitfox.interfaces.common.data_model.producer", "ProducerId", "ProducerPriority")
_CONTEXT = _of("kitfox.interfaces.runtime.data_model", "RuntimeServerContextType")
_PACKAGES = _of("kitfox.toolkit.service_packages", "ServicePackage", "ServicePackageFactory")
_ENUMS = _of("kitfox.toolkit.enum_names", "import_enum", "import_enums")
_MARKERS = _of("kitfox.data", "Annotated", "FieldNumber", "OneofField")

MODULES: Mapping[str, Answers] = {
    "caikit": Answers(
        names=_SETTINGS
        | _LOADING
        | _TRAINING
        | _of("kitfox.modules", "module")
        | _of("kitfox.caikit.version", "__version__", "__version_tuple__")
    ),
    "caikit.config": Answers(names=_SETTINGS),
    "caikit.config.config": Answers(names=_SETTINGS),
    "caikit.core": Answers(
        names=_DATA
        | _MODULES
        | _TASKS
        | _LOADING
        | _TRAINING
        | _MODULE_IDS
        | _DATA_ERROR
        | _CHECKS
        | _SERIALIZERS
        | _FILES
        | _of("kitfox.toolkit.backends", "LocalBackend", "backend_types")
        | _of("kitfox.toolkit.model_lookup", "MODEL_MANAGER", "ModelManager")
    ),
    "caikit.core.augmentors": Answers(names=_of("kitfox.toolkit.augmentors", "AugmentorBase")),
    "caikit.core.data_model": Answers(
        names=_DATA
        | _DATA_BASE
        | _STREAM
        | _JOB_STATUS
        | _of("kitfox.interfaces.common.data_model.producer", "ProducerId")
        | _of("kitfox.toolkit.enum_names", "enums")
        | _ENUMS
        | _of("kitfox.toolkit.interface_files", "render_dataobject_protos")
        | _of("kitfox.data", CAIKIT_DATA_MODEL="DEFAULT_PACKAGE")
        | _of("kitfox.data.sources", PACKAGE_COMMON="PACKAGE")
    ),
    "caikit.core.data_model.base": Answers(names=_DATA_BASE),
    "caikit.core.data_model.dataobject": Answers(
        names=_DATA
        | _of("kitfox.data", "make_dataobject")
        | _of("kitfox.toolkit.interface_files", "render_dataobject_protos")
        | _of("kitfox.data", CAIKIT_DATA_MODEL="DEFAULT_PACKAGE")
    ),
    "caikit.core.data_model.json_dict": Answers(
        names=_of("kitfox.data.json_dict", "JsonDict", "dict_to_struct", "struct_to_dict")
    ),
    "caikit.core.data_model.producer": Answers(names=_PRODUCER),
    "caikit.core.data_model.runtime_context": Answers(names=_CONTEXT),
    "caikit.core.data_model.streams": Answers(),
    "caikit.core.data_model.streams.data_stream": Answers(names=_STREAM),
    "caikit.core.data_model.timestamp": Answers(
        names=_of("kitfox.data.timestamps", "datetime_to_proto", "proto_to_datetime")
    ),
    "caikit.core.exceptions": Answers(names=_DATA_ERROR | _CHECKS),
    "caikit.core.exceptions.caikit_core_exception": Answers(names=_CORE_ERRORS),
    "caikit.core.exceptions.error_handler": Answers(
        names=_of("kitfox.toolkit.error_checks", "ErrorHandler", "get")
    ),
    "caikit.core.exceptions.validation_error": Answers(names=_DATA_ERROR),
    "caikit.core.modules": Answers(names=_MODULES),
    "caikit.core.modules.base": Answers(names=_of("kitfox.modules", "ModuleBase")),
    "caikit.core.modules.config": Answers(names=_of("kitfox.modules", "ModuleConfig")),
    "caikit.core.modules.decorator": Answers(names=_of("kitfox.modules", "module")),
    "caikit.core.modules.loader": Answers(names=_of("kitfox.modules", "ModuleLoader")),
    "caikit.core.modules.saver": Answers(names=_of("kitfox.modules", "ModuleSaver")),
    "caikit.core.registries": Answers(
        names=_of("kitfox.modules", "module_registry")
        | _of(
            "kitfox.toolkit.backends",
            "module_backend_classes",
            "module_backend_registry",
            "module_backend_types",
        )
    ),
    "caikit.core.task": Answers(names=_TASKS),
    "caikit.core.toolkit": Answers(names=_SERIALIZERS | _FILES),
    "caikit.core.toolkit.errors": Answers(
        names=_DATA_ERROR | _CHECKS,
        warning="caikit.core.toolkit.errors is the old home of caikit.core.exceptions",
    ),
    "caikit.interfaces": Answers(),
    "caikit.interfaces.common": Answers(),
    "caikit.interfaces.common.data_model": Answers(
        everything_of="kitfox.interfaces.common.data_model"
    ),
    "caikit.interfaces.common.data_model.producer": Answers(names=_PRODUCER),
    "caikit.interfaces.common.data_model.stream_sources": Answers(
        everything_of="kitfox.interfaces.common.data_model.stream_sources"
    ),
    "caikit.interfaces.common.data_model.vectors": Answers(
        everything_of="kitfox.interfaces.common.data_model.vectors"
    ),
    "caikit.interfaces.nlp": Answers(),
    "caikit.interfaces.nlp.data_model": Answers(everything_of="kitfox.interfaces.nlp.data_model"),
    "caikit.interfaces.nlp.tasks": Answers(everything_of="kitfox.interfaces.nlp.tasks"),
    "caikit.interfaces.ts": Answers(),
    "caikit.interfaces.ts.data_model": Answers(
        names=_of("kitfox.interfaces.ts.data_model", "TS_PACKAGE"),
        everything_of="kitfox.interfaces.ts.data_model",
    ),
    "caikit.interfaces.ts.tasks": Answers(everything_of="kitfox.interfaces.ts.tasks"),
    "caikit.interfaces.vision": Answers(),
    "caikit.interfaces.vision.data_model": Answers(
        names=_of("kitfox.interfaces.vision.data_model", "VISION_PACKAGE"),
        everything_of="kitfox.interfaces.vision.data_model",
    ),
    "caikit.interfaces.runtime": Answers(),
    "caikit.interfaces.runtime.data_model": Answers(
        everything_of="kitfox.interfaces.runtime.data_model"
    ),
    "caikit.runtime": Answers(
        names=_of(
            "kitfox.toolkit.service_packages",
            "get_inference_request",
            "get_train_params",
            "get_train_request",
        )
    ),
    "caikit.runtime.__main__": Answers(names=_of("kitfox.toolkit.runtime_main", "main")),
    "caikit.runtime.dump_services": Answers(names=_of("kitfox.toolkit.interface_files", "main")),
    "caikit.runtime.service_factory": Answers(names=_PACKAGES),
    "caikit.runtime.types": Answers(),
    "caikit.runtime.types.aborted_exception": Answers(
        names=_of("kitfox.toolkit.author_errors", "AbortedException")
    ),
    "caikit.runtime.types.caikit_runtime_exception": Answers(
        names=_of("kitfox.toolkit.author_errors", "CaikitRuntimeException")
    ),
    "aconfig": Answers(
        names=_of("kitfox.toolkit.attribute_config", "Config", "ImmutableConfig")
        | _of("kitfox.modules.config", AttributeAccessDict="AttributeDict")
        | _of("kitfox.toolkit.settings", ImmutableAttributeAccessDict="SettingsDict")
    ),
    "alog": Answers(
        names=_of(
            "kitfox.toolkit.log_channels",
            "ContextLog",
            "ContextTimer",
            "configure",
            "logged_function",
            "timed_function",
            "use_channel",
        )
    ),
    "py_to_proto": Answers(),
    "py_to_proto.dataclass_to_proto": Answers(names=_MARKERS),
}
"""What each module path offers, beside the paths below it."""
