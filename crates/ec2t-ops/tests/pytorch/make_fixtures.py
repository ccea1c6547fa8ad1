#!/usr/bin/env python3
"""Writes what PyTorch computes for the operators of ec2t-ops, in float64.

    python make_fixtures.py > operators.safetensors

The file, in safetensors' format, holds a table of cases as JSON (its metadata
`cases`) and the results of each as float32. Inputs are not stored: both sides
make them (`values`). Of long results 256 values are stored, from all over them;
with `--all`, all values. Activations are [N, H, W, C] in the file.

Needs PyTorch; the stored file was written by 2.15.0 on a CPU.
"""

import json
import struct
import sys

import torch
import torch.nn.functional as F

# Position k of a stored result is number k * STRIDE of the values, modulo their
# number, of which it is no divisor.
STORED, STRIDE = 256, 7919

CASES = []  # what the operator is applied to, by name
RESULTS = {}  # "<name>/<result>": the stored values


def values(seed, *shape):
    """Numbers in (-1, 1) that look random: a linear congruential generator."""
    state = (seed * 0x9E37_79B9_7F4A_7C15) % 2**64 | 1
    numbers = []
    for _ in range(torch.Size(shape).numel()):
        state = (state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        numbers.append((state >> 40) / 2**23 - 1)
    return torch.tensor(numbers, dtype=torch.float64).reshape(shape)


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def gradients(y, g, **inputs):
    """The result, and the gradient of each input as `g<name>`."""
    found = torch.autograd.grad(y, list(inputs.values()), g)
    return {"y": y} | {f"g{name}": gradient for name, gradient in zip(inputs, found)}


def record(name, case, results):
    CASES.append({"name": name} | case)
    for key, result in results.items():
        flat = result.detach().reshape(-1)
        assert flat.numel() % STRIDE != 0
        stored = flat.numel() if "--all" in sys.argv else min(STORED, flat.numel())
        positions = torch.arange(stored) * STRIDE % flat.numel()
        RESULTS[f"{name}/{key}"] = flat[positions].float().tolist()


def pad(x, padding, value=0.0):
    """Pads NCHW by [top, left, bottom, right]."""
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value)


