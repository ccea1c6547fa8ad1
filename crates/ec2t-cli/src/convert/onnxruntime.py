"""Runs an ONNX model in onnxruntime for `ec2t export --check`.

The only argument is the model's path. Batches come in on stdin: the number of images as 32
bits, then their pixels, 32-bit floats. For each batch, the outputs go to stdout, 32-bit floats.
All are little endian.
"""

import sys

import numpy as np
import onnxruntime


def main(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # Errors only: stderr is shown where something fails.
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    [pixels] = session.get_inputs()
    shape = pixels.shape[1:]
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    while header := stdin.read(4):
        count = int.from_bytes(header, "little")
        batch = stdin.read(4 * count * int(np.prod(shape)))
        images = np.frombuffer(batch, "<f4").reshape(count, *shape)
        [outputs] = session.run(None, {pixels.name: images})
        stdout.write(outputs.astype("<f4").tobytes())
        stdout.flush()


main(sys.argv[1])
