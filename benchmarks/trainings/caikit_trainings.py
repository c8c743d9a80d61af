"""Empty trainings in threads of caikit: `python caikit_trainings.py FOLDER`.

Prints the same as `kitfox_trainings.py`, for jobs that are kept in memory and share a process.
"""

import json
import statistics
import sys
import time
import types
from typing import Any

from caikit.core import ModuleBase, ModuleLoader, ModuleSaver, TaskBase, module, task
from caikit.core.data_model import DataObjectBase, dataobject

import caikit

names = types.ModuleType("kitfox")  # the library uses names that both have
for item in (
    *(DataObjectBase, dataobject),
    *(ModuleBase, ModuleLoader, ModuleSaver, TaskBase, module, task),
):
    setattr(names, item.__name__, item)
sys.modules["kitfox"] = names

FEW, MANY = 40, 200


def main() -> None:
    """Measures."""
    from empty_library import Empty

    folder = sys.argv[1]
    caikit.configure(config_dict={"log": {"level": "off"}})

    def start() -> Any:
        return caikit.train(Empty, save_path=folder, save_with_id=True, model_name="m")

    few = []
    for _ in range(FEW):
        begin = time.perf_counter()
        start().wait()
        few.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    many = [start() for _ in range(MANY)]
    for training in many:
        training.wait()
    seconds = time.perf_counter() - begin
    bad = [one for one in many if one.get_info().status.name != "COMPLETED"]
    if bad:
        raise SystemExit(f"a training is {bad[0].get_info()}")
    print(json.dumps({"milliseconds": statistics.median(few) * 1000, "rate": MANY / seconds}))


main()
