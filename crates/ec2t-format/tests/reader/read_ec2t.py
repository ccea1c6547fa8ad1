#!/usr/bin/env python3
"""A second reader of `.ec2t` files, written from `docs/format.md` alone.

It shares no code with `ec2t-format` and exists to show that the page is complete: both must read
the same from a file, or both refuse it. It is meant to be read beside the page, whose names it
uses: this module has header, table, dense tensors and metadata, `graph.py` the layers and
`ternary.py` the codecs. It is not made to be fast.

    read_ec2t.py FILE... [--tensors OUT.npz | --json]

prints name, shape, encoding and CRC-32 of the values (`f32`, little endian) of each tensor, in the
graph's order; of several files each after its name. Where a file is not valid it prints section and
offset of a fault to standard error, and ends with status 1. Needs numpy.
"""

from __future__ import annotations

import argparse
import json
import math
import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ternary
from cursor import Cursor, FormatError
from graph import VALUES, Graph, Shape, read_graph, tensors_of

MAGIC = b"\xecEC2T\r\n\x1a"
MEMORY = 1 << 30


# Header and table of contents


@dataclass
class Section:
    kind: int
    encoding: int
    cursor: Cursor


def read_sections(file: bytes) -> tuple[int, list[Section]]:
    """The minor version and the sections, whose checksums fit."""
    head = Cursor(file[:36], "header", 0)
    head.insist(head.take(8) == MAGIC, "not an .ec2t file", 0)
    major, minor, required, _optional, length, table_length, checksum = struct.unpack(
        "<HHIIQII", head.take(28)
    )
    head.insist(major == 1, f"major version {major}", 8)
    head.insist(required == 0, f"unknown required features {required:#x}", 12)
    head.insist(length == len(file), f"length {length}, the file has {len(file)}", 20)
    most = min(1 << 20, length - 36)
    head.insist(table_length <= most, f"length {table_length} of the table", 28)
    start = 36 + table_length
    head.insist(zlib.crc32(file[:32] + file[36:start]) == checksum, "checksum", 32)

    table, sections = Cursor(file[36:start], "table", 36), []
    while table.at < table_length:
        entry, kind, encoding = table.at, table.byte(), table.byte()
        size, checksum = table.varint(), table.u32()
        table.insist(size <= len(file) - start, "a section that ends behind the file", entry)
        cursor = Cursor(file[start : start + size], f"section {len(sections)}", start)
        cursor.insist(zlib.crc32(cursor.data) == checksum, "checksum", 0)
        sections.append(Section(kind, encoding, cursor))
        start += size
    table.insist(start == len(file), "bytes that no section claims")
    return minor, sections


# Tensors


@dataclass(frozen=True)
class Storage:
    """How dense values are stored: the bits of the exponent, and the highest of the fraction."""

    name: str
    size: int
    exponent: int
    quiet: int


STORAGES = (Storage("f32", 4, 0x7F800000, 0x400000), Storage("f16", 2, 0x7C00, 0x200))


@dataclass
class Tensor:
    """Values, and for a ternary tensor the codes that they come from."""

    encoding: str
    values: np.ndarray
    codes: np.ndarray | None = None


class Tensors:
    """Fills the tensors that the graph names, section by section."""

    def __init__(self, graph: Graph, c: Cursor) -> None:
        self.shapes: dict[str, Shape] = {}
        self.weights: set[str] = set()
        for layer in graph.layers:
            tensors = dict(tensors_of(layer))
            self.shapes |= tensors
            if layer.operation.name in ("conv2d", "linear"):
                self.weights.add(f"{layer.name}.weight")
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        c.insist(max(sizes, default=0) <= VALUES, "a tensor that is too large")
        self.found: dict[str, Tensor] = {}
        self.memory = 0

    def left(self) -> list[str]:
        return [name for name in self.shapes if name not in self.found]

    def allow(self, c: Cursor, count: int, bytes_each: int) -> None:
        self.memory += count * bytes_each
        c.insist(self.memory <= MEMORY, f"more than {MEMORY} bytes of values")

    def read_shared(self, c: Cursor, encoding: int) -> None:
        """All dense tensors of one storage."""
        left = self.left()
        held = ternary.bits(c, len(left))
        c.insist(bool(held.any()), "a section without tensors", 0)
        for name, holds in zip(left, held):
            if holds:
                self.read_dense(c, name, encoding)

    def read_dense(self, c: Cursor, name: str, encoding: int) -> None:
        storage, shape = STORAGES[encoding], self.shapes[name]
        self.allow(c, math.prod(shape), 4)
        start, data = c.at, c.take(math.prod(shape) * storage.size)
        words = np.frombuffer(data, f"<u{storage.size}")
        fraction = words & (2 * storage.quiet - 1)
        is_signalling = (fraction > 0) & (fraction < storage.quiet)
        is_signalling &= words & storage.exponent == storage.exponent
        c.insist(not is_signalling.any(), f"a signalling NaN in {name}", start)
        values = np.frombuffer(data, f"<f{storage.size}").astype("<f4")
        self.found[name] = Tensor(storage.name, values.reshape(shape))

    def read_ternary(self, c: Cursor, name: str, codec: int) -> None:
        c.insist(name in self.weights, f"{name} is ternary")
        shape = self.shapes[name]
        self.allow(c, math.prod(shape), 5)
        words = [c.u32(), c.u32()]
        c.insist(max(words) < STORAGES[0].exponent, "a centroid that is no finite magnitude", 0)
        negative, positive = np.array(words, "<u4").view("<f4")
        codes = ternary.decode(codec, c, shape)
        values = np.array([-negative, 0, positive], "<f4")[codes + 1]
        self.found[name] = Tensor(ternary.NAMES[codec], values.reshape(shape), codes.reshape(shape))


