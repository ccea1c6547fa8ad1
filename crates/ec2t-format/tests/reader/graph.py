"""The section "Graph section" of `docs/format.md`: layers, their shapes and the names of their tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cursor import LARGEST, Cursor

LAYERS = 1 << 14
NAME_BYTES = 1024
VALUES = 1 << 31

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """A row of the table of operations. A default of `None` is the number of inputs."""

    name: str
    reads: int = 1
    has_inputs: bool = False
    fields: tuple[tuple[str, Callable[[Cursor], Any], Any], ...] = ()


def two(c: Cursor) -> tuple[int, ...]:
    return c.varints(2)


def four(c: Cursor) -> tuple[int, ...]:
    return c.varints(4)


def one(c: Cursor) -> int:
    return c.varint(LARGEST)


def byte_below(end: int) -> Callable[[Cursor], int]:
    def read(c: Cursor) -> int:
        value = c.byte()
        c.insist(value < end, f"{value} is unknown", c.at - 1)
        return value

    return read


def conv_padding(c: Cursor) -> tuple[int, ...] | str:
    return "same" if byte_below(2)(c) else c.varints(4)


def near(value: float) -> float:
    return float(np.float32(value))


WINDOWS = (("kernel", two, (2, 2)), ("stride", two, (2, 2)), ("padding", four, (0, 0, 0, 0)))
CONV_FIELDS = (
    ("outputs", one, None),
    ("kernel", two, (3, 3)),
    ("stride", two, (1, 1)),
    ("padding", conv_padding, (1, 1, 1, 1)),
    ("dilation", two, (1, 1)),
    ("groups", one, 1),
    ("flags", byte_below(4), 1),
)
OPERATIONS = (
    Operation("input", reads=0),
    Operation("conv2d", has_inputs=True, fields=CONV_FIELDS),
    Operation("linear", has_inputs=True, fields=(("outputs", one, None), ("flags", byte_below(2), 1))),
    Operation("batch_norm", has_inputs=True, fields=(("eps", Cursor.f32, near(1e-5)), ("momentum", Cursor.f32, near(0.1)))),
    Operation("activation", fields=(("function", byte_below(5), 0),)),
    Operation("add", reads=2),
    Operation("multiply", reads=2),
    Operation("max_pool", fields=WINDOWS),
    Operation("avg_pool", fields=WINDOWS),
    Operation("global_avg_pool"),
    Operation("pad_shortcut", fields=(("stride", one, 2), ("outputs", one, 1))),
    Operation("dropout", fields=(("probability", Cursor.f32, 0.5),)),
    Operation("flatten"),
)


@dataclass
class Layer:
    name: str
    operation: Operation
    reads: list[int] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    shape: Shape = ()

    @property
    def last_name(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def first_names(self) -> str:
        return self.name[: len(self.name) - len(self.last_name)]


@dataclass
class Graph:
    name: str
    mean: list[float]
    deviation: list[float]
    classes: list[str]
    layers: list[Layer]


def read_graph(c: Cursor, minor: int) -> Graph:
    name = c.text(NAME_BYTES)
    shape = c.varints(3)
    c.insist(4 * 2 * shape[0] <= len(c.data), "more channels than bytes")
    mean = [c.f32() for _ in range(shape[0])]
    deviation = [c.f32() for _ in range(shape[0])]
    classes = [c.text(NAME_BYTES) for _ in range(c.varint(len(c.data)))]
    count = c.varint(LAYERS)
    read_layer = read_packed_layer if minor else read_plain_layer
    layers: list[Layer] = []
    names: set[str] = set()
    models: dict[tuple[int, str], Layer] = {}
    for i in range(count):
        start = c.at
        layer = read_layer(c, layers, models)
        c.insist((layer.operation is OPERATIONS[0]) == (i == 0), "the first layer, and no other, is the input", start)
        c.insist(layer.name not in names and layer.name != "", f"name {layer.name!r}", start)
        c.insist(len(layer.name.encode()) <= NAME_BYTES, "a name that is too long", start)
        layer.shape = shape if i == 0 else output_shape(c, layer, [layers[r].shape for r in layer.reads])
        c.insist(math.prod(layer.shape) <= VALUES, "an output that is too large", start)
        names.add(layer.name)
        layers.append(layer)
    c.insist(bool(layers), "no layers")
    c.insist(len(classes) in (0, layers[-1].shape[0]), "a class name for each output, or none")
    c.end()
    return Graph(name, mean, deviation, classes, layers)


def shared_text(c: Cursor, before: str) -> str:
    """A text that shares bytes at its start with another; as many as possible."""
    start, old = c.at, before.encode()
    shared = c.varint(len(old))
    try:
        kept = old[:shared].decode()
    except UnicodeDecodeError:
        c.fail("part of a character", start)
    rest = c.text(NAME_BYTES)
    c.insist(not rest or rest[0] != before[len(kept) : len(kept) + 1], "more could be shared", start)
    return kept + rest


def read_plain_layer(c: Cursor, layers: list[Layer], _models: dict) -> Layer:
    """A layer of version 1.0, stored in full."""
    name = shared_text(c, layers[-1].name if layers else "")
    number = byte_below(len(OPERATIONS))(c)
    layer = Layer(name, OPERATIONS[number])
    if layer.operation.has_inputs:
        layer.fields["inputs"] = one(c)
    for key, read, _ in layer.operation.fields:
        layer.fields[key] = read(c)
    layer.reads = [len(layers) - back for back in read_backs(c, layer.operation, len(layers))]
    if layer.operation.has_inputs:
        c.insist(layer.fields["inputs"] == layers[layer.reads[0]].shape[0], "another number of inputs")
    return layer


def read_backs(c: Cursor, operation: Operation, most: int) -> tuple[int, ...]:
    backs = c.varints(operation.reads, most)
    c.insist(0 not in backs, "a layer that reads itself")
    return backs


def read_packed_layer(c: Cursor, layers: list[Layer], models: dict[tuple[int, str], tuple]) -> Layer:
    """A layer of version 1.1, stored as what differs from its model."""
    before = layers[-1] if layers else Layer("", OPERATIONS[0])
    start, byte = c.at, c.byte()
    number = byte & 15
    c.insist(number < len(OPERATIONS), f"operation {number}", start)
    operation = OPERATIONS[number]
    last, backs, model = models.get((number, before.last_name), (operation.name, (1,) * operation.reads, None))

    def stored(flag: int, usual: Any, read: Callable[[], Any]) -> Any:
        if not byte & flag:
            return usual
        at, value = c.at, read()
        c.insist(value != usual, "stored, but as it would be if it were not", at)
        return value

    first = stored(16, before.first_names, lambda: shared_text(c, before.first_names))
    c.insist(first == "" or first.endswith("."), "first names without a dot at the end")
    last = stored(32, last, lambda: c.text(NAME_BYTES))
    c.insist("." not in last, "a last name with a dot")
    backs = stored(64, backs, lambda: read_backs(c, operation, len(layers)))
    c.insist(all(back <= len(layers) for back in backs), "a layer before the first", start)
    reads = [len(layers) - back for back in backs]

    fields = usual_fields(operation, model, layers[reads[0]].shape[0] if operation.has_inputs else 0)
    mask = stored(128, 0, c.byte)
    c.insist(mask >> len(operation.fields) == 0, "a field that the operation lacks")
    for bit, (key, read, _) in enumerate(operation.fields):
        if mask >> bit & 1:
            at, value = c.at, read(c)
            c.insist(repr(value) != repr(fields[key]), "stored, but as it would be if it were not", at)
            fields[key] = value
    layer = Layer(first + last, operation, reads, fields)
    models[number, before.last_name] = (last, backs, layer)
    return layer


def usual_fields(operation: Operation, model: Layer | None, inputs: int) -> dict[str, Any]:
    """The fields of a layer where none is stored."""
    fields = dict(model.fields) if model else {key: usual for key, _, usual in operation.fields}
    if not operation.has_inputs:
        return fields
    if "outputs" in fields and (model is None or fields["outputs"] == fields["inputs"]):
        fields["outputs"] = inputs
    if model and fields.get("groups", 1) > 1 and fields["groups"] == fields["inputs"]:
        fields["groups"] = inputs
    return fields | {"inputs": inputs}


def output_shape(c: Cursor, layer: Layer, inputs: list[Shape]) -> Shape:
    """Shape of a layer's output: channels, height, width."""
    fields, (channels, *image) = layer.fields, inputs[0]
    match layer.operation.name:
        case "conv2d":
            groups = fields["groups"]
            c.insist(groups > 0 and channels % groups == 0 and fields["outputs"] % groups == 0, "groups")
            return (fields["outputs"], *window_counts(c, fields, image))
        case "max_pool" | "avg_pool":
            return (channels, *window_counts(c, fields, image))
        case "linear":
            c.insist(image == [1, 1], "a linear layer reads one value per channel")
            return (fields["outputs"], 1, 1)
        case "add":
            c.insist(inputs[0] == inputs[1], "a sum of two shapes")
        case "multiply":
            c.insist(inputs[1] in (inputs[0], (channels, 1, 1)), "a product of two shapes")
        case "pad_shortcut":
            stride = fields["stride"]
            c.insist(stride > 0 and fields["outputs"] >= channels, "a shortcut")
            return (fields["outputs"], *(-(-size // stride) for size in image))
        case "global_avg_pool":
            return (channels, 1, 1)
        case "flatten":
            return (math.prod(inputs[0]), 1, 1)
    return inputs[0]


def window_counts(c: Cursor, fields: dict[str, Any], image: list[int]) -> Iterator[int]:
    """How many windows fit, in rows and columns."""
    dilation, padding = fields.get("dilation", (1, 1)), fields["padding"]
    for axis, size in enumerate(image):
        kernel, stride = fields["kernel"][axis], fields["stride"][axis]
        c.insist(min(kernel, stride, dilation[axis]) > 0, "a window of no size")
        if padding == "same":
            yield -(-size // stride)
            continue
        room = size + padding[axis] + padding[axis + 2] - dilation[axis] * (kernel - 1) - 1
        c.insist(room >= 0, "a window larger than the image")
        yield room // stride + 1


def tensors_of(layer: Layer) -> Iterator[tuple[str, Shape]]:
    """Names and shapes of a layer's tensors."""
    fields = layer.fields
    match layer.operation.name:
        case "conv2d":
            yield f"{layer.name}.weight", (fields["outputs"], fields["inputs"] // fields["groups"], *fields["kernel"])
            if fields["flags"] & 2:
                yield f"{layer.name}.scale", (fields["outputs"],)
        case "linear":
            yield f"{layer.name}.weight", (fields["outputs"], fields["inputs"])
        case "batch_norm":
            for part in ("weight", "bias", "running_mean", "running_var"):
                yield f"{layer.name}.{part}", (fields["inputs"],)
    if fields.get("flags", 0) & 1:
        yield f"{layer.name}.bias", (fields["outputs"],)
