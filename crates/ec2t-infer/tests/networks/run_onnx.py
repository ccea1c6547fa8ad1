"""Checks ONNX models, and runs them in onnxruntime.

The only argument is a folder. NUMBER-CODES.onnx are models of network NUMBER, and
NUMBER.pixels has some images for them. What each makes of these goes to
NUMBER-CODES.logits. Files of numbers hold 32-bit floats, little endian.

With codes, the bits must be those of the model without, NUMBER-dense.onnx. It is given the
other's opset first: of some operators, onnxruntime has other kernels for other opsets.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime


def run(model, images):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    [logits] = session.run(["logits"], {"pixels": images})
    return logits


for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    [batch, *shape] = model.graph.input[0].type.tensor_type.shape.dim
    assert batch.dim_param == "batch", batch
    number = path.stem.split("-")[0]
    images = np.fromfile(path.with_name(f"{number}.pixels"), "<f4")
    images = images.reshape(-1, *(dim.dim_value for dim in shape))
    logits = run(model, images)
    if not path.stem.endswith("dense"):
        dense = onnx.load(path.with_name(f"{number}-dense.onnx"))
        dense.ir_version = model.ir_version
        dense.opset_import[0].version = model.opset_import[0].version
        assert np.array_equal(logits, run(dense, images)), path
    logits.astype("<f4").tofile(path.with_suffix(".logits"))
