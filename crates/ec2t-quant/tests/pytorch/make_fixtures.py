#!/usr/bin/env python3
"""Trains ResNet-20 on CIFAR-10 with PyTorch, to compare with.

    python make_fixtures.py step > step.json
    python make_fixtures.py losses > losses.csv

`step`: one step from akamaster's checkpoint, in float64: the loss, and of each
tensor in the state after it the Euclidean norm and four products with random
signs. `--all` writes all values instead, and the gradients, as safetensors.

`losses`: the loss of each of 100 steps from fixed initial values, in float64 and
four times in float32, each with another order of sums. How far these are from
the first tells what rounding alone does. The learning rate is low: at 0.1, all
runs are as far apart after ten steps as any two networks.

Images are taken in the order of their SHA-256, whatever their order in the files
is. Needs PyTorch (the stored files were written by 2.15.0 on a CPU), and as the
tests do EC2T_DATA_DIR and EC2T_MODELS_DIR.
"""

import hashlib
import json
import os
import struct
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PRODUCTS = 4
STEPS, BATCH = 100, 32


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.pad = stride, (outputs - inputs) // 2

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.pad:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + x)


class ResNet20(nn.Module):
    """With the names of akamaster/pytorch_resnet_cifar10, and its shortcuts."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))

    def tensors(self):
        state = self.state_dict().items()
        return {name: value for name, value in state if "num_batches" not in name}


def images(count):
    """Training images and labels, those with the least digests."""
    folder = Path(os.environ["EC2T_DATA_DIR"], "cifar-10-batches-bin")
    records = []
    for file in range(1, 6):
        data = (folder / f"data_batch_{file}.bin").read_bytes()
        records += [data[at : at + 3073] for at in range(0, len(data), 3073)]
    records.sort(key=lambda record: hashlib.sha256(record[1:]).digest())
    records = torch.frombuffer(bytearray(b"".join(records[:count])), dtype=torch.uint8)
    records = records.reshape(count, 3073)
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, STD))
    return (records[:, 1:].reshape(count, 3, 32, 32) / 255 - mean) / std, records[:, 0].long()


def random_bits(seed):
    """The upper 24 bits of a linear congruential generator, one after the other."""
    state = (seed * 0x9E37_79B9_7F4A_7C15) % 2**64 | 1
    while True:
        state = (state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        yield state >> 40


def sgd(model, lr):
    return torch.optim.SGD(
        model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4
    )


def train(model, x, labels, optimizer):
    loss = F.cross_entropy(model(x), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def step():
    model = ResNet20()
    file = Path(os.environ["EC2T_MODELS_DIR"], "resnet20-12fca82f.th")
    state = torch.load(file, map_location="cpu")["state_dict"]
    model.load_state_dict({k.removeprefix("module."): v for k, v in state.items()}, strict=False)
    model.double()
    x, labels = images(128)
    loss = train(model, x.double(), labels, sgd(model, 0.1))
    tensors = model.tensors()
    if "--all" in sys.argv:
        gradients = {f"{name}.grad": value.grad for name, value in model.named_parameters()}
        return write_safetensors(loss, tensors | gradients)
    lines = (f"  {json.dumps(name)}: {json.dumps(digest(value))}" for name, value in tensors.items())
    print(f'{{\n  "loss": {loss:.9e},\n' + ",\n".join(lines) + "\n}")


def digest(value):
    """The Euclidean norm, then the products with random signs."""
    flat = value.flatten()
    numbers = [flat.norm().item()]
    for seed in range(PRODUCTS):
        bits = random_bits(seed)
        signs = [1.0 if next(bits) >> 23 else -1.0 for _ in range(len(flat))]
        numbers.append(flat.dot(torch.tensor(signs).double()).item())
    return [float(f"{number:.8e}") for number in numbers]


def write_safetensors(loss, tensors):
    """Eight bytes of length, a JSON header, then the data."""
    header, end = {"__metadata__": {"loss": repr(loss)}}, 0
    for name, value in tensors.items():
        begin, end = end, end + 8 * value.numel()
        shape = list(value.shape)
        header[name] = {"dtype": "F64", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    sys.stdout.buffer.write(struct.pack("<Q", len(text)) + text)
    for value in tensors.values():
        sys.stdout.buffer.write(value.detach().contiguous().numpy().tobytes())


@torch.no_grad()
def initialize(model):
    """Random weights of the variance that He et al. derive; all else is at its start."""
    for seed, value in enumerate(model.tensors().values()):
        if value.dim() > 1:
            bound = (6 / value[0].numel()) ** 0.5
            bits = random_bits(seed)
            numbers = [bound * (next(bits) / 2**23 - 1) for _ in range(value.numel())]
            value.copy_(torch.tensor(numbers, dtype=torch.float64).reshape(value.shape))
    model.linear.bias.zero_()


def curve(x, labels, dtype, threads=2, layout=torch.contiguous_format, onednn=True):
    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = onednn
    model = ResNet20()
    initialize(model)
    model.to(dtype=dtype, memory_format=layout)
    optimizer = sgd(model, 0.001)
    parts = zip(x.to(dtype).split(BATCH), labels.split(BATCH))
    return [train(model, x.to(memory_format=layout), y, optimizer) for x, y in parts]


def losses():
    data = images(STEPS * BATCH)
    curves = {
        "float64": curve(*data, torch.float64),
        "float32": curve(*data, torch.float32),
        "one_thread": curve(*data, torch.float32, threads=1),
        "channels_last": curve(*data, torch.float32, layout=torch.channels_last),
        "without_onednn": curve(*data, torch.float32, onednn=False),
    }
    print(",".join(curves))
    for row in zip(*curves.values()):
        print(",".join(f"{loss:.7f}" for loss in row))


if __name__ == "__main__":
    {"step": step, "losses": losses}[sys.argv[1]]()
