#!/usr/bin/env python3
"""One training pass of PyTorch's image networks.

Prints what src/pretrain/tests/image_networks.rs expects of one batch, computed
in float64: the loss, the logits of the first image afterwards in evaluation,
and for some parameters the product of the gradient with a ramp, and the sum of
its magnitudes. The last two columns are by how much of that sum both differ in
PyTorch's own float32.

Needs torch, torchvision and timm; downloads no weights.
"""

import math

import timm
import torch
import torchvision

BATCH, SIZE, CLASSES = 6, 64, 10

EFFICIENTNET = torchvision.models.efficientnet_b0(
    num_classes=CLASSES, dropout=0.0, stochastic_depth_prob=0.0
)
LITE = timm.create_model("tf_efficientnet_lite0", num_classes=CLASSES)
RESNET = torchvision.models.resnet18(num_classes=CLASSES)

NETWORKS = {
    "efficientnet_b0": (
        EFFICIENTNET,
        [
            "features.0.0.weight",
            "features.1.0.block.0.1.bias",
            "features.1.0.block.1.fc1.bias",
            "features.2.0.block.0.0.weight",
            "features.2.0.block.1.0.weight",
            "features.3.1.block.1.0.weight",
            "features.4.0.block.3.1.weight",
            "features.6.0.block.1.0.weight",
            "features.7.0.block.2.fc1.weight",
            "features.7.0.block.2.fc2.weight",
            "features.7.0.block.2.fc2.bias",
            "features.8.0.weight",
            "classifier.1.bias",
        ],
    ),
    "efficientnet_lite0": (
        LITE,
        [
            "conv_stem.weight",
            "blocks.0.0.conv_dw.weight",
            "blocks.1.0.conv_dw.weight",
            "blocks.2.0.conv_dw.weight",
            "blocks.5.3.conv_pwl.weight",
            "conv_head.weight",
            "classifier.weight",
        ],
    ),
    "resnet18": (
        RESNET,
        ["conv1.weight", "layer2.0.downsample.0.weight", "layer4.1.conv2.weight", "fc.weight"],
    ),
}


def ramp(count, seed):
    i = torch.arange(count, dtype=torch.int64)
    return ((i * 7919 + seed * 104_729) % 1009).float() / 504.0 - 1.0


@torch.no_grad()
def fill(model):
    tensors = model.state_dict()
    names = [name for name in tensors if not name.endswith("num_batches_tracked")]
    norms = {name.removesuffix(".running_var") for name in names if name.endswith(".running_var")}
    for position, name in enumerate(names):
        tensor = tensors[name]
        layer, _, suffix = name.rpartition(".")
        if suffix == "running_var" or (suffix == "weight" and layer in norms):
            centre, slope = 1.0, 0.2
        elif suffix == "weight":
            centre, slope = 0.0, torch.tensor(math.sqrt(2.0 / math.prod(tensor.shape[1:]))).float()
        else:
            centre, slope = 0.0, 0.1
        tensor.copy_((centre + slope * ramp(tensor.numel(), position)).reshape(tensor.shape))


def run(model, names, dtype):
    fill(model.float())
    model.to(dtype).train().zero_grad()
    images = ramp(BATCH * 3 * SIZE * SIZE, 1000).reshape(BATCH, 3, SIZE, SIZE).to(dtype)
    labels = torch.tensor([i * 3 % CLASSES for i in range(BATCH)])
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    with torch.no_grad():
        logits = model.eval()(images[:1])[0].tolist()
    gradients = {name: model.get_parameter(name).grad.flatten() for name in names}
    products = {n: (g * ramp(g.numel(), 7).to(dtype)).sum().item() for n, g in gradients.items()}
    sizes = {n: g.abs().sum().item() for n, g in gradients.items()}
    return loss.item(), logits, products, sizes


for network, (model, names) in NETWORKS.items():
    loss, logits, products, sizes = run(model, names, torch.float64)
    single = run(model, names, torch.float32)
    print(f"{network}: {loss:.6f}, {single[0] - loss:.0e}")
    print("    " + ", ".join(f"{value:.6f}" for value in logits))
    for name in names:
        errors = [abs(products[name] - single[2][name]), abs(sizes[name] - single[3][name])]
        errors = " ".join(f"{error / sizes[name]:.0e}" for error in errors)
        print(f'    ("{name}", {products[name]:.6f}, {sizes[name]:.6f}), {errors}')
