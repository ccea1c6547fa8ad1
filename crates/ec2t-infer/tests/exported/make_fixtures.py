"""Writes the ONNX models that the test reads, as PyTorch's two exporters make them.

Needs torch, torchvision, onnx and onnxscript. Weights are random, from a fixed seed. Models
are for batches of any size. logits.csv has a line for each model: its name, and what PyTorch
makes of the image of `image`.
"""

import warnings
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops import Conv2dNormActivation, SqueezeExcitation

FOLDER = Path(__file__).parent


class Block(nn.Module):
    """A residual block whose shortcut is a convolution or, in option A, pixels and zeros."""

    def __init__(self, inputs, outputs, option_a):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.missing = outputs - inputs
        self.downsample = None
        if not option_a:
            layers = nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs)
            self.downsample = nn.Sequential(*layers)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.downsample is None:
            half = self.missing // 2
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, self.missing - half))
        else:
            x = self.downsample(x)
        return torch.relu(x + y)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = Block(8, 12, option_a=False)
        self.layer2 = Block(12, 17, option_a=True)
        self.fc = nn.Linear(17, 5)

    def forward(self, x):
        x = self.layer2(self.layer1(self.pool(self.stem(x))))
        x = functional.avg_pool2d(x, x.size()[3])
        return self.fc(x.view(x.size(0), -1))


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            Conv2dNormActivation(3, 8, 3, 2, activation_layer=nn.ReLU6),
            InvertedResidual(8, 8, 1, 1),
            InvertedResidual(8, 12, 2, 3),
            InvertedResidual(12, 12, 1, 3),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(12, 5))

    def forward(self, x):
        x = functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


class EfficientNet(nn.Module):
    def __init__(self):
        super().__init__()
        norm = {"activation_layer": nn.SiLU}
        self.stem = Conv2dNormActivation(3, 8, 3, 2, **norm)
        self.depthwise = Conv2dNormActivation(8, 8, 5, 1, groups=8, **norm)
        self.excite = SqueezeExcitation(8, 4, activation=nn.SiLU)
        self.project = Conv2dNormActivation(8, 12, 1, activation_layer=None)
        self.act = nn.Hardswish()
        self.hidden = nn.Linear(12, 9, bias=False)
        self.classifier = nn.Linear(9, 5)

    def forward(self, x):
        x = self.project(self.excite(self.depthwise(self.stem(x))))
        return self.classifier(torch.relu(self.hidden(self.act(x).mean([2, 3]))))


def image():
    """Values of −1 to 1, as the test makes them."""
    values = torch.arange(3 * 16 * 16) * 37 % 101
    return (values.float() / 50 - 1).reshape(1, 3, 16, 16)


def main():
    warnings.simplefilter("ignore")
    torch.manual_seed(7)
    lines = []
    for network in (ResNet, MobileNet, EfficientNet):
        model = network()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.2)
                nn.init.normal_(module.running_mean, 0, 0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
        model.eval()
        name = network.__name__.lower()
        logits = model(image()).flatten().tolist()
        lines.append(",".join([name, *map(repr, logits)]))
        legacy = FOLDER / f"{name}-legacy.onnx"
        axes = {"x": {0: "batch"}}
        torch.onnx.export(
            model, image(), legacy, input_names=["x"], dynamic_axes=axes, dynamo=False
        )
        batch = torch.export.Dim("batch")
        images = image().repeat(2, 1, 1, 1)
        program = torch.onnx.export(
            model, (images,), dynamo=True, dynamic_shapes={"x": {0: batch}}, external_data=False
        )
        for node in program.model.graph:
            node.metadata_props.clear()
        program.save(FOLDER / f"{name}-dynamo.onnx")
    (FOLDER / "logits.csv").write_text("\n".join(lines) + "\n")


main()
