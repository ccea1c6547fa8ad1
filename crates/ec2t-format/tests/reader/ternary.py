"""Codes of ternary tensors: the section "Codecs" of `docs/format.md`.

`decode(number, cursor, shape)` gives the codes −1, 0 and +1 of a tensor as a flat array of
`int8`, and refuses bytes that are not what a writer writes.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np

from cursor import Cursor

Codes = np.ndarray


# 2-bit, trits, mask + sign


def bits(c: Cursor, count: int) -> np.ndarray:
    """A bit for each of `count`, the lowest of each byte first; those behind them are zero."""
    start = c.at
    unpacked = np.unpackbits(np.frombuffer(c.take(-(-count // 8)), np.uint8), bitorder="little")
    c.insist(not unpacked[count:].any(), "bits behind the last are set", start)
    return unpacked[:count].astype(bool)


def two_bit(c: Cursor, shape: tuple[int, ...]) -> Codes:
    count, start = math.prod(shape), c.at
    packed = np.frombuffer(c.take(-(-count // 4)), np.uint8)
    pairs = (packed[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).reshape(-1)
    c.insist(not pairs[count:].any(), "bits behind the last code are set", start)
    c.insist(not (pairs == 3).any(), "an invalid pair of bits", start)
    return np.array([0, 1, -1], np.int8)[pairs[:count]]


def trits(c: Cursor, shape: tuple[int, ...]) -> Codes:
    count, start = math.prod(shape), c.at
    packed = np.frombuffer(c.take(-(-count // 5)), np.uint8)
    c.insist(not (packed >= 243).any(), "a byte of 243 or more", start)
    digits = (packed[:, None] // np.array([1, 3, 9, 27, 81], np.uint8) % 3).reshape(-1)
    c.insist(not digits[count:].any(), "digits behind the last code are not zero", start)
    return digits[:count].astype(np.int8) - np.int8(1)


def mask_sign(c: Cursor, shape: tuple[int, ...]) -> Codes:
    codes = bits(c, math.prod(shape)).astype(np.int8)
    places = np.flatnonzero(codes)
    codes[places[bits(c, len(places))]] = -1
    return codes


# Lists


def zeros(c: Cursor, count: int) -> None:
    start = c.at
    c.insist(not any(c.take(count)), "padding is not zero", start)


def lists(c: Cursor, shape: tuple[int, ...]) -> Codes:
    outputs, weights = shape[0], math.prod(shape[1:])
    c.insist(weights <= 65536, f"lists for {weights} weights")
    before = -(c.offset + c.at) % 64
    zeros(c, before)
    counts = np.frombuffer(c.take(8 * outputs), "<u4")
    zeros(c, -8 * outputs % 64)
    codes = np.zeros((outputs, weights), np.int8)
    for number, count in enumerate(counts.tolist()):
        start = c.at
        positions = np.frombuffer(c.take(2 * count), "<u2").astype(int)
        c.insist(bool((np.diff(positions) > 0).all()), "a list that does not ascend", start)
        c.insist(not (positions >= weights).any(), "a position behind the last weight", start)
        row = codes[number // 2]
        c.insist(not row[positions].any(), "a position in both lists", start)
        row[positions] = -1 if number % 2 else 1
    zeros(c, 63 - before)
    return codes.reshape(-1)


# Decisions to bytes


class Decoder:
    """Takes decisions from bytes."""

    def __init__(self, c: Cursor) -> None:
        self.cursor, self.start = c, c.at
        self.data = c.rest()
        self.low, self.range = 0, 2**64 - 1
        self.taken = 0
        self.code = self.bytes(8)
        c.insist(self.code < self.range, "eight bytes of 255 at the start")

    def bytes(self, count: int) -> int:
        self.taken += count
        return int.from_bytes(self.data[self.taken - count : self.taken].ljust(count, b"\0"), "big")

    def decide(self, p: int) -> bool:
        bound = (self.range >> 24) * p
        decision = self.code < bound
        if decision:
            self.range = bound
        else:
            self.low = (self.low + bound) % 2**64
            self.range -= bound
            self.code -= bound
        while self.range < 2**48:
            self.low = (self.low << 16) % 2**64
            self.range <<= 16
            self.code = self.code << 16 | self.bytes(2)
        return decision

    def finish(self) -> None:
        """Insists that the bytes are what the writer would have put out."""
        insist = self.cursor.insist
        insist(
            len(self.data) <= self.taken, "more bytes than decisions need", self.start + self.taken
        )
        insist(self.data[-1:] != b"\0", "a zero byte at the end")
        distances = (-self.low % 2**power for power in range(64, -1, -8))
        shortest = next(distance for distance in distances if distance < self.range)
        insist(self.code == shortest, "another end than a writer's")


# Probabilities that learn


@dataclass
class Share:
    a: int = 0
    n: int = 0

    def decide(self, decoder: Decoder) -> bool:
        p = (2 * self.a + 1) * 2**23 // (self.n + 1)
        decision = decoder.decide(min(max(p, 1), 2**24 - 1))
        self.n += 1
        self.a += decision
        return decision


def bounded(p: int) -> int:
    return min(max(p, 2**13), 2**24 - 2**13)


class Adaptive:
    """An adaptive probability, which begins with a guess worth s."""

    __slots__ = ("q", "s")

    def __init__(self, p: int, s: int) -> None:
        self.q, self.s = 256 * p, s

    @property
    def p(self) -> int:
        return bounded(self.q)

    def learn(self, decision: bool) -> None:
        rate = 131072 // (2 * self.s + 5)
        if decision:
            self.q += (2**24 - 1 - self.q) * rate >> 16
        else:
            self.q -= self.q * rate >> 16
        self.s = min(self.s + 1, 255)

    def decide(self, decoder: Decoder) -> bool:
        decision = decoder.decide(self.p)
        self.learn(decision)
        return decision


# fmt: off
T = (
    22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768,
    40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438,
    65476, 65500, 65514,
)
# fmt: on


def limit(x: int, least: int, most: int) -> int:
    return max(least, min(x, most))


def squash(x: int) -> int:
    i, f = divmod(limit(x, -2047, 2047) + 2048, 128)
    return T[i] + (T[i + 1] - T[i]) * f // 128


SQUASHED = [squash(x) for x in range(-2047, 2048)]
STRETCHED = [min(bisect_left(SQUASHED, 16 * p + 8) - 2047, 2047) for p in range(4096)]


def stretch(p: int) -> int:
    return STRETCHED[p]


def mixed_share(c: int, n: int, w: int, e: int) -> int:
    return (4096 * c + w * e) // (n + w)


# Order-0


def order_0(c: Cursor, shape: tuple[int, ...]) -> Codes:
    decoder, not_zero, positive = Decoder(c), Share(), Share()
    codes = np.zeros(math.prod(shape), np.int8)
    for i in range(len(codes)):
        if not_zero.decide(decoder):
            codes[i] = 1 if positive.decide(decoder) else -1
    decoder.finish()
    return codes


# Balanced and max


@dataclass
class Part:
    """m codes, of which n are not zero and a positive."""

    m: int = 0
    n: int = 0
    a: int = 0

    def count(self, code: int) -> None:
        self.m += 1
        self.n += code != 0
        self.a += code > 0

    def density(self, weight: int, e: int) -> int:
        return mixed_share(self.n, self.m, weight, e)

    def positive(self, weight: int) -> int:
        return stretch(mixed_share(self.a, self.n, weight, 2048))


def parts(count: int) -> list[Part]:
    return [Part() for _ in range(count)]


class Surroundings:
    """What is known where a code is read."""

    def __init__(self, density: int, inputs: int, height: int, width: int) -> None:
        self.D = 16 * density + 8
        self.B = stretch(self.D)
        self.inputs, self.width, self.area = inputs, width, height * width
        self.kernels: list[list[int]] = []
        self.input_parts = parts(inputs)
        self.input_parts_at = [parts(self.area) for _ in range(inputs)]

    def enter_output(self) -> None:
        self.output = Part()
        self.output_at = parts(self.area)

    def enter_kernel(self, number: int) -> None:
        self.kernel: list[int] = []
        self.z = self.v = 0
        self.input, self.input_at = self.input_parts[number], self.input_parts_at[number]
        self.before = self.kernels[-1] if number > 0 else None
        self.before_output = (
            self.kernels[-self.inputs] if len(self.kernels) >= self.inputs else None
        )

    def add(self, code: int) -> None:
        t = len(self.kernel)
        for part in (self.input, self.output, self.input_at[t], self.output_at[t]):
            part.count(code)
        self.kernel.append(code)
        self.z += code != 0
        self.v += code

    def leave_kernel(self) -> None:
        self.kernels.append(self.kernel)

    def neighbour(self, up: int, right: int) -> int | None:
        """The code so many places above and to the right, if it is within the kernel."""
        row, column = divmod(len(self.kernel), self.width)
        row, column = row - up, column + right
        return (
            self.kernel[row * self.width + column]
            if row >= 0 and 0 <= column < self.width
            else None
        )

    def channel_step(self) -> int:
        of_input = stretch(self.input.density(32, self.D)) - self.B
        of_output = stretch(self.output.density(32, self.D)) - self.B
        return limit((of_input + of_output) // 128, -8, 7) + 8

    def fill_step(self) -> int:
        t = len(self.kernel)
        if t == 0:
            return 0
        g, h = 512 * self.z + self.D // 8, (t + 1) * (self.D // 8)
        return 1 if 4 * g < 3 * h else 3 if 3 * g > 4 * h else 2

    def zero_context(self, step: int, left: int | None, up: int | None) -> int:
        return 9 * (4 * step + self.fill_step()) + 3 * side(left) + side(up)

    def sign_context(self, left: int | None, up: int | None) -> int:
        return 9 * (limit(self.v, -3, 3) + 3) + 3 * ((left or 0) + 1) + (up or 0) + 1


def side(neighbour: int | None) -> int:
    return 0 if neighbour is None else 1 if neighbour == 0 else 2


class Balanced:
    def __init__(self, near: Surroundings) -> None:
        self.zero = [
            Adaptive(limit(squash(zero_guess(i, near)), 131, 65405), 20) for i in range(576)
        ]
        self.sign = [Adaptive(squash(sign_guess(i)), 4) for i in range(63)]

    def code(self, decoder: Decoder, near: Surroundings) -> int:
        if not near.kernel:
            self.step = near.channel_step()
        left, up = near.neighbour(0, -1), near.neighbour(1, 0)
        if not self.zero[near.zero_context(self.step, left, up)].decide(decoder):
            return 0
        return 1 if self.sign[near.sign_context(left, up)].decide(decoder) else -1


def zero_guess(context: int, near: Surroundings) -> int:
    step, fill, left, up = context // 36, context // 9 % 4, context // 3 % 3, context % 3

    def pull(weight: int, m: int) -> int:
        return 0 if m == 0 else weight * (4096 * (m - 1) - near.D) // 4096

    return (
        near.B
        + 154 * (128 * step - 960) // 256
        + (0, -82, 0, 82)[fill]
        + pull(179, left)
        + pull(128, up)
    )


def sign_guess(context: int) -> int:
    return 77 * (context // 9 - 3) + 256 * (context // 3 % 3 - 1) + 205 * (context % 3 - 1)


@dataclass
class Mixer:
    """Weights of given inputs and of slots, in 1 ∕ 256 at first."""

    given: list[int]
    slots: list[int]
    seen: int = 0
    tables: list[dict[int, Adaptive]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.given = [256 * weight for weight in self.given]
        self.slots = [256 * weight for weight in self.slots]
        self.tables = [{} for _ in self.slots]

    def decide(self, decoder: Decoder, base: int, given: list[int], contexts: list[int]) -> bool:
        guess = base + (sum(w * x for w, x in zip(self.given, given)) >> 16)
        selected, inputs = [], []
        for table, context in zip(self.tables, contexts):
            slot = table.get(context)
            if slot is None:
                slot = table[context] = Adaptive(squash(guess), 0)
                inputs.append(0)
            else:
                trust = 256 * slot.s // (slot.s + 1)
                inputs.append((stretch(slot.p >> 12) - base) * trust >> 8)
            selected.append(slot)
        p = squash(guess + (sum(w * x for w, x in zip(self.slots, inputs)) >> 16))
        decision = decoder.decide(bounded(256 * p))
        error = 65536 - p if decision else -p
        r = 14 if self.seen < 256 else 15 if self.seen < 2048 else 16
        self.seen += 1
        self.given = [grown(w, error * x, r) for w, x in zip(self.given, given)]
        self.slots = [grown(w, error * x, r) for w, x in zip(self.slots, inputs)]
        for slot in selected:
            slot.learn(decision)
        return decision


def grown(weight: int, product: int, r: int) -> int:
    return limit(weight + (((product >> r - 1) + 1) >> 1), -(2**20), 2**20)


class Max:
    def __init__(self, _near: Surroundings) -> None:
        self.zero = Mixer([91, 89, 14, 49, 24, 122, 89, 12], [39, 59, 30])
        self.sign = Mixer([40, 22, 29, 16, 191, 165, 18, 79, 0, 36, 28, 6], [95, 60, 45])

    def code(self, decoder: Decoder, near: Surroundings) -> int:
        t = len(near.kernel)
        left, up = near.neighbour(0, -1), near.neighbour(1, 0)
        up_left, up_right = near.neighbour(1, -1), near.neighbour(1, 1)
        pattern = 0
        for code in (left, up, up_left, up_right):
            pattern = 4 * pattern + (2 if code is None else code) + 1
        position = min(t, 31)

        D, B = near.D, near.B
        of_input, of_output = near.input.density(32, D), near.output.density(32, D)
        densities = [
            of_input,
            of_output,
            mixed_share(near.z, t, 1, D),
            near.input_at[t].density(5, of_input),
            near.output_at[t].density(5, of_output),
        ]
        given = [stretch(e) - B for e in densities] + [filled(left, D), filled(up, D), 154]
        recent = sum((code != 0) << i for i, code in enumerate(near.kernel[:-9:-1]))
        contexts = [
            near.zero_context(near.channel_step(), left, up),
            32 * pattern + position,
            32 * recent + position,
        ]
        if not self.zero.decide(decoder, B, given, contexts):
            return 0

        before, before_output = (
            kernel and kernel[t] for kernel in (near.before, near.before_output)
        )
        given = [
            near.input.positive(6),
            near.output.positive(6),
            near.input_at[t].positive(2),
            near.output_at[t].positive(2),
            *(256 * (code or 0) for code in (left, up, up_left, up_right)),
            154 * limit(near.v, -32, 32),
            256 * (before or 0),
            256 * (before_output or 0),
            154,
        ]
        recent = sum((code + 1) * 3**i for i, code in enumerate(near.kernel[:-6:-1]))
        contexts = [near.sign_context(left, up), 32 * pattern + position, 32 * recent + position]
        return 1 if self.sign.decide(decoder, 0, given, contexts) else -1


def filled(code: int | None, D: int) -> int:
    return 0 if code is None else (256 if code else 0) - D // 16


def mixed(c: Cursor, shape: tuple[int, ...], model: type[Balanced | Max]) -> Codes:
    """Balanced and max."""
    start = c.at
    decoder = Decoder(c)
    outputs, inputs, height, width = (*shape, 1, 1)[:4]
    kept_outputs, kept_inputs = (kept_channels(decoder, count) for count in (outputs, inputs))
    density = sum(decoder.decide(2**23) << bit for bit in range(7, -1, -1))
    near = Surroundings(density, len(kept_inputs), height, width)
    codes_of = model(near)
    for _ in kept_outputs:
        near.enter_output()
        for number in range(len(kept_inputs)):
            near.enter_kernel(number)
            for _ in range(height * width):
                near.add(codes_of.code(decoder, near))
            near.leave_kernel()
    decoder.finish()

    kept = np.array(near.kernels, np.int8).reshape(
        len(kept_outputs), len(kept_inputs), height * width
    )
    c.insist(
        kept.any((1, 2)).all() and kept.any((0, 2)).all(),
        "a channel of zeros that is not named",
        start,
    )
    share = min(256 * np.count_nonzero(kept) // kept.size, 255) if kept.size else 0
    c.insist(share == density, f"density {density}, but {share} was found", start)
    codes = np.zeros((outputs, inputs, height * width), np.int8)
    codes[np.ix_(kept_outputs, kept_inputs)] = kept
    return codes.reshape(-1)


def kept_channels(decoder: Decoder, count: int) -> list[int]:
    share = Share(0, 7)
    return [channel for channel in range(count) if not share.decide(decoder)]


CODECS = {
    0: two_bit,
    1: trits,
    2: mask_sign,
    3: lambda c, shape: mixed(c, shape, Balanced),
    4: lambda c, shape: mixed(c, shape, Max),
    5: lists,
    6: order_0,
}
NAMES = {0: "2-bit", 1: "trits", 2: "mask+sign", 3: "balanced", 4: "max", 5: "lists", 6: "order-0"}


def decode(number: int, c: Cursor, shape: tuple[int, ...]) -> Codes:
    codes = CODECS[number](c, shape)
    c.end()
    return codes
