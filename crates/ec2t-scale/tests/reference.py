#!/usr/bin/env python3
"""Names, shapes and costs of PyTorch's networks.

Prints reference.txt: for each network its name, rows of its images, number of
parameters, multiply-accumulates, number of tensors, and the SHA-256 hash of
its tensors' lines. With the names of networks as arguments it prints these
lines, `NAME SHAPE`, sorted.

Needs torch, torchvision and timm; downloads no weights.
"""

import hashlib
import sys

import timm
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

TORCHVISION = {
    **{f"efficientnet_b{i}": size for i, size in enumerate([224, 240, 288, 300, 380, 456, 528, 600])},
    "mobilenet_v2": 224,
    **{f"resnet{depth}": 224 for depth in [18, 34, 50]},
}
LITE = {f"efficientnet_lite{i}": size for i, size in enumerate([224, 240, 260, 280, 300])}


def build(name):
    with torch.device("meta"):
        if name in LITE:
            return timm.create_model(f"tf_{name}", pretrained=False).eval()
        return torchvision.models.get_model(name, weights=None).eval()


def tensors(model):
    state = model.state_dict().items()
    kept = [(name, t.shape) for name, t in state if not name.endswith(".num_batches_tracked")]
    return sorted(f"{name} {'x'.join(map(str, shape))}" for name, shape in kept)


def multiply_accumulates(model, size):
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops() // 2


def summary(name, size):
    model = build(name)
    lines = tensors(model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    macs = multiply_accumulates(model, size)
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return f"{name} {size} {parameters} {macs} {len(lines)} {digest}"


if sys.argv[1:]:
    for name in sys.argv[1:]:
        print(*tensors(build(name)), sep="\n")
else:
    for name, size in (TORCHVISION | LITE).items():
        print(summary(name, size))
