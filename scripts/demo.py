"""Walks through everything once: serve, infer, train, wait, infer with what was trained.

`make demo` runs this in a copy of the template, on free ports, and ends with status 0 only when
every answer is the expected one.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KITFOX = [sys.executable, "-m", "kitfox.cli"]


def say(text: str) -> None:
    """Tells what happens next."""
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(item.getsockname()[1]) for item in sockets]
    for item in sockets:
        item.close()
    return ports


def run(*command: str, expect: str) -> str:
    """Runs a command, shows it and its output, and insists on what the output must hold."""
    shown = " ".join(Path(part).name if part == sys.executable else part for part in command)
    print(f"$ {shown}", flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr, end="", flush=True)
    if done.returncode or not re.search(expect, done.stdout):
        sys.exit(f"demo: expected an answer like {expect!r}")
    return done.stdout


def wait_until_ready(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Returns when the server has its models loaded."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.05)
    sys.exit(f"demo: the server did not come up:\n{log.read_text()}")


def walk(project: Path) -> None:
    """The whole walk in a project made from the template."""
    grpc_port, http_port, metrics_port = free_ports(3)
    ports = {
        "RUNTIME_GRPC_PORT": grpc_port,
        "RUNTIME_HTTP_PORT": http_port,
        "RUNTIME_METRICS_PORT": metrics_port,
    }
    os.environ.update({name: str(port) for name, port in ports.items()})
    url, address = f"http://localhost:{http_port}", f"localhost:{grpc_port}"
    client, config = project / "client", str(project / "server" / "config.yml")

    say("start the runtime")
    start = project / "server" / "start_runtime.py"
    print(f"$ python {start}   # gRPC on {grpc_port}, REST on {http_port}", flush=True)
    log = project / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen([sys.executable, str(start)], stdout=output, stderr=output)
    try:
        wait_until_ready(server, url, log)
        print(log.read_text(), end="")

        say("infer over gRPC")
        script = str(client / "infer_model.py")
        answer = r'^RESPONSE: greeting: "Hello World"\n$'
        run(sys.executable, script, "--address", address, expect=answer)

        say("infer over REST")
        inputs = '{"name": "World"}'
        run(*KITFOX, "infer", "example", inputs, "--config", config, expect="Hello World")

        say("train from a CSV file")
        script = str(client / "train_model.py")
        training = run(sys.executable, script, "--address", address, expect='model_name: "example"')
        training_id = training.split('"')[1]

        say("wait for the job")
        for state in states(url, training_id):
            print(state, flush=True)
        if state != "COMPLETED":
            sys.exit(f"demo: the training ended {state}:\n{log.read_text()}")
        run(*KITFOX, "jobs", "list", "--config", config, expect="COMPLETED")

        say("train the same again")
        again = ["--again", training_id, "--name", "again", "--follow"]
        run(*KITFOX, "train", *again, "--config", config, expect="COMPLETED")

        say("infer with what was trained")
        script = str(client / "infer_model.py")
        trained = ["--name", "Marie", "--model", training_id, "--address", address]
        run(sys.executable, script, *trained, expect='greeting: "Bonjour Marie"')
        run(*KITFOX, "models", "--config", config, expect="example")

        say("stop: what is in flight finishes")
        server.send_signal(signal.SIGTERM)
        status = server.wait(60)
        print(f"the runtime ended with status {status}")
        if status:
            sys.exit(f"demo: expected status 0:\n{log.read_text()}")
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait()


def states(url: str, training_id: str) -> list[str]:
    """The states that a training passes through until it ends."""
    seen: list[str] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with urllib.request.urlopen(
            f"{url}/management/trainings?training_id={training_id}"
        ) as answer:
            state = re.search(r'"state": ?"(\w+)"', answer.read().decode())
        if state and state[1] not in seen:
            seen.append(state[1])
        if seen and seen[-1] in ("COMPLETED", "CANCELED", "ERRORED"):
            return seen
        time.sleep(0.02)
    sys.exit("demo: the training did not end within a minute")


def main() -> None:
    """Walks in a temporary copy, so that the checkout stays as it is."""
    with tempfile.TemporaryDirectory(prefix="kitfox-demo-") as folder:
        project = Path(folder) / "caikit_template"
        ignore = shutil.ignore_patterns("training_output", "__pycache__")
        shutil.copytree(ROOT / "template" / "caikit_template", project, ignore=ignore)
        walk(project)
    say("done: everything answered as it should")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\ndemo: interrupted; the server it had started is stopped")
