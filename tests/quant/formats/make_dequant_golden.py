#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the golden data of the dequantization tests: blocks of ggml types and the values they stand for.

    python3 make_dequant_golden.py [--out dequant_golden.bin]          writes the file
    python3 make_dequant_golden.py --check                             exit 1 if the file is not what this script makes

Needs the Python packages numpy and gguf; the values are those of `gguf.dequantize` (NumPy), which shares no code
with resect. The bytes come from SHAKE-256, so every run on every machine makes the same file.

The file, little-endian throughout, no padding anywhere:

    8 bytes   magic "RSCTDQ01"
    then records until the end of the file, one a type, each
        u32   ggml type id      F16 1, Q4_0 2, Q4_1 3, Q5_0 6, Q5_1 7, Q8_0 8, Q4_K 12, Q6_K 14, BF16 30
        u32   n_bytes           whole blocks, one after the other, in ggml's layout
        u32   n_values
        n_bytes bytes           the blocks
        n_values f32            the values

What the blocks hold: every scale is a finite f16, and zero, minus zero, the smallest and largest subnormal, the
smallest normal, one, and the largest number appear in both signs, in both scales of the types that have two; codes
are all zeros, all ones, and random; Q6_K's int8 scales reach -128 and 127. F16 and BF16 are finite numbers with the
same edge cases.

Every value is exact or rounded once: the largest product, Q6_K's d * scale * code, has 11 + 7 + 5 significant bits,
so a decoder that multiplies in float in any order, with or without fused multiply-add, must give the same bits,
signs of zeros included.
"""
import argparse
import hashlib
import os
import struct
import sys

import gguf
import numpy as np

MAGIC = b"RSCTDQ01"
BLOCKS = 24

# type -> (byte offsets of f16 scales in a block, (first, last) byte of int8 scales or None)
BLOCK_TYPES = {
    "Q8_0": ((0,), None),
    "Q4_0": ((0,), None),
    "Q4_1": ((0, 2), None),
    "Q5_0": ((0,), None),
    "Q5_1": ((0, 2), None),
    "Q4_K": ((0, 2), None),
    "Q6_K": ((208,), (192, 208)),
}

# f16 bit patterns: 0, smallest and largest subnormal, smallest normal, 1, largest; each also with the sign bit
F16_EDGES = [s | b for b in (0x0000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF) for s in (0x0000, 0x8000)]
BF16_EDGES = [s | b for b in (0x0000, 0x0001, 0x007F, 0x0080, 0x3F80, 0x7F7F) for s in (0x0000, 0x8000)]


def random_bytes(label, n):
    return np.frombuffer(hashlib.shake_256(label.encode()).digest(n), dtype=np.uint8).copy()


def finite(bits, exponent_mask, quiet_bit):
    """Turns patterns of infinities and NaNs into finite ones by clearing one exponent bit."""
    return np.where((bits & exponent_mask) == exponent_mask, bits & np.uint16(0xFFFF ^ quiet_bit), bits)


def scalars(name, edges, exponent_mask, lowest_exponent_bit, count=1024):
    bits = random_bytes(name, 2 * count).view("<u2")
    bits = finite(bits, exponent_mask, lowest_exponent_bit)
    bits[: len(edges)] = edges
    return bits.astype("<u2").tobytes()


def blocks(name):
    scale_offsets, int8_scales = BLOCK_TYPES[name]
    block_values, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    data = random_bytes(name, BLOCKS * block_bytes).reshape(BLOCKS, block_bytes)
    data[0] = 0x00
    data[1] = 0xFF
    for which, offset in enumerate(scale_offsets):
        bits = finite(data[:, offset : offset + 2].copy().view("<u2")[:, 0], 0x7C00, 0x0400)
        # blocks 0 and 1 take ordinary scales; the edges follow, turned by one for the second scale
        bits[0], bits[1] = (0x2E66, 0xB4CD) if which == 0 else (0xAE66, 0x34CD)
        edges = F16_EDGES[which:] + F16_EDGES[:which]
        bits[2 : 2 + len(edges)] = edges
        data[:, offset : offset + 2] = bits.astype("<u2").reshape(-1, 1).view(np.uint8)
    if int8_scales:
        first, last = int8_scales
        data[0, first:last] = 0x80
        data[1, first:last] = 0x7F
        data[-1, first:last] = np.arange(last - first, dtype=np.uint8) * 17
    return data.tobytes()


def make():
    out = [MAGIC]
    raw = {"F16": scalars("F16", F16_EDGES, 0x7C00, 0x0400), "BF16": scalars("BF16", BF16_EDGES, 0x7F80, 0x0080)}
    raw.update((name, blocks(name)) for name in BLOCK_TYPES)
    for name, data in raw.items():
        kind = gguf.GGMLQuantizationType[name]
        values = gguf.dequantize(np.frombuffer(data, dtype=np.uint8), kind).reshape(-1).astype("<f4")
        block_values, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        if values.size * block_bytes != len(data) * block_values or not np.isfinite(values).all():
            raise SystemExit(f"make_dequant_golden: {name} did not decode to finite values of the expected number")
        out.append(struct.pack("<III", int(kind), len(data), values.size) + data + values.tobytes())
    return b"".join(out)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description="golden data of the dequantization tests")
    parser.add_argument("--out", default=os.path.join(here, "dequant_golden.bin"))
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    options = parser.parse_args()
    data = make()
    if options.check:
        with open(options.out, "rb") as file:
            same = file.read() == data
        print(f"{options.out}: {'same' if same else 'DIFFERENT'}, gguf package, numpy {np.__version__}")
        return 0 if same else 1
    with open(options.out + ".tmp", "wb") as file:
        file.write(data)
    os.replace(options.out + ".tmp", options.out)
    print(f"{options.out}: {len(data)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
