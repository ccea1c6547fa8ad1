"""Numbers and texts of `.ec2t` files, and what is wrong where they are not valid."""

from __future__ import annotations

import struct
from typing import NoReturn

LARGEST = 1 << 24


class FormatError(Exception):
    """A file that is not valid: what is wrong, in which section, at which byte of the file."""

    def __init__(self, section: str, offset: int, message: str) -> None:
        super().__init__(f"{section}, byte {offset}: {message}")
        self.section, self.offset = section, offset


class Cursor:
    """Reads one part of the file from front to back."""

    def __init__(self, data: bytes, section: str, offset: int) -> None:
        self.data, self.section, self.offset, self.at = data, section, offset, 0

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        raise FormatError(self.section, self.offset + (self.at if at is None else at), message)

    def insist(self, holds: bool, message: str, at: int | None = None) -> None:
        if not holds:
            self.fail(message, at)

    def take(self, count: int) -> bytes:
        self.insist(count <= len(self.data) - self.at, f"{count} bytes expected, the section ends")
        self.at += count
        return self.data[self.at - count : self.at]

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def end(self) -> None:
        self.insist(self.at == len(self.data), "bytes behind the end")

    def byte(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def f32(self) -> float:
        return struct.unpack("<f", self.take(4))[0]

    def varint(self, most: int = 2**64 - 1) -> int:
        start, value, shift = self.at, 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            self.insist(shift < 70, "a varint of more than 64 bits", start)
        self.insist(byte > 0 or shift == 7, "a varint that could be shorter", start)
        self.insist(value <= most, f"{value} exceeds {most}", start)
        return value

    def varints(self, count: int, most: int = LARGEST) -> tuple[int, ...]:
        return tuple(self.varint(most) for _ in range(count))

    def text(self, most: int = 2**64 - 1) -> str:
        start = self.at
        try:
            return self.take(self.varint(most)).decode()
        except UnicodeDecodeError:
            self.fail("not UTF-8", start)
