#!/usr/bin/env python3
"""Networks of torchvision and timm as PyTorch's two exporters write them.

    exporters.py FOLDER

writes for each network `NAME-EXPORTER.onnx` and `NAME-EXPORTER.outputs.pth`, an image
[1, 3, H, W] and what onnxruntime makes of it. tests/exporters.rs reads them.

The exporter that traces, `legacy`, writes models of one image, in one file; the one that takes
torch.export's graph, `dynamo`, models of any number of images, with weights in a file beside.
Weights are random, and normalisations have the means and variances of some random images.
"""

import sys
import warnings
from pathlib import Path

import onnxruntime
import timm
import torch
import torchvision.models

SIZE = 224
# Images that normalisations have their statistics from.
STATISTICS = 8

TORCHVISION = [
    "resnet18",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "squeezenet1_1",
    "shufflenet_v2_x0_5",
    "densenet121",
]
TIMM = ["resnet26", "mobilenetv3_small_050", "efficientnet_lite0"]


def with_statistics(network):
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean of all batches
    with torch.no_grad():
        network.train()(torch.randn(STATISTICS, 3, SIZE, SIZE))
    return network.eval()


def legacy(network, image, path):
    torch.onnx.export(network, image, path, dynamo=False)


def dynamo(network, image, path):
    images = image.repeat(2, 1, 1, 1)
    shapes = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(network, (images,), path, dynamo=True, dynamic_shapes=shapes)


def logits(path, image):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [found] = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    return torch.from_numpy(found)


def main(folder):
    warnings.simplefilter("ignore")
    makers = [(name, getattr(torchvision.models, name)) for name in TORCHVISION]
    makers += [(name, lambda name=name: timm.create_model(name)) for name in TIMM]
    for name, make in makers:
        torch.manual_seed(1)
        network = with_statistics(make())
        image = torch.randn(1, 3, SIZE, SIZE)
        for exporter in (legacy, dynamo):
            stem = f"{name}-{exporter.__name__}"
            exporter(network, image, folder / f"{stem}.onnx")
            outputs = {"images": image, "logits": logits(folder / f"{stem}.onnx", image)}
            torch.save(outputs, folder / f"{stem}.outputs.pth")
        print(name, file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
