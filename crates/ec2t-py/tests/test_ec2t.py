"""The package beside the program: both run the same file on the same pictures.

EC2T_PROGRAM names the program, EC2T_MODEL a file of a ResNet-20 for CIFAR-10.
"""

import json
import os
import struct
import subprocess
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

import ec2t

MODEL = Path(os.environ["EC2T_MODEL"])
PROGRAM = os.environ["EC2T_PROGRAM"]


@pytest.fixture(scope="module")
def model():
    return ec2t.load(MODEL)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(7).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)


def normalised(model, images):
    mean, std = (np.float32(values).reshape(1, 3, 1, 1) for values in (model.mean, model.std))
    return (images.astype(np.float32) / np.float32(255) - mean) / std


def write_png(path, image):
    """Writes C×H×W pixels as a PNG in colour."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = image.transpose(1, 2, 0)
    height, width, _ = rows.shape
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def test_probabilities_are_those_of_the_program(model, images, tmp_path):
    for number, image in enumerate(images):
        write_png(tmp_path / f"{number}.png", image)
    pictures = [tmp_path / f"{number}.png" for number in range(len(images))]
    command = [PROGRAM, "run", MODEL, *pictures, "--top", "10", "--json"]
    answers = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    for answer, logits in zip(answers, model(images), strict=True):
        powers = np.exp(logits - logits.max())
        expected = powers / powers.sum()
        for guess in answer["top"]:
            assert guess["name"] == model.classes[guess["class"]]
            assert guess["probability"] == pytest.approx(expected[guess["class"]], abs=1e-6)


def test_pixels_and_normalised_values_give_the_same_bits(model, images):
    logits = model(images)
    assert logits.shape == (5, 10) and logits.dtype == np.float32
    np.testing.assert_array_equal(logits, model(normalised(model, images)))
    np.testing.assert_array_equal(logits[2:3], model(images[2:3]))


def test_views_are_read_as_numpy_reads_them(model, images):
    expected = model(np.ascontiguousarray(images[::2, :, ::-1]))
    np.testing.assert_array_equal(expected, model(images[::2, :, ::-1]))
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(model(images), model(channels_last.transpose(0, 3, 1, 2)))


def test_a_batch_may_be_empty(model, images):
    assert model(images[:0]).shape == (0, 10)


def test_models_tell_about_themselves(model):
    assert model.name == "resnet20" and model.outputs == 10
    assert model.input_shape == (3, 32, 32)
    assert model.classes[3] == "cat" and len(model.classes) == 10
    assert model.bytes == MODEL.stat().st_size
    assert model.sparsity == pytest.approx(0.64215, abs=5e-6)
    assert "resnet20" in repr(model) and "3×32×32" in repr(model)


def test_the_model_of_the_package_answers(images):
    assert ec2t.builtin("cifar10")(images).shape == (5, 10)
    with pytest.raises(ValueError, match="no model `imagenet`.*cifar10"):
        ec2t.builtin("imagenet")


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32), (1, 32, 32, 3), (0,), ()])
def test_other_shapes_are_refused(model, shape):
    with pytest.raises(ValueError, match="expected images of N×3×32×32, found"):
        model(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.int8, bool, np.float16])
def test_other_types_are_refused(model, dtype):
    with pytest.raises(TypeError, match=f"expected uint8 .* found {np.dtype(dtype)}"):
        model(np.zeros((1, 3, 32, 32), dtype))


def test_what_is_no_array_is_refused(model):
    with pytest.raises(TypeError, match="expected a NumPy array, found .*list"):
        model([[0.0]])


def test_bad_files_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.ec2t"):
        ec2t.load(tmp_path / "none.ec2t")
    with pytest.raises(IsADirectoryError):
        ec2t.load(tmp_path)
    bad = tmp_path / "bad.ec2t"
    bad.write_bytes(MODEL.read_bytes()[:-1])
    with pytest.raises(ValueError, match="bad.ec2t: .*expected [0-9]+ bytes"):
        ec2t.load(str(bad))


def test_other_threads_run_meanwhile(model, images):
    many = np.repeat(images, 400, axis=0)
    done = threading.Event()
    result = []

    def compute():
        result.append(model(many))
        done.set()

    thread = threading.Thread(target=compute)
    thread.start()
    turns = 0
    while not done.wait(0.001):
        turns += 1
    thread.join()
    # With the lock held, this thread would have had one long turn or two.
    assert turns > 4
    np.testing.assert_array_equal(result[0][:1], model(many[:1]))


def lenet(seed=3):
    """Tensors of a LeNet-5; those of the layer `fc1` are ternary."""
    random = np.random.default_rng(seed)
    shapes = {
        "conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5),
        "fc1": (120, 400), "fc2": (84, 120), "fc3": (10, 84),
    }
    tensors = {}
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = random.normal(0, 0.1, shape).astype(np.float32)
        tensors[f"{name}.bias"] = random.normal(0, 0.1, shape[0]).astype(np.float32)
    codes = random.choice(np.float32([-0.25, 0.0, 0.5]), (120, 400), p=[0.1, 0.8, 0.1])
    tensors["fc1.weight"] = codes
    return tensors


def test_a_packed_file_computes_what_its_tensors_say(tmp_path):
    tensors, path = lenet(), tmp_path / "lenet.ec2t"
    names = [f"digit {number}" for number in range(10)]
    size = ec2t.pack(tensors, path, arch="lenet5", classes=names, mean=[0.5], std=[0.25])
    model = ec2t.load(path)
    assert (size, model.bytes, model.classes) == (path.stat().st_size,) * 2 + (names,)
    assert (model.mean, model.std) == ([0.5], [0.25])
    zeros = (tensors["fc1.weight"] == 0).sum() / sum(tensor.size for tensor in tensors.values())
    assert model.sparsity == pytest.approx(zeros)

    image = np.random.default_rng(1).integers(0, 256, (1, 1, 28, 28), dtype=np.uint8)
    np.testing.assert_allclose(model(image)[0], reference(tensors, image[0, 0]), rtol=1e-4, atol=1e-4)


def reference(tensors, pixels):
    """LeNet-5 in double precision: convolutions, ReLU and maxima, then matrices."""
    value = ((pixels / 255 - 0.5) / 0.25)[np.newaxis]
    for name, padding in (("conv1", 2), ("conv2", 0)):
        value = np.pad(value, ((0, 0), (padding,) * 2, (padding,) * 2))
        windows = np.lib.stride_tricks.sliding_window_view(value, (5, 5), axis=(1, 2))
        value = np.einsum("chwij,ocij->ohw", windows, tensors[f"{name}.weight"].astype(float))
        value = np.maximum(value + tensors[f"{name}.bias"][:, np.newaxis, np.newaxis], 0)
        channels, height, width = value.shape
        value = value.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4))
    value = value.reshape(-1)
    for name in ("fc1", "fc2", "fc3"):
        value = tensors[f"{name}.weight"].astype(float) @ value + tensors[f"{name}.bias"]
        if name != "fc3":
            value = np.maximum(value, 0)
    return value


class Tensor:
    """What the package needs of a tensor of PyTorch."""

    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    cpu = float = detach

    def __array__(self, dtype=None, copy=None):
        return self.array.astype(dtype or self.array.dtype)


def test_tensors_may_be_those_of_pytorch(tmp_path):
    tensors = lenet()
    ec2t.pack(tensors, tmp_path / "a.ec2t", arch="lenet5")
    wrapped = {name: Tensor(array) for name, array in tensors.items()}
    ec2t.pack(wrapped, tmp_path / "b.ec2t", arch="lenet5")
    assert (tmp_path / "a.ec2t").read_bytes() == (tmp_path / "b.ec2t").read_bytes()


def test_tensors_must_be_those_of_the_architecture(tmp_path):
    path = tmp_path / "model.ec2t"
    tensors = lenet()
    tensors["fc4.bias"] = tensors.pop("fc3.bias")
    with pytest.raises(ValueError, match="(?s)does not fit `lenet5`.*missing +fc3.bias"):
        ec2t.pack(tensors, path, arch="lenet5")
    with pytest.raises(ValueError, match="unknown architecture `lenet6`; known are"):
        ec2t.pack(lenet(), path, arch="lenet6")
    with pytest.raises(ValueError, match="tensors: fc1.bias: "):
        ec2t.pack(lenet() | {"fc1.bias": "none"}, path, arch="lenet5")
    with pytest.raises(ValueError, match="effort is balanced, max or ready"):
        ec2t.pack(lenet(), path, arch="lenet5", effort="least")
    with pytest.raises(ValueError, match="preprocessing: expected 1"):
        ec2t.pack(lenet(), path, arch="lenet5", mean=[0.5, 0.5])
    assert not path.exists()
    with pytest.raises(FileNotFoundError, match="none"):
        ec2t.pack(lenet(), tmp_path / "none" / "model.ec2t", arch="lenet5")


def test_architectures_have_names():
    assert {"resnet20", "lenet5", "efficientnet_b0"} <= set(ec2t.architectures())
