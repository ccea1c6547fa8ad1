"""The other programs' side of `cargo xtask bench peers`.

    inference.py PROGRAM FOLDER

Says who it is on one line of JSON, then reads a request from each line of its input, and answers
it with a line of JSON. `check NETWORK IMAGES` runs the work of this name that our side has written
to the folder, `NETWORK-IMAGES.ec2t` and others, and answers how far the outputs are from ours;
`time NETWORK IMAGES` runs it for about a quarter of a second and answers the median. Networks are
converted, and models and inputs prepared, before any time is taken; what is timed begins and ends
with an array in numpy's layout.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from to_onnx import convert

ROUND_SECONDS = 0.25
RUNS = 5


class Work:
    """A network as an ONNX model, which is made where it is not there yet, with its images."""

    def __init__(self, folder, network, images):
        self.stem = folder / f"{network}-{images}"
        self.path = self.file("onnx")
        if not self.path.exists():
            onnx.save(convert(self.file("ec2t"), int(images)), self.path)
        self.model = onnx.load(self.path)
        self.shape = tuple(shape_of(self.model.graph.input[0]))
        self.names = [self.model.graph.input[0].name, self.model.graph.output[0].name]
        self.input = self.array("input").reshape(self.shape)

    def file(self, suffix):
        return self.stem.with_name(f"{self.stem.name}.{suffix}")

    def array(self, suffix):
        return np.fromfile(self.file(suffix), "<f4")


def shape_of(value):
    return [size.dim_value for size in value.type.tensor_type.shape.dim]


# Each of these makes a work ready, and gives a function that runs it once and returns its output.


def onnxruntime_session(path, work):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {work.names[0]: work.input}
    return lambda: session.run(None, inputs)[0]


def with_onnxruntime(work):
    return onnxruntime_session(work.path, work)


def with_onnxruntime_int8(work):
    """Unsigned activations and signed weights of 8 bits, with ranges from images that are not the
    input."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Batches(CalibrationDataReader):
        batches = iter(work.array("calibration").reshape(-1, *work.shape))

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {work.names[0]: batch}

    path = work.file("int8.onnx")
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(work.path, path, Batches(), **types)
    return onnxruntime_session(path, work)


def mnn_module(work, suffix, *options):
    # Not the program `mnnconvert`: it installs a package with the first `pip` of the path, and
    # sends what it converts to a server.
    import _tools
    import MNN

    path = str(work.file(suffix))
    words = ["mnnconvert", "-f", "ONNX", "--bizCode", "ec2t", *options]
    _tools.mnnconvert([*words, "--modelFile", str(work.path), "--MNNModel", path])
    # The first backend is the CPU.
    config = {"backend": 0, "numThread": 1, "precision": "high"}
    runtime = MNN.nn.create_runtime_manager((config,))
    names = [[name] for name in work.names]
    module = MNN.nn.load_module_from_file(path, *names, runtime_manager=runtime)
    images = MNN.expr.const(work.input, list(work.shape), MNN.expr.NCHW)
    # The module does not keep the runtime.
    return lambda _runtime=runtime: module.forward(images).read()


def with_mnn(work):
    return mnn_module(work, "mnn")


def with_mnn_sparse(work):
    return mnn_module(work, "sparse.mnn", "--detectSparseSpeedUp")


