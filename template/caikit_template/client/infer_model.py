"""Asks the runtime for a greeting.

python3 infer_model.py
python3 infer_model.py --name Marie --model <training id>
"""

import argparse
import sys
from pathlib import Path

import grpc
from google.protobuf.text_format import MessageToString

import kitfox.client

sys.path.append(str(Path(__file__).resolve().parents[1]))

from example.data_model import HelloWorldInput

parser = argparse.ArgumentParser(description="Ask the example model for a greeting.")
parser.add_argument("--name", default="World", help="who to greet")
parser.add_argument("--model", default="example", help="a model's name, or a training id")
parser.add_argument("--address", default="localhost:8085", help="host and port of the runtime")
arguments = parser.parse_args()

service = kitfox.client.service_package("example", "inference")
try:
    with grpc.insecure_channel(arguments.address) as channel:
        stub = service.stub_class(channel)
        response = stub.HelloWorldTaskPredict(
            service.messages.HelloWorldTaskRequest(
                text_input=HelloWorldInput(name=arguments.name).to_proto()
            ),
            metadata=[("mm-model-id", arguments.model)],
        )
except grpc.RpcError as err:
    sys.exit(f"{err.code().name}: {err.details()}")
print("RESPONSE:", MessageToString(response, as_utf8=True).strip())