def read_metadata(c: Cursor) -> dict[str, str]:
    metadata: dict[str, str] = {}
    last = None
    for _ in range(c.varint()):
        start, key = c.at, c.text()
        c.insist(last is None or key.encode() > last, "keys that do not ascend", start)
        metadata[key], last = c.text(), key.encode()
    c.end()
    return metadata


def read_grids(c: Cursor, graph: Graph) -> dict[str, tuple[float, int]]:
    grids: dict[str, tuple[float, int]] = {}
    count, last = c.varint(), -1
    c.insist(0 < count <= len(graph.layers), "a number of grids that can't be", 0)
    for _ in range(count):
        start, layer = c.at, c.varint()
        c.insist(last < layer < len(graph.layers), "layers that do not ascend", start)
        start, word = c.at, c.u32()
        c.insist(0 < word < STORAGES[0].exponent, "a scale that is no distance", start)
        scale = float(np.array([word], "<u4").view("<f4")[0])
        grids[graph.layers[layer].name], last = (scale, c.byte()), layer
    c.end()
    return grids


# The whole


@dataclass
class Network:
    minor: int
    graph: Graph
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    grids: dict[str, tuple[float, int]]


GRAPH, DENSE, TERNARY, METADATA, SHARED, GRIDS = 1, 2, 3, 4, 5, 128


def check_kinds(sections: list[Section], minor: int) -> list[Section]:
    """The sections without those that may be skipped."""
    codecs = {codec for codec in ternary.CODECS if codec != 5 or minor >= 2}
    encodings = {GRAPH: {min(minor, 1)}, TERNARY: codecs, METADATA: {0}}
    encodings[SHARED if minor else DENSE] = {0, 1}
    if minor:
        encodings[GRIDS] = {0}
    known = [
        section
        for section in sections
        if section.kind < 128 or section.encoding in encodings.get(section.kind, set())
    ]
    for section in known:
        cursor, kind, encoding = section.cursor, section.kind, section.encoding
        cursor.insist(kind in encodings, f"unknown kind {kind}")
        cursor.insist(encoding in encodings[kind], f"unknown encoding {encoding} of kind {kind}")
    return known


def read(file: bytes) -> Network:
    minor, sections = read_sections(file)
    queue = iter(check_kinds(sections, minor))
    end = Section(0, 0, Cursor(b"", "end", len(file)))

    def following() -> Section:
        return next(queue, end)

    def expect(section: Section, kinds: tuple[int, ...], what: str) -> None:
        section.cursor.insist(section.kind in kinds, f"{what} expected, kind {section.kind} found")

    section = following()
    expect(section, (GRAPH,), "the graph")
    graph = read_graph(section.cursor, minor)
    tensors = Tensors(graph, section.cursor)
    section = following()
    for encoding in (0, 1):
        if section.kind == SHARED and section.encoding == encoding:
            tensors.read_shared(section.cursor, encoding)
            section.cursor.end()
            section = following()
    for name in tensors.left():
        expect(section, (DENSE, TERNARY), f"tensor {name}")
        if section.kind == DENSE:
            tensors.read_dense(section.cursor, name, section.encoding)
        else:
            tensors.read_ternary(section.cursor, name, section.encoding)
        section.cursor.end()
        section = following()
    expect(section, (METADATA,), "metadata")
    metadata = read_metadata(section.cursor)
    section = following()
    grids = {}
    if section.kind == GRIDS:
        grids = read_grids(section.cursor, graph)
        section = following()
    section.cursor.insist(section is end, "a section behind the metadata")
    found = {name: tensors.found[name] for name in tensors.shapes}
    return Network(minor, graph, found, metadata, grids)


# The program


def summary(name: str, tensor: Tensor) -> dict[str, Any]:
    crc = f"{zlib.crc32(tensor.values.tobytes()):08x}"
    return {"name": name, "shape": tensor.values.shape, "encoding": tensor.encoding, "crc32": crc}


def as_json(network: Network) -> str:
    graph = vars(network.graph) | {
        "layers": [
            {"name": layer.name, "operation": layer.operation.name, "backs": layer.backs}
            | layer.fields
            for layer in network.graph.layers
        ]
    }
    tensors = [summary(name, tensor) for name, tensor in network.tensors.items()]
    rest = {"metadata": network.metadata, "grids": network.grids}
    return json.dumps({"graph": graph, "tensors": tensors} | rest)


def show(network: Network, options: argparse.Namespace) -> None:
    if options.json:
        print(as_json(network))
        return
    if options.tensors:
        values = {name: tensor.values for name, tensor in network.tensors.items()}
        np.savez(options.tensors, **values)
    for name, tensor in network.tensors.items():
        line = summary(name, tensor)
        print(name, "x".join(map(str, line["shape"])), line["encoding"], line["crc32"], sep="\t")


def main() -> int:
    parser = argparse.ArgumentParser(description="Reads .ec2t files.")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--tensors", type=Path, metavar="OUT.npz", help="write one file's values")
    form.add_argument("--json", action="store_true", help="print graph and metadata too, as JSON")
    options = parser.parse_args()
    if options.tensors and len(options.files) > 1:
        parser.error("--tensors takes one file")
    status = 0
    for file in options.files:
        try:
            network = read(file.read_bytes())
        except FormatError as error:
            print(f"{file}: {error}", file=sys.stderr)
            status = 1
            continue
        if len(options.files) > 1:
            print(f"{file}:")
        show(network, options)
    return status


if __name__ == "__main__":
    sys.exit(main())