def with_ncnn(work):
    """ncnn has no batches: images run one after the other."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    param, weights = ncnn_files(work)
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise RuntimeError(f"ncnn can't load {param}")
    images = [ncnn.Mat(image).clone() for image in work.input]

    def run():
        outputs = []
        for image in images:
            extractor = net.create_extractor()
            extractor.input("in0", image)
            outputs.append(np.array(extractor.extract("out0")[1]))
        return np.stack(outputs)

    return run


def ncnn_files(work):
    """Layers and weights of a work for one image, by pnnx, which writes other files as well."""
    model = work.file("single.onnx")
    onnx.save(convert(work.file("ec2t"), 1), model)
    param, weights = work.file("ncnn.param"), work.file("ncnn.bin")
    shape = ",".join(map(str, (1, *work.shape[1:])))
    words = [f"inputshape=[{shape}]", "fp16=0", f"ncnnparam={param}", f"ncnnbin={weights}"]
    program = Path(sys.executable).with_name("pnnx")
    subprocess.run([program, model, *words], check=True, stdout=sys.stderr)
    param.write_text(pad_channels(param.read_text(), work.model))
    return param, weights


def pad_channels(layers, model):
    """Layers for ncnn with padding of channels, which pnnx leaves as it found it."""
    constants = {constant.name: constant for constant in model.graph.initializer}
    pads = (
        numpy_helper.to_array(constants[node.input[1]])
        for node in model.graph.node
        if node.op_type == "Pad"
    )
    lines = []
    for line in layers.splitlines():
        kind, *words = line.split() or [""]
        if kind == "Pad":
            # The same in ncnn: no rows, no columns, channels before and behind, of zeros.
            pad = next(pads)
            words = ["Padding", *words, "0=0 1=0 2=0 3=0 4=0 5=0.0", f"7={pad[1]} 8={pad[5]}"]
            line = " ".join(words)
        lines.append(line)
    return "\n".join(lines) + "\n"


def with_torch(work):
    import torch

    return torch_module(work, torch.contiguous_format)


def with_torch_channels_last(work):
    import torch

    return torch_module(work, torch.channels_last)


def torch_module(work, layout):
    """The model's nodes, one after the other, by functions of PyTorch."""
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(1)
    constants = {}
    for constant in work.model.graph.initializer:
        values = torch.tensor(numpy_helper.to_array(constant))
        constants[constant.name] = values.to(memory_format=layout) if values.dim() == 4 else values

    def step(node):
        """A function of the operands that are not constant."""
        fields = {field.name: onnx.helper.get_attribute_value(field) for field in node.attribute}
        values = [constants[name] for name in node.input if name in constants]
        match node.op_type:
            case "Conv":
                top, left, bottom, right = fields["pads"]
                even = (top, left) == (bottom, right)
                padding = (top, left) if even else 0
                words = (*values, fields["strides"], padding, fields["dilations"], fields["group"])
                if even:
                    return lambda x: F.conv2d(x, *words)
                return lambda x: F.conv2d(F.pad(x, (left, right, top, bottom)), *words)
            case "Gemm":
                return lambda x: F.linear(x, *values)
            case "Relu":
                return F.relu
            case "Clip":
                return F.relu6
            case "Add":
                return torch.add
            case "MaxPool":
                rows, columns = fields["strides"]
                return lambda x: x[:, :, ::rows, ::columns]
            case "Pad":
                before, behind = int(values[0][1]), int(values[0][5])
                return lambda x: F.pad(x, (0, 0, 0, 0, before, behind))
            case "GlobalAveragePool":
                return lambda x: F.adaptive_avg_pool2d(x, 1)
            case "Flatten":
                return lambda x: x.flatten(1)
        raise ValueError(f"{node.name}: no {node.op_type}")

    steps = [
        (step(node), [name for name in node.input if name not in constants], node.output[0])
        for node in work.model.graph.node
    ]
    images = torch.tensor(work.input).to(memory_format=layout)
    first, last = work.names

    def run():
        with torch.inference_mode():
            values = {first: images}
            for function, inputs, output in steps:
                values[output] = function(*(values[name] for name in inputs))
            return values[last].numpy()

    return run


PROGRAMS = {
    "onnxruntime": (with_onnxruntime, "onnxruntime"),
    "onnxruntime-int8": (with_onnxruntime_int8, "onnxruntime"),
    "mnn": (with_mnn, "MNN"),
    "mnn-sparse": (with_mnn_sparse, "MNN"),
    "ncnn": (with_ncnn, "ncnn"),
    "torch": (with_torch, "torch"),
    "torch-channels-last": (with_torch_channels_last, "torch"),
}


def check(work, run):
    output, ours = np.asarray(run()).reshape(-1), work.array("output")
    if output.shape != ours.shape:
        raise ValueError(f"{output.size} values, ours are {ours.size}")
    return {"error": float(abs(output - ours).max()), "largest": float(abs(ours).max())}


def measure(run):
    """The median, in milliseconds, of the runs of a round."""
    times, begin = [], time.perf_counter()
    while len(times) < RUNS or time.perf_counter() - begin < ROUND_SECONDS:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {"milliseconds": statistics.median(times) * 1e3}


@contextlib.contextmanager
def answers():
    """Where answers go. What libraries print goes to stderr instead."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w") as stream:
        os.dup2(2, 1)

        def answer(**fields):
            print(json.dumps(fields), file=stream, flush=True)

        yield answer


def main():
    prepare, package = PROGRAMS[sys.argv[1]]
    folder = Path(sys.argv[2])
    with answers() as answer:
        answer(peer=f"{package} {version(package)}", threads=1)
        current, work, run = None, None, None
        for line in sys.stdin:
            verb, *subject = line.split()
            if subject != current:
                work = run = None  # one work at a time is in memory
                work = Work(folder, *subject)
                current, run = subject, prepare(work)
            answer(**(check(work, run) if verb == "check" else measure(run)))


main()
