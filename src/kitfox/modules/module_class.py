"""`ModuleBase`: what every module offers to its callers, whether its author wrote it or not.

An author derives from it, writes `load`, `run`, `train` and `save` as far as they make sense, and
applies `@module`. What is left out raises `NotImplementedError`.
"""

import functools
import io
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn, Self

from kitfox.data import DataObjectBase, DataStream
from kitfox.modules.archive import pack_folder
from kitfox.modules.config import ModelConfigError, ModuleConfig
from kitfox.modules.loader import ModuleLoader
from kitfox.modules.producer import ProducerId
from kitfox.modules.signature import MethodSignature
from kitfox.modules.task_methods import TaskMethods
from kitfox.modules.tasks import TaskBase

__all__ = ["ModuleBase"]


def _unavailable() -> NoReturn:
    raise NotImplementedError("This is not available in this module.")


class ModuleBase:
    """The base of every module.

    Example:
        >>> @module("00110203-0405-0607-0809-0a0b02dd0e0f", "Greeter", "1.0.0", GreetTask)
        ... class Greeter(ModuleBase):
        ...     @classmethod
        ...     def load(cls, model_path: str) -> "Greeter":
        ...         return cls()
        ...
        ...     def run(self, name: str) -> Greeting:
        ...         return Greeting(text=f"Hello {name}")
    """

    MODULE_ID: ClassVar[str] = ""
    """What `config.yml` of a model names its class by; empty without `@module`."""
    MODULE_NAME: ClassVar[str] = ""
    """A name for people."""
    MODULE_VERSION: ClassVar[str] = ""
    """A semantic version."""
    MODULE_CLASS: ClassVar[str] = ""
    """The class, as `package.module.ClassName`."""
    PRODUCER_ID: ClassVar[ProducerId]
    """Name and version, to put into results."""
    BACKEND_TYPE: ClassVar[str] = "LOCAL"
    """The backend that the class is made for."""
    BACKEND_CONFIG_OVERRIDE: ClassVar[dict[str, Any]] = {}
    """Settings for that backend."""
    SUPPORTED_LOAD_BACKENDS: ClassVar[list[str]] = []
    """The backends whose models the class can load."""
    RUN_SIGNATURE: ClassVar[MethodSignature | None] = None
    """The signature of `run`; None when the module has none."""
    TRAIN_SIGNATURE: ClassVar[MethodSignature | None] = None
    """The signature of `train`; None when the module cannot be trained."""
    TRAIN_RETRIES: ClassVar[int | None] = None
    """How often a training is begun again when its process dies; None: as the server has it."""
    tasks: ClassVar[list[type[TaskBase]]] = []
    """What the module does, its own tasks before those of its parents."""

    _task_methods: ClassVar[TaskMethods] = {}

    def __init__(self) -> None:
        self._metadata: dict[str, Any] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Lets every `load` keep what the model's `config.yml` says in `metadata`."""
        super().__init_subclass__(**kwargs)
        load = cls.__dict__.get("load")
        if isinstance(load, classmethod):
            type.__setattr__(cls, "load", classmethod(_remembering(load.__func__)))

    # -- what an author writes

    @classmethod
    def load(cls, model_path: Any, /, *args: Any, **kwargs: Any) -> Self:
        """Makes a model from its folder; most modules override it.

        Args:
            model_path: The folder.
            *args: Up to the module.
            **kwargs: Up to the module.
        """
        model: Self = cls._load(ModuleLoader(model_path), *args, **kwargs)
        model._remember(model_path)
        return model

    @classmethod
    def _load(cls, module_loader: ModuleLoader, /, *args: Any, **kwargs: Any) -> Self:
        """The alternative to overriding `load`: makes a model from an opened folder."""
        _unavailable()

    def save(self, model_path: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Writes the model to a folder, with a `ModuleSaver`."""
        _unavailable()

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Does the module's work: one request in, one result out."""
        _unavailable()

    @classmethod
    def train(cls, *args: Any, **kwargs: Any) -> Self:
        """Makes a new model from data."""
        _unavailable()

    @classmethod
    def bootstrap(cls, *args: Any, **kwargs: Any) -> Self:
        """Makes a model from something that another framework saved."""
        _unavailable()

    def validate_training_data(self, *args: Any, **kwargs: Any) -> Any:
        """Looks for mistakes in training data."""
        _unavailable()

    def validate_loaded_model(self, *args: Any, **kwargs: Any) -> Any:
        """Looks for mistakes in a loaded model."""
        _unavailable()

    def evaluate_quality(self, *args: Any, **kwargs: Any) -> Any:
        """Measures how good the model is."""
        _unavailable()

    # -- what comes with it

    @property
    def metadata(self) -> dict[str, Any]:
        """What `config.yml` said when the model was loaded, and `model_path`.

        `save` writes it down again, so a module may add to it.
        """
        # Not in __init__ alone: authors forget super().__init__().
        found: dict[str, Any] = self.__dict__.setdefault("_metadata", {})
        return found

    @metadata.setter
    def metadata(self, values: dict[str, Any]) -> None:
        self._metadata = values

    @property
    def module_metadata(self) -> dict[str, str]:
        """The module's name and version."""
        return {"name": self.MODULE_NAME, "version": self.MODULE_VERSION}

    @property
    def public_model_info(self) -> dict[str, Any]:
        """What clients may know about this model; override it to tell them something."""
        return {}

    @property
    def load_backend(self) -> Any:
        """The backend that loaded the model, if any."""
        return self.__dict__.get("_load_backend")

    def set_load_backend(self, load_backend: Any) -> None:
        """Notes the backend that loaded the model."""
        self.__dict__["_load_backend"] = load_backend

    @classmethod
    def get_inference_signature(
        cls, input_streaming: bool, output_streaming: bool, task: type[TaskBase]
    ) -> MethodSignature | None:
        """The method that does a task, for one kind of streaming; None when there is none."""
        return cls._task_methods.get(task, {}).get((input_streaming, output_streaming))

    @classmethod
    def get_inference_signatures(
        cls, task: type[TaskBase]
    ) -> list[tuple[bool, bool, MethodSignature]]:
        """All methods that do a task, as (input streaming, output streaming, signature)."""
        methods = cls._task_methods.get(task, {})
        return [(*kind, signature) for kind, signature in methods.items()]

    def run_batch(self, *args: Any, **kwargs: Any) -> Sequence[Any]:
        """Calls `run` once for each item of the arguments that are lists.

        Lists and tuples of nothing but text or data objects are spread over the calls; the other
        arguments are the same for all. A module that can do better overrides it.

        Example:
            >>> greeter.run_batch(["Ada", "Alan"], polite=True)
            (Greeting("Hello Ada"), Greeting("Hello Alan"))

        Raises:
            ValueError: Nothing to spread, lists of different lengths, or a stream.
        """
        named: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
        for key, value in named.items():
            if isinstance(value, DataStream) or hasattr(value, "__next__"):
                raise ValueError(f"run_batch takes lists, no streams: argument {key!r} is one")
        spread = {key: value for key, value in named.items() if _is_spread(value)}
        lengths = {key: len(value) for key, value in spread.items()}
        if not spread:
            raise ValueError("run_batch needs a list of text or of data objects as an argument")
        if len(set(lengths.values())) > 1:
            listing = ", ".join(f"{key!r} has {length}" for key, length in lengths.items())
            raise ValueError(f"run_batch needs lists of the same length: {listing}")

        def call(index: int) -> Any:
            picked = {k: v[index] if k in spread else v for k, v in named.items()}
            positional = [picked[place] for place in range(len(args))]
            return self.run(*positional, **{key: picked[key] for key in kwargs})

        return tuple(call(index) for index in range(next(iter(lengths.values()))))

    def stream(self, data_stream: DataStream[Any], *args: Any, **kwargs: Any) -> DataStream[Any]:
        """Runs the model on each item of a stream, as the result is read.

        `data_stream | model` is the same.

        Args:
            data_stream: What `run` gets as its first argument, one item a call.
            *args: Further arguments of `run`, the same for all calls.
            **kwargs: Further arguments of `run`, the same for all calls.
        """
        return data_stream.map(self.run, *args, **kwargs)

    def as_file_like_object(self, *args: Any, **kwargs: Any) -> io.BytesIO:
        """The saved model as an open zip file; arguments go to `save`. `load_model` reads it."""
        packed = io.BytesIO()
        with tempfile.TemporaryDirectory(prefix="kitfox-model-") as folder:
            self.save(folder, *args, **kwargs)
            pack_folder(folder, packed)
        packed.seek(0)
        return packed

    def as_bytes(self, *args: Any, **kwargs: Any) -> bytes:
        """The saved model as a zip file; arguments go to `save`. `load_model` reads it."""
        return self.as_file_like_object(*args, **kwargs).getvalue()

    @classmethod
    def timed_load(cls, *args: Any, **kwargs: Any) -> tuple[float, Self]:
        """Calls `load` and gives the seconds it took, and the model."""
        begin = time.perf_counter()
        model = cls.load(*args, **kwargs)
        return time.perf_counter() - begin, model

    def timed_run(
        self,
        *args: Any,
        num_seconds: float | None = None,
        num_iterations: int | None = None,
        **kwargs: Any,
    ) -> tuple[float, int, Any]:
        """Calls `run` again and again; for measuring.

        Args:
            *args: For `run`.
            num_seconds: Stop after this long.
            num_iterations: Stop after so many calls; 100 when neither is given.
            **kwargs: For `run`.

        Returns:
            The seconds it took, how many calls were made, and the last result.

        Raises:
            ValueError: Both limits are given, or one that allows no call.
        """
        if num_seconds is not None and num_iterations is not None:
            raise ValueError("timed_run takes num_seconds or num_iterations, not both")
        limit = 100 if num_seconds is None and num_iterations is None else num_iterations
        if (limit is not None and limit < 1) or (num_seconds is not None and num_seconds <= 0):
            raise ValueError("timed_run needs a positive num_seconds or num_iterations")
        begin = time.perf_counter()
        done = 0
        while True:
            result = self.run(*args, **kwargs)
            done += 1
            passed = time.perf_counter() - begin
            if done == limit or (num_seconds is not None and passed >= num_seconds):
                return passed, done, result

    def _remember(self, model_path: object) -> None:
        """Keeps what the `config.yml` of a folder says, if that is where the model is from."""
        if isinstance(model_path, ModuleConfig):
            self.metadata.update(model_path)
        elif isinstance(model_path, str | os.PathLike):
            try:
                self.metadata.update(ModuleConfig.load(model_path))
            except (OSError, ModelConfigError, KeyError):
                return  # some modules load from what is no model folder; that is their affair


def _is_spread(value: object) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(item, str | DataObjectBase) for item in value
    )


def _remembering(load: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps an author's `load` to note where the model was loaded from."""

    @functools.wraps(load)
    def load_and_remember(cls: type[ModuleBase], *args: Any, **kwargs: Any) -> Any:
        model = load(cls, *args, **kwargs)
        if isinstance(model, ModuleBase):
            model._remember(args[0] if args else next(iter(kwargs.values()), None))
        return model

    return load_and_remember