def convolution(name, batch, channels, input, kernel, stride=(1, 1), padding=(0,) * 4,
                dilation=(1, 1), groups=1):
    inputs, outputs = channels
    x = values(1, batch, *input, inputs).requires_grad_()
    w = values(2, outputs, inputs // groups, *kernel).requires_grad_()
    y = nhwc(F.conv2d(pad(nchw(x), padding), w, None, stride, 0, dilation, groups))
    shape = {
        "in_channels": inputs, "out_channels": outputs, "input": input, "kernel": kernel,
        "stride": stride, "dilation": dilation, "padding": padding, "groups": groups,
        "output": list(y.shape[1:3]),
    }
    sums = {"sums": y.sum((0, 1, 2)), "squares": y.square().sum((0, 1, 2))}
    results = gradients(y, values(3, *y.shape), x=x, w=w)
    record(name, {"op": "convolution", "batch": batch, "shape": shape}, results | sums)


def convolutions():
    conv = convolution
    one, two = (1,) * 4, (2,) * 4
    conv("first layer", 2, (3, 16), (9, 7), (3, 3), padding=one)
    conv("narrow", 1, (16, 16), (7, 5), (3, 3), padding=one)
    conv("medium", 2, (32, 32), (7, 5), (3, 3), padding=one)
    conv("wide", 1, (64, 64), (5, 7), (3, 3), padding=one)
    conv("wide, unpadded", 1, (64, 32), (8, 6), (3, 3))
    conv("wide, uneven", 3, (33, 50), (3, 9), (3, 3), padding=one)
    conv("wide, one pixel", 3, (32, 64), (1, 1), (3, 3), padding=one)
    conv("wide, same of TensorFlow", 1, (32, 32), (5, 5), (3, 3), padding=(0, 1, 2, 0))
    conv("stride 2", 2, (16, 32), (9, 8), (3, 3), (2, 2), one)
    conv("stride 3", 2, (5, 6), (10, 11), (3, 3), (3, 3), one)
    conv("stride beyond the kernel", 2, (3, 4), (7, 8), (2, 2), (4, 3))
    conv("stride 2, same of TensorFlow", 2, (4, 8), (8, 8), (3, 3), (2, 2), (0, 0, 1, 1))
    conv("stem 7x7", 1, (3, 20), (15, 13), (7, 7), (2, 2), (3,) * 4)
    conv("one channel", 1, (1, 1), (6, 5), (3, 3), padding=one)
    conv("7 to 9 channels", 2, (7, 9), (6, 5), (3, 3), padding=one)
    conv("17 to 33 channels", 2, (17, 33), (5, 4), (3, 3), padding=one)
    conv("one-pixel map", 5, (9, 10), (1, 1), (5, 5), padding=two)
    conv("output of one pixel", 1, (6, 10), (5, 4), (5, 4))
    conv("dilation", 2, (8, 8), (9, 8), (3, 3), (1, 2), (2, 3, 2, 3), (2, 3))
    conv("unequal axes", 2, (5, 6), (7, 10), (3, 2), (2, 1), (0, 1, 1, 0))
    conv("1x1", 2, (24, 40), (5, 3), (1, 1))
    conv("1x1, stride 2", 3, (16, 32), (7, 5), (1, 1), (2, 2))
    conv("1x1, padded", 2, (4, 4), (4, 3), (1, 1), padding=(1, 0, 2, 1))
    conv("groups", 2, (8, 12), (6, 5), (3, 3), padding=one, groups=4)
    conv("two groups, stride 2", 1, (34, 38), (5, 6), (3, 3), (2, 2), one, groups=2)
    conv("two filters per channel", 2, (6, 12), (5, 5), (3, 3), padding=one, groups=6)
    depthwise(3)
    depthwise(5)
    conv("depthwise, unequal axes", 1, (20, 20), (9, 11), (3, 5), (1, 3), (2, 4, 1, 3), (2, 2), 20)


def depthwise(size):
    half = (size // 2,) * 4
    same = (size // 2 - 1,) * 2 + (size // 2,) * 2
    for name, batch, channels, input, stride, padding in (
        ("stride 1", 2, 24, (7, 6), 1, half),
        ("stride 2", 2, 19, (9, 7), 2, half),
        ("same of TensorFlow", 1, 16, (8, 6), 2, same),
        ("one pixel", 3, 33, (1, 1), 1, half),
    ):
        convolution(f"depthwise {size}x{size}, {name}", batch, (channels,) * 2, input,
                    (size,) * 2, (stride,) * 2, padding, groups=channels)


def linear(batch, inputs, outputs):
    x = values(1, batch, inputs).requires_grad_()
    w = values(2, outputs, inputs).requires_grad_()
    b = torch.zeros(outputs, dtype=torch.float64, requires_grad=True)
    y = F.linear(x, w, b)
    case = {"op": "linear", "batch": batch, "inputs": inputs, "outputs": outputs}
    results = gradients(y, values(3, batch, outputs), x=x, w=w, b=b)
    record(f"linear {batch}x{inputs} to {outputs}", case, results)


def batch_norm(batch, input, channels, rectifier, residual, offset=0.0):
    """In training, and then in evaluation with the statistics that this left."""
    # The sum is rounded as in float32.
    x = (values(1, batch, *input, channels).float() + offset).double().requires_grad_()
    weight, bias = (values(seed, channels).requires_grad_() for seed in (2, 3))
    skip = values(4, *x.shape).requires_grad_()
    mean, var = values(5, channels) + offset, values(6, channels) + 1.5
    after = {"identity": lambda y: y, "relu": F.relu, "relu6": F.relu6}[rectifier]

    def forward(training):
        y = nhwc(F.batch_norm(nchw(x), mean, var, weight, bias, training, 0.1, 1e-5))
        # Scaled, so that some values reach 6.
        return after(y + 8 * skip if residual else y)

    y = forward(True)
    inputs = {"x": x, "weight": weight, "bias": bias} | ({"skip": skip} if residual else {})
    results = gradients(y, values(7, *y.shape), **inputs)
    results |= {"mean": mean, "var": var, "eval": forward(False)}
    case = {
        "op": "batch_norm", "pixels": batch * input[0] * input[1], "channels": channels,
        "rectifier": rectifier, "residual": residual, "offset": offset,
    }
    sizes = "x".join(map(str, y.shape))
    more = f"{', residual' if residual else ''}{f', mean {offset}' if offset else ''}"
    record(f"batch norm {sizes}, {rectifier}{more}", case, results)


def activation(kind, function):
    special = [0.0, -0.0, 3.0, -3.0, 6.0, -6.0, 1e-6, -1e-6, 20.0, -20.0, 80.0, -80.0]
    random = 8 * values(1, 101)
    x = torch.cat([torch.tensor(special).double(), random]).requires_grad_()
    case = {"op": "activation", "kind": kind, "special": special, "random": len(random)}
    record(kind, case, gradients(function(x), values(2, len(x)), x=x))


def multiply(batch, input, channels):
    x = values(1, batch, *input, channels).requires_grad_()
    factor = values(2, batch, channels).requires_grad_()
    y = x * factor[:, None, None, :]
    case = {"op": "multiply", "batch": batch, "pixels": input[0] * input[1], "channels": channels}
    results = gradients(y, values(3, *y.shape), x=x, factor=factor)
    record(f"squeeze-and-excitation {'x'.join(map(str, y.shape))}", case, results)


def add(count):
    """A sum one of whose operands has another reader, with the gradient h."""
    a, b = (values(seed, count).requires_grad_() for seed in (1, 2))
    y, g, h = a + b, values(3, count), values(4, count)
    results = {"y": y, "ga": torch.autograd.grad((y * g + a * h).sum(), a)[0]}
    record(f"sum of {count}", {"op": "add", "count": count}, results)


def shortcut(batch, input, channels, outputs, stride):
    """Option A, as in akamaster/pytorch_resnet_cifar10."""
    x = values(1, batch, *input, channels).requires_grad_()
    before = (outputs - channels) // 2
    y = F.pad(x[:, ::stride, ::stride, :], (before, outputs - channels - before))
    case = {"op": "shortcut", "batch": batch, "input": [*input, channels]}
    case |= {"out_channels": outputs, "stride": stride}
    name = f"option-A shortcut {'x'.join(map(str, x.shape))} to {outputs}, stride {stride}"
    record(name, case, gradients(y, values(2, *y.shape), x=x))


def pool(name, batch, channels, input, kernel, stride, padding=(0,) * 4):
    x = values(1, batch, *input, channels).requires_grad_()
    for kind, function, outside in ("max", F.max_pool2d, -torch.inf), ("mean", F.avg_pool2d, 0.0):
        y = nhwc(function(pad(nchw(x), padding, outside), kernel, stride))
        windows = {
            "channels": channels, "input": input, "kernel": kernel, "stride": stride,
            "padding": padding[:2], "output": list(y.shape[1:3]),
        }
        case = {"op": "pool", "kind": kind, "batch": batch, "windows": windows}
        record(f"{kind} pool, {name}", case, gradients(y, values(2, *y.shape), x=x))


def pools():
    pool("2x2", 2, 17, (4, 6), (2, 2), (2, 2))
    pool("overlapping and padded", 2, 9, (7, 5), (3, 3), (2, 2), (1,) * 4)
    pool("overlapping, stride 1", 1, 8, (5, 5), (3, 2), (1, 1), (1, 0, 1, 1))
    pool("gaps", 1, 16, (8, 7), (2, 2), (3, 3))
    pool("same of TensorFlow", 1, 3, (6, 6), (3, 3), (2, 2), (0, 0, 1, 1))
    pool("one pixel", 3, 5, (1, 1), (3, 3), (1, 1), (1,) * 4)
    for batch, input, channels in (2, (7, 5), 19), (1, (1, 1), 8), (3, (12, 11), 4):
        x = values(1, batch, *input, channels).requires_grad_()
        y = nchw(x).mean((2, 3))
        case = {"op": "global_mean", "batch": batch, "channels": channels}
        case |= {"pixels": input[0] * input[1]}
        results = gradients(y, values(2, *y.shape), x=x)
        record(f"global mean {'x'.join(map(str, x.shape))}", case, results)


def cross_entropy(batch, classes, smoothing, gain):
    x = values(1, batch, classes).mul(gain).requires_grad_()
    labels = [i * 7 % classes for i in range(batch)]
    y = F.cross_entropy(x, torch.tensor(labels), label_smoothing=smoothing)
    case = {"op": "cross_entropy", "classes": classes, "labels": labels}
    case |= {"smoothing": smoothing, "gain": gain}
    name = f"cross entropy {batch}x{classes}, smoothing {smoothing}, gain {gain}"
    record(name, case, gradients(y, None, x=x))


def optimizer(kind, make, state):
    """Three steps, each with a gradient of its own."""
    x = values(1, 37).requires_grad_()
    optimizer = make([x])
    for step in range(3):
        x.grad = values(2 + step, len(x))
        optimizer.step()
    results = {"x": x} | {key: optimizer.state[x][key] for key in state}
    record(kind, {"op": "optimizer", "kind": kind, "count": len(x), "steps": 3}, results)


def main():
    convolutions()
    linear(5, 64, 10)
    linear(1, 33, 7)
    batch_norm(3, (5, 3), 7, "identity", False)
    batch_norm(2, (4, 5), 16, "relu", False)
    batch_norm(1, (9, 7), 33, "relu6", True)
    batch_norm(2, (3, 3), 24, "relu", True)
    batch_norm(5, (1, 1), 40, "identity", True)
    batch_norm(2, (6, 5), 5, "relu", False, offset=100.0)
    for kind, function in {"relu": F.relu, "relu6": F.relu6, "sigmoid": torch.sigmoid,
                           "swish": F.silu, "hard_swish": F.hardswish}.items():
        activation(kind, function)
    multiply(3, (5, 4), 19)
    multiply(1, (1, 1), 8)
    add(203)
    shortcut(2, (7, 5), 3, 8, 2)
    shortcut(3, (4, 4), 16, 32, 2)
    shortcut(1, (8, 7), 5, 5, 3)
    pools()
    for settings in (4, 10, 0.0, 1.0), (3, 7, 0.1, 5.0), (1, 1000, 0.1, 20.0):
        cross_entropy(*settings)
    optimizer("sgd", lambda x: torch.optim.SGD(
        x, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4), ["momentum_buffer"])
    optimizer("adam", lambda x: torch.optim.Adam(
        x, lr=0.01, weight_decay=5e-4), ["exp_avg", "exp_avg_sq"])
    write()


def write():
    """Eight bytes of length, a JSON header, then the data: safetensors."""
    header, end = {"__metadata__": {"cases": json.dumps(CASES)}}, 0
    for key, result in RESULTS.items():
        begin, end = end, end + 4 * len(result)
        header[key] = {"dtype": "F32", "shape": [len(result)], "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    sys.stdout.buffer.write(struct.pack("<Q", len(text)) + text)
    for result in RESULTS.values():
        sys.stdout.buffer.write(struct.pack(f"<{len(result)}f", *result))


if __name__ == "__main__":
    main()
