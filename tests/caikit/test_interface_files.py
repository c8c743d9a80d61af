"""caikit's ways to write an interface to files, and the stubs for all kinds of methods."""

import json
import os
import shutil
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from tests.caikit.conftest import GOLDEN, Run, RunScript

DUMP = ("-m", "caikit.runtime.dump_services")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the example library."""
    return Path(shutil.copytree(GOLDEN / "example", tmp_path / "project"))


def environment(project: Path, **variables: str) -> dict[str, str]:
    """How the command finds the library."""
    path = os.pathsep.join([str(project / "library"), os.environ.get("PYTHONPATH", "")])
    library = {"RUNTIME_LIBRARY": "example", "CONFIG_FILES": "config.yml", "PYTHONPATH": path}
    return {**library, **variables}


def test_the_command_writes_the_files_that_were_recorded(project: Path, run_caikit: Run) -> None:
    out = project / "out"
    done = run_caikit(*DUMP, out, "-j", cwd=project, **environment(project))
    assert done.returncode == 0, done.stderr
    names = {item.name for item in out.iterdir()}
    assert names == {item.name for item in (GOLDEN / "example" / "proto").iterdir()} | {
        "openapi.json"
    }
    assert json.loads((out / "openapi.json").read_text())["info"]["title"] == "Example"
    assert json.loads((project / "modules.json").read_text()) == {
        "included_modules": {
            "HelloWorldTask": {
                "00110203-0405-0607-0809-0a0b02dd0e0f": (
                    "<class 'example.modules.hello_world.HelloWorldModule'>"
                )
            }
        }
    }


def test_the_folder_is_emptied_only_when_asked(project: Path, run_caikit: Run) -> None:
    out = project / "out"
    (out / "deep").mkdir(parents=True)
    (out / "old.txt").touch()
    variables = environment(project, RUNTIME_HTTP_ENABLED="false")
    assert run_caikit(*DUMP, out, "-p", cwd=project, **variables).returncode == 0
    consolidated = {item.name for item in (GOLDEN / "example" / "consolidated").iterdir()}
    assert {item.name for item in out.iterdir()} == consolidated | {"deep", "old.txt"}
    variables = environment(project, RUNTIME_GRPC_ENABLED="false")
    assert run_caikit(*DUMP, out, "-c", cwd=project, **variables).returncode == 0
    assert [item.name for item in out.iterdir()] == ["openapi.json"]
    assert not (project / "modules.json").exists()


def test_the_command_says_what_it_wants(project: Path, run_caikit: Run) -> None:
    done = run_caikit(*DUMP, cwd=project)
    assert done.returncode == 2
    assert "usage: caikit.runtime.dump_services" in done.stderr
    done = run_caikit(*DUMP, "out", cwd=project)
    assert "runtime.library is not set" in done.stderr


def test_data_objects_alone_are_written(run_script: RunScript, tmp_path: Path) -> None:
    run_script(
        f"""
        import sys
        sys.path.insert(0, "library")
        import kinds
        from caikit.core.data_model import render_dataobject_protos
        render_dataobject_protos(r"{tmp_path}/out")
        """,
        cwd=GOLDEN / "kinds_for_caikit",
    )
    names = {item.name for item in (tmp_path / "out").iterdir()}
    assert {"kinds.data_model.point.proto", "kinds.data_model.color.proto"} <= names
    assert "message Point {" in (tmp_path / "out" / "kinds.data_model.point.proto").read_text()
    assert not any("google" in name or "service" in name for name in names)


def test_a_stub_calls_methods_of_every_kind_of_streaming(run_script: RunScript) -> None:
    class Recorder(grpc.GenericRpcHandler):
        """Answers each call with two empty messages, or with one."""

        def service(
            self, details: grpc.HandlerCallDetails
        ) -> "grpc.RpcMethodHandler[bytes, bytes]":
            name = details.method.rpartition("/")[2]
            many = name.startswith(("ServerStreaming", "BidiStreaming"))
            takes = "stream" if name.startswith(("ClientStreaming", "BidiStreaming")) else "unary"
            kind = f"{takes}_{'stream' if many else 'unary'}_rpc_method_handler"
            make = getattr(grpc, kind)
            return make(lambda request, context: iter([b"", b""]) if many else b"")  # type: ignore[no-any-return] # of the four, one

    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Recorder()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        found = run_script(
            f"""
            import sys
            sys.path.insert(0, "library")
            import flows, grpc
            from caikit.runtime.service_factory import ServicePackage, ServicePackageFactory

            kind = ServicePackageFactory.ServiceType.INFERENCE
            package = ServicePackageFactory.get_service_package(kind)
            assert isinstance(package, ServicePackage)
            with grpc.insecure_channel("127.0.0.1:{port}") as channel:
                stub = package.stub_class(channel)
                for prefix in ("", "ServerStreaming", "ClientStreaming", "BidiStreaming"):
                    request = getattr(package.messages, f"{{prefix}}SplitTaskRequest")()
                    call = getattr(stub, f"{{prefix}}SplitTaskPredict")
                    many = prefix in ("ClientStreaming", "BidiStreaming")
                    answer = call(iter([request]) if many else request, timeout=20)
                    several = prefix in ("ServerStreaming", "BidiStreaming")
                    print(prefix, len(list(answer)) if several else type(answer).__name__)
            """,
            cwd=GOLDEN / "flows",
        )
    finally:
        server.stop(None).wait()
    assert found.splitlines() == [
        " Pieces",
        "ServerStreaming 2",
        "ClientStreaming Pieces",
        "BidiStreaming 2",
    ]
