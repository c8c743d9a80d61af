"""Calls a server by caikit's own remote client; run by a Python that has the real caikit.

    python caikit_client.py LIBRARY_FOLDER grpc|http HOST PORT

Prints a JSON object: what each call gave.
"""

import json
import sys
import time
from typing import Any

FOLDER, PROTOCOL, HOST, PORT = sys.argv[1:5]
sys.path.insert(0, FOLDER)

from caikit.core.data_model import DataBase, DataStream  # noqa: E402

import caikit  # noqa: E402

CLIENT = "caikit.runtime.client"
connection = {"hostname": HOST, "port": int(PORT), "timeout": 30}
caikit.configure(
    config_dict={
        "merge_strategy": "override",
        "model_management": {
            "finders": {
                "default": {
                    "type": "REMOTE",
                    "import_class": f"{CLIENT}.remote_model_finder.RemoteModelFinder",
                    "config": {"connection": connection, "protocol": PROTOCOL},
                }
            },
            "initializers": {
                "default": {
                    "type": "REMOTE",
                    "import_class": f"{CLIENT}.remote_model_initializer.RemoteModelInitializer",
                }
            },
        },
    }
)

import chorus  # noqa: E402
from caikit.runtime.service_factory import ServicePackageFactory  # noqa: E402

# The client finds the classes of the requests once the services have been made.
for kind in ("INFERENCE", "TRAINING"):
    ServicePackageFactory.get_service_package(getattr(ServicePackageFactory.ServiceType, kind))

Verse, Line = chorus.data_model.Verse, chorus.data_model.Line


def outcome(call: Any) -> Any:
    """What a call gives, or the kind and code of its failure."""
    try:
        return call()
    except Exception as err:  # noqa: BLE001 -- the test compares it
        code = getattr(err, "status_code", None)
        return f"{type(err).__name__} {getattr(code, 'name', '')}".strip()


def verses() -> Any:
    return DataStream.from_iterable([Verse(text, i, [], None, i) for i, text in enumerate("abc")])


def lines() -> Any:
    source = DataBase.get_class_for_name("DataStreamSourceLine")
    elements = DataBase.get_class_for_name("DataStreamSourceLineJsonData")
    return source(jsondata=elements(data=[Line("do", 2), Line("re", 3)]))


def train() -> Any:
    """Trains, and has the trained model sing as soon as it can be found."""
    trained = model.train(lines(), loud=True, _model_name=f"trained-{PROTOCOL}")
    deadline = time.monotonic() + 30
    while True:
        try:
            return trained.run(Verse("re", 0, [], None, 1)).to_dict()
        except Exception as err:
            code = getattr(err, "status_code", None)
            if getattr(code, "name", "") != "NOT_FOUND" or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


model = caikit.load("choir")
verse = Verse("la", 7, ["s", "a"], 0.25, "c")
calls = {
    "unary": lambda: model.run(verse).to_dict(),
    "unary with parameters": lambda: model.run(verse, times=2, voices=["b"]).to_dict(),
    "server stream": lambda: [item.to_dict() for item in model.run_out(verse, times=2)],
    "client stream": lambda: model.run_in(verses(), sep="-").to_dict(),
    "bidirectional": lambda: [item.to_dict() for item in model.run_both(verses(), sep="?")],
    "refused": lambda: model.run(Verse("silence", 0, [], None, 1)).to_dict(),
    "unknown model": lambda: caikit.load("nobody"),
    "training": train,
}
json.dump({name: outcome(call) for name, call in calls.items()}, sys.stdout)
