"""ONNX models from `.ec2t` files.

Reads a file with the second reader of the format, folds the scales of its layers into their
weights, and writes a model of opset 17 for a batch of fixed size, all in 32-bit floats: what other
programs run best. Batch normalisation has to be folded beforehand.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[2] / "crates/ec2t-format/tests/reader"))

import read_ec2t  # noqa: E402

OPSET = 17
# Of the intermediate representation: one that all programs here read.
IR_VERSION = 8


class Writer:
    """Nodes and constants of a model. There is a method for each operation that networks of the
    comparison have; it adds the nodes of a layer and gives the name of their value."""

    def __init__(self, network):
        self.tensors = {name: tensor.values for name, tensor in network.tensors.items()}
        self.nodes, self.constants = [], []
        names, self.shapes = [], {}
        for index, layer in enumerate(network.graph.layers):
            inputs = [names[index - back] for back in layer.backs]
            name = getattr(self, layer.operation.name)(layer, inputs)
            self.shapes.setdefault(name, layer.shape)
            names.append(name)
        self.first, self.last = names[0], names[-1]

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def weights(self, layer):
        """The operands of a layer besides its input."""
        weight = self.tensors[f"{layer.name}.weight"]
        scale = self.tensors.get(f"{layer.name}.scale")
        if scale is not None:
            weight = weight * scale.reshape(-1, 1, 1, 1)
        operands = {"weight": weight, "bias": self.tensors.get(f"{layer.name}.bias")}
        return [
            self.constant(f"{layer.name}.{suffix}", values)
            for suffix, values in operands.items()
            if values is not None
        ]

    def input(self, layer, _):
        return layer.name

    def conv2d(self, layer, inputs):
        fields = layer.fields
        return self.node(
            "Conv",
            inputs + self.weights(layer),
            layer.name,
            kernel_shape=fields["kernel"],
            strides=fields["stride"],
            dilations=fields["dilation"],
            group=fields["groups"],
            pads=conv_padding(layer, self.shapes[inputs[0]]),
        )

    def linear(self, layer, inputs):
        return self.node("Gemm", inputs + self.weights(layer), layer.name, transB=1)

    def activation(self, layer, inputs):
        match layer.fields["function"]:
            case 0:
                return self.node("Relu", inputs, layer.name)
            case 1:
                limits = [self.constant(f"{layer.name}.{n}", np.float32(n)) for n in (0, 6)]
                return self.node("Clip", inputs + limits, layer.name)
            case other:
                raise ValueError(f"{layer.name}: activation {other}")

    def add(self, layer, inputs):
        return self.node("Add", inputs, layer.name)

    def global_avg_pool(self, layer, inputs):
        return self.node("GlobalAveragePool", inputs, layer.name)

    def flatten(self, layer, inputs):
        return self.node("Flatten", inputs, layer.name)

    def pad_shortcut(self, layer, inputs):
        """Every `stride`-th pixel, as the maximum of a window of one, which unlike slices with a
        step all programs know; then channels of zeros before and behind."""
        stride = layer.fields["stride"]
        pixels = f"{layer.name}.pixels"
        self.node("MaxPool", inputs, pixels, kernel_shape=[1, 1], strides=[stride, stride])
        missing = layer.fields["outputs"] - self.shapes[inputs[0]][0]
        pads = np.array([0, missing // 2, 0, 0, 0, missing - missing // 2, 0, 0])
        return self.node("Pad", [pixels, self.constant(f"{layer.name}.pads", pads)], layer.name)


def conv_padding(layer, inputs):
    """Rows and columns at the top, the left, the bottom and the right."""
    fields = layer.fields
    if fields["padding"] != "same":
        return fields["padding"]
    missing = [
        max(0, (count - 1) * stride + dilation * (kernel - 1) + 1 - size)
        for count, stride, dilation, kernel, size in zip(
            layer.shape[1:], fields["stride"], fields["dilation"], fields["kernel"], inputs[1:]
        )
    ]
    before = [rows // 2 for rows in missing]
    return before + [rows - part for rows, part in zip(missing, before)]


def convert(path, batch):
    """The model of a file's network, for `batch` images."""
    network = read_ec2t.read(Path(path).read_bytes())
    writer = Writer(network)
    first, last = network.graph.layers[0], network.graph.layers[-1]
    # A vector is [N, C] there, and [C, 1, 1] here.
    is_vector = last.operation.name in ("linear", "flatten")
    shapes = [batch, *first.shape], [batch, *(last.shape[:1] if is_vector else last.shape)]
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
        for name, shape in zip((writer.first, writer.last), shapes)
    )
    name = network.graph.name
    graph = helper.make_graph(writer.nodes, name, inputs, outputs, writer.constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model
