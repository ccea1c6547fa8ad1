"""Runs and writes .ec2t models: sparse ternary convolutional networks."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

__version__: str

@final
class Model:
    """A network that is ready to run; it does not change, and any thread may call it."""

    def __call__(self, images: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits, N×classes, of images, N×C×H×W.

        uint8 are pixels, float32 values that have been normalised.

        Raises TypeError for other types, ValueError for other shapes.
        """

    @property
    def name(self) -> str:
        """Name of the network."""

    @property
    def classes(self) -> list[str]:
        """Names of the classes; empty where the file has none."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""

    @property
    def outputs(self) -> int:
        """Number of logits of an image."""

    @property
    def mean(self) -> list[float]:
        """What is taken from pixels of 0…1, for each channel, before they are divided by std."""

    @property
    def std(self) -> list[float]:
        """What pixels are divided by, for each channel."""

    @property
    def bytes(self) -> int:
        """Size of the file."""

    @property
    def sparsity(self) -> float:
        """Share of zeros among all parameters, 0…1."""

def load(path: str | PathLike[str]) -> Model:
    """Reads a model file.

    Raises OSError where it can't be read, ValueError where it is no model.
    """

def builtin(name: str) -> Model:
    """A trained model that is part of the package: "cifar10".

    Raises ValueError for other names.
    """

def architectures() -> list[str]:
    """The names that pack() knows."""

def pack(
    tensors: Mapping[str, Any],
    path: str | PathLike[str],
    *,
    arch: str,
    classes: int | Sequence[str] = 10,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    effort: Literal["balanced", "max", "ready"] = "balanced",
) -> int:
    """Writes a model file of named tensors, of PyTorch or anything that NumPy makes arrays of.

    classes is a number, or their names. mean and std say how the network wants pixels of 0…1
    normalised; they are 0 and 1 unless given. Gives the size of the file in bytes.

    Raises ValueError where the tensors are not exactly those of the architecture, OSError
    where the file can't be written.
    """
