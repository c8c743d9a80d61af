"""Trains the example model on the runtime, with the rows of `train_data/sample_data.csv`.

The answer comes at once, with the id of the training; the trained model can be asked by that id
as soon as the training is completed:

python3 train_model.py
python3 infer_model.py --name Marie --model <training id>
"""

import argparse
import sys
from pathlib import Path

import grpc
from google.protobuf.text_format import MessageToString

import kitfox.client

here = Path(__file__).resolve().parent
sys.path.append(str(here.parent))

parser = argparse.ArgumentParser(description="Train the example model.")
parser.add_argument("--name", default="example", help="the trained model's name")
parser.add_argument("--data", default=str(here / "train_data" / "sample_data.csv"))
parser.add_argument("--address", default="localhost:8085", help="host and port of the runtime")
arguments = parser.parse_args()

service = kitfox.client.service_package("example", "training")
messages = service.messages
try:
    with grpc.insecure_channel(arguments.address) as channel:
        stub = service.stub_class(channel)
        response = stub.HelloWorldTaskHelloWorldModuleTrain(
            messages.HelloWorldTaskHelloWorldModuleTrainRequest(
                model_name=arguments.name,
                parameters=messages.HelloWorldTaskHelloWorldModuleTrainParameters(
                    training_data=messages.DataStreamSourceHelloWorldTrainingType(
                        file=messages.FileReference(filename=arguments.data)
                    )
                ),
            )
        )
except grpc.RpcError as err:
    sys.exit(f"{err.code().name}: {err.details()}")
print("RESPONSE:", MessageToString(response, as_utf8=True).strip())
