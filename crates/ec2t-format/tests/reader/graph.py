"""The graph of a network: "Graph section" of `docs/format.md`.

Layers, the shapes of what they give and the names and shapes of their tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
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


def positive(value: float) -> bool:
    return 0 < value < math.inf


def number_that(holds: Callable[[float], bool]) -> Callable[[Cursor], float]:
    def read(c: Cursor) -> float:
        value = c.f32()
        c.insist(holds(value), f"{value} is out of range", c.at - 4)
        return value

    return read


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
LINEAR_FIELDS = (("outputs", one, None), ("flags", byte_below(2), 1))
NORM_FIELDS = (
    ("eps", number_that(lambda eps: 0 <= eps < math.inf), near(1e-5)),
    ("momentum", number_that(math.isfinite), near(0.1)),
)
DROPOUT_FIELDS = (("probability", number_that(lambda p: 0 <= p < 1), 0.5),)
OPERATIONS = (
    Operation("input", reads=0),
    Operation("conv2d", has_inputs=True, fields=CONV_FIELDS),
    Operation("linear", has_inputs=True, fields=LINEAR_FIELDS),
    Operation("batch_norm", has_inputs=True, fields=NORM_FIELDS),
    Operation("activation", fields=(("function", byte_below(5), 0),)),
    Operation("add", reads=2),
    Operation("multiply", reads=2),
    Operation("max_pool", fields=WINDOWS),
    Operation("avg_pool", fields=WINDOWS),
    Operation("global_avg_pool"),
    Operation("pad_shortcut", fields=(("stride", one, 2), ("outputs", one, 1))),
    Operation("dropout", fields=DROPOUT_FIELDS),
    Operation("flatten"),
)


@dataclass
class Layer:
    name: str
    operation: Operation
    backs: tuple[int, ...] = ()
    """How many places back the layers are that this one reads."""
    fields: dict[str, Any] = field(default_factory=dict)
    shape: Shape = ()

    @property
    def last_name(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def first_names(self) -> str:
        return self.name[: len(self.name) - len(self.last_name)]


Models = dict[tuple[Operation, str], Layer]


@dataclass
class Graph:
    name: str
    mean: list[float]
    deviation: list[float]
    classes: list[str]
    layers: list[Layer]


def read_graph(c: Cursor, minor: int) -> Graph:
    name = c.text(NAME_BYTES)
    shape = c.varints(3, VALUES)
    c.insist(4 * 2 * shape[0] <= len(c.data), "more channels than bytes")
    mean = [c.f32() for _ in range(shape[0])]
    deviation = [c.f32() for _ in range(shape[0])]
    c.insist(all(map(math.isfinite, mean)), "a mean that is not finite")
    c.insist(all(map(positive, deviation)), "a deviation that is not positive")
    classes = [c.text(NAME_BYTES) for _ in range(c.varint(len(c.data)))]
    layers = read_layers(c, minor, shape)
    outputs = math.prod(layers[-1].shape)
    c.insist(len(classes) in (0, outputs), f"{len(classes)} class names for {outputs} outputs")
    c.end()
    return Graph(name, mean, deviation, classes, layers)


def read_layers(c: Cursor, minor: int, shape: Shape) -> list[Layer]:
    read_layer = read_packed_layer if minor else read_plain_layer
    layers: list[Layer] = []
    names: set[str] = set()
    models: Models = {}
    count = c.varint(LAYERS)
    c.insist(count > 0, "no layers")
    for i in range(count):
        start = c.at
        layer = read_layer(c, layers, models)
        is_input = layer.operation is OPERATIONS[0]
        c.insist(is_input == (i == 0), "the first layer, and no other, is the input", start)
        c.insist(layer.name != "" and layer.name not in names, f"name {layer.name!r}", start)
        c.insist(len(layer.name.encode()) <= NAME_BYTES, "a name that is too long", start)
        read = [layers[-back].shape for back in layer.backs]
        layer.shape = shape if is_input else output_shape(c, layer, read)
        values = math.prod(layer.shape)
        c.insist(0 < values <= VALUES, "an output that is empty or too large", start)
        names.add(layer.name)
        layers.append(layer)
    return layers


def shared_text(c: Cursor, before: str, shortest: bool = True) -> str:
    """A text that shares bytes at its start with another: in its shortest form all that it can."""
    start, old = c.at, before.encode()
    shared = c.varint(len(old))
    try:
        kept = old[:shared].decode()
    except UnicodeDecodeError:
        c.fail("part of a character", start)
    rest = c.text(NAME_BYTES)
    more = rest[:1] == before[len(kept) : len(kept) + 1] != ""
    c.insist(not (shortest and more), "more could be shared", start)
    return kept + rest


def read_plain_layer(c: Cursor, layers: list[Layer], _models: Models) -> Layer:
    """A layer of version 1.0, stored in full."""
    name = shared_text(c, layers[-1].name if layers else "", shortest=False)
    layer = Layer(name, OPERATIONS[byte_below(len(OPERATIONS))(c)])
    if layer.operation.has_inputs:
        layer.fields["inputs"] = one(c)
    for key, read, _ in layer.operation.fields:
        layer.fields[key] = read(c)
    layer.backs = read_backs(c, layer.operation, len(layers))
    if layer.operation.has_inputs:
        inputs = layers[-layer.backs[0]].shape[0]
        c.insist(layer.fields["inputs"] == inputs, f"not {inputs} inputs, as it reads")
    return layer


def read_backs(c: Cursor, operation: Operation, most: int) -> tuple[int, ...]:
    backs = c.varints(operation.reads, most)
    c.insist(0 not in backs, "a layer that reads itself")
    return backs


def read_packed_layer(c: Cursor, layers: list[Layer], models: Models) -> Layer:
    """A layer of version 1.1, stored as what differs from its model."""
    before = layers[-1] if layers else Layer("", OPERATIONS[0])
    start, byte = c.at, c.byte()
    c.insist(byte & 15 < len(OPERATIONS), f"operation {byte & 15}", start)
    operation = OPERATIONS[byte & 15]
    model = models.get((operation, before.last_name))

    def stored(flag: int, usual: Any, read: Callable[[], Any]) -> Any:
        return changed(c, usual, read) if byte & flag else usual

    first = stored(16, before.first_names, lambda: shared_text(c, before.first_names))
    c.insist(first == "" or first.endswith("."), "first names without a dot at the end")
    last = stored(32, model.last_name if model else operation.name, lambda: c.text(NAME_BYTES))
    c.insist("." not in last, "a last name with a dot")
    usual = model.backs if model else (1,) * operation.reads
    backs = stored(64, usual, lambda: read_backs(c, operation, len(layers)))
    c.insist(all(back <= len(layers) for back in backs), "a layer before the first", start)

    inputs = layers[-backs[0]].shape[0] if operation.has_inputs else 0
    fields = usual_fields(operation, model, inputs)
    mask = stored(128, 0, c.byte)
    c.insist(mask >> len(operation.fields) == 0, "a field that the operation lacks")
    for bit, (key, read, _) in enumerate(operation.fields):
        if mask >> bit & 1:
            fields[key] = changed(c, fields[key], partial(read, c))
    layer = Layer(first + last, operation, backs, fields)
    models[operation, before.last_name] = layer
    return layer


def changed(c: Cursor, usual: Any, read: Callable[[], Any]) -> Any:
    """What is stored, which is not what it would be if it were not."""
    start, value = c.at, read()
    # Unlike numbers, their texts tell 0 from -0.
    c.insist(repr(value) != repr(usual), "stored, but as it would be if it were not", start)
    return value


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
    outputs = fields.get("outputs", 1)
    c.insist(0 < outputs, "no output channels")
    c.insist(not layer.operation.has_inputs or channels <= LARGEST, "more channels than allowed")
    match layer.operation.name:
        case "conv2d":
            groups = fields["groups"]
            c.insist(groups > 0 and channels % groups == 0 == outputs % groups, f"{groups} groups")
            return (outputs, *window_counts(c, fields, image))
        case "max_pool" | "avg_pool":
            inside = all(pad < side for pad, side in zip(fields["padding"], fields["kernel"] * 2))
            c.insist(inside, "padding that reaches past the window")
            return (channels, *window_counts(c, fields, image))
        case "linear":
            c.insist(image == [1, 1], "a linear layer that reads an image")
            return (outputs, 1, 1)
        case "add":
            c.insist(inputs[1] == inputs[0], "a sum of two shapes")
        case "multiply":
            c.insist(inputs[1] in (inputs[0], (channels, 1, 1)), "a product of two shapes")
        case "pad_shortcut":
            c.insist(fields["stride"] > 0, "a stride of 0")
            c.insist(outputs >= channels, "a shortcut to fewer channels")
            return (outputs, *(-(-size // fields["stride"]) for size in image))
        case "global_avg_pool":
            return (channels, 1, 1)
        case "flatten":
            return (math.prod(inputs[0]), 1, 1)
    return inputs[0]


def window_counts(c: Cursor, fields: dict[str, Any], image: list[int]) -> Iterator[int]:
    """How many windows there are, in rows and columns."""
    padding = fields["padding"]
    for axis, size in enumerate(image):
        kernel, stride, dilation = (
            fields.get(key, (1, 1))[axis] for key in ("kernel", "stride", "dilation")
        )
        c.insist(min(kernel, stride, dilation) > 0, "a kernel, stride or dilation of 0")
        if padding == "same":
            yield -(-size // stride)
        else:
            room = size + padding[axis] + padding[axis + 2] - dilation * (kernel - 1) - 1
            c.insist(room >= 0, "a window larger than the image")
            yield room // stride + 1


def tensors_of(layer: Layer) -> Iterator[tuple[str, Shape]]:
    """Names and shapes of a layer's tensors."""
    fields = layer.fields
    match layer.operation.name:
        case "conv2d":
            inputs = fields["inputs"] // fields["groups"]
            yield f"{layer.name}.weight", (fields["outputs"], inputs, *fields["kernel"])
            if fields["flags"] & 2:
                yield f"{layer.name}.scale", (fields["outputs"],)
        case "linear":
            yield f"{layer.name}.weight", (fields["outputs"], fields["inputs"])
        case "batch_norm":
            for part in ("weight", "bias", "running_mean", "running_var"):
                yield f"{layer.name}.{part}", (fields["inputs"],)
    if fields.get("flags", 0) & 1:
        yield f"{layer.name}.bias", (fields["outputs"],)
