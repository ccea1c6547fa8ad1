"""PyTorch's side of `cargo xtask bench training`.

Says who it is on one line of JSON, then reads a work from each line of its input
(`NAME` or `NAME channels_last`), runs it for about half a second and answers with
a line of JSON. The networks are those of ec2t, layer by layer; numbers of trained
parameters are compared. Batches are made, and brought into the memory format,
before any time is taken.
"""

import json
import os
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

ROUND_SECONDS = 0.5


class Shortcut(nn.Module):
    """Every second pixel, between channels of zeros (ResNet's option A)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.pad = (outputs - inputs) // 2

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))


class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = Shortcut(inputs, outputs) if stride == 2 else nn.Identity()

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        return F.relu(y, inplace=True)


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    for inputs, outputs, stride in [(16, 16, 1), (16, 32, 2), (32, 64, 2)]:
        layers.append(ResidualBlock(inputs, outputs, stride))
        layers += [ResidualBlock(outputs, outputs, 1) for _ in range(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def conv_norm(inputs, outputs, kernel=1, stride=1, groups=1):
    padding = kernel // 2
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class MobileNetBlock(nn.Module):
    """MobileNetV2's block from 16 channels to 96 and back."""

    def __init__(self, channels=16, hidden=96):
        super().__init__()
        self.block = nn.Sequential(
            *conv_norm(channels, hidden),
            nn.ReLU6(inplace=True),
            *conv_norm(hidden, hidden, kernel=3, groups=hidden),
            nn.ReLU6(inplace=True),
            *conv_norm(hidden, channels),
        )

    def forward(self, x):
        return x + self.block(x)


class SqueezeExcitation(nn.Module):
    def __init__(self, channels, squeezed):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x):
        means = F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.fc2(F.silu(self.fc1(means), inplace=True)))


class EfficientBlock(nn.Module):
    """Without stochastic depth, which ec2t does not have."""

    def __init__(self, inputs, outputs, expand, kernel, stride):
        super().__init__()
        hidden = expand * inputs
        layers = []
        if expand != 1:
            layers += [*conv_norm(inputs, hidden), nn.SiLU(inplace=True)]
        layers += [*conv_norm(hidden, hidden, kernel, stride, hidden), nn.SiLU(inplace=True)]
        layers += [SqueezeExcitation(hidden, inputs // 4), *conv_norm(hidden, outputs)]
        self.block = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.block(x)
        return y.add_(x) if self.residual else y


def efficientnet_b0():
    stages = [  # expansion, kernel, stride, channels, blocks
        (1, 3, 1, 16, 1),
        (6, 3, 2, 24, 2),
        (6, 5, 2, 40, 2),
        (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    ]
    layers = [*conv_norm(3, 32, 3, 2), nn.SiLU(inplace=True)]
    inputs = 32
    for expand, kernel, stride, outputs, blocks in stages:
        for block in range(blocks):
            stride_here = stride if block == 0 else 1
            layers.append(EfficientBlock(inputs, outputs, expand, kernel, stride_here))
            inputs = outputs
    layers += [*conv_norm(320, 1280), nn.SiLU(inplace=True), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, 1000))


# Each of these makes a model ready, and a function that does the work once.


def step(model, batch, size, classes, layout):
    """Forward, backward, and SGD with Nesterov momentum."""
    model = model.train().to(memory_format=layout)
    images = torch.randn(batch, 3, size, size).to(memory_format=layout)
    labels = torch.arange(batch) % classes
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    )

    def run():
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return model, run


def forward(model, batch, size, layout):
    """Forward in training, so with all that backward would need."""
    model = model.train().to(memory_format=layout)
    images = torch.randn(batch, 3, size, size).to(memory_format=layout)
    return model, lambda: model(images)


def both_ways(model, channels, layout):
    """Forward and backward, with the gradient of the input."""
    model = model.train().to(memory_format=layout)
    x = torch.randn(128, channels, 16, 16).to(memory_format=layout).requires_grad_()
    gradient = torch.randn(128, channels, 16, 16).to(memory_format=layout)

    def run():
        x.grad = None
        model.zero_grad(set_to_none=True)
        model(x).backward(gradient)

    return model, run


def depthwise(kernel, layout):
    conv = nn.Conv2d(96, 96, kernel, padding=kernel // 2, groups=96, bias=False)
    return both_ways(conv, 96, layout)


WORKS = {
    "resnet20-step": lambda layout: step(resnet20(), 128, 32, 10, layout),
    "resnet20-forward": lambda layout: forward(resnet20(), 128, 32, layout),
    "mobilenet-block": lambda layout: both_ways(MobileNetBlock(), 16, layout),
    "depthwise-3x3": lambda layout: depthwise(3, layout),
    "depthwise-5x5": lambda layout: depthwise(5, layout),
    "efficientnet-b0-step": lambda layout: step(efficientnet_b0(), 16, 224, 1000, layout),
}


def mean_milliseconds(run):
    start, repetitions = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < ROUND_SECONDS:
        run()
        repetitions += 1
    return elapsed * 1e3 / repetitions


def answer(**fields):
    print(json.dumps(fields), flush=True)


def main():
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    answer(peer=f"torch {torch.__version__}", threads=torch.get_num_threads())
    current, loaded = None, {}
    for line in sys.stdin:
        name, *options = line.split()
        if name != current:
            current, loaded = name, {}  # one work at a time is in memory
        layout = torch.channels_last if "channels_last" in options else torch.contiguous_format
        if layout not in loaded:
            loaded[layout] = WORKS[name](layout)
        model, run = loaded[layout]
        parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        answer(milliseconds=mean_milliseconds(run), parameters=parameters)


main()
