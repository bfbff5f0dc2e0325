# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the seed inputs of the fuzz targets: make_corpus.py FOLDER → FOLDER/{gguf,safetensors,npy}/*

Small files, right ones and wrong ones, that reach every branch of the readers. The same bytes at every run.
"""
import json
import pathlib
import struct
import sys

KINDS = {"u8": (0, "<B"), "i8": (1, "<b"), "u16": (2, "<H"), "i16": (3, "<h"), "u32": (4, "<I"), "i32": (5, "<i"),
         "f32": (6, "<f"), "bool": (7, "<B"), "u64": (10, "<Q"), "i64": (11, "<q"), "f64": (12, "<d")}
# id: (values a block, bytes a block)
TYPES = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 12: (256, 144),
         14: (256, 210), 30: (1, 2)}


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def entry(key, kind, value):
    if kind == "string":
        return text(key) + struct.pack("<I", 8) + text(value)
    if kind == "strings":
        return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
    if isinstance(value, list):
        number, form = KINDS[kind]
        return text(key) + struct.pack("<IIQ", 9, number, len(value)) + b"".join(struct.pack(form, v) for v in value)
    number, form = KINDS[kind]
    return text(key) + struct.pack("<I", number) + struct.pack(form, value)


def gguf(entries, tensors, version=3, alignment=32, magic=b"GGUF"):
    infos, data = b"", b""
    for name, extents, kind in tensors:
        data += b"\0" * (-len(data) % alignment)
        count = 1
        for extent in extents:
            count *= extent
        values, size = TYPES[kind]
        n = count // values * size
        infos += text(name) + struct.pack("<I", len(extents)) + b"".join(struct.pack("<Q", e) for e in extents)
        infos += struct.pack("<IQ", kind, len(data))
        data += bytes((7 * i + kind) % 251 for i in range(n))
    out = magic + struct.pack("<IQQ", version, len(tensors), len(entries))
    out += b"".join(entry(*e) for e in entries) + infos
    if tensors:
        out += b"\0" * (-len(out) % alignment)
    return out + data


def gguf_files():
    scalars = [(f"k.{kind}", kind, 1) for kind in KINDS]
    yield "empty", gguf([], [])
    yield "version2", gguf([("a", "u8", 1)], [], version=2)
    yield "scalars", gguf(scalars, [])
    yield "negative", gguf([("a", "i8", -1), ("b", "i64", -2)], [])
    yield "strings", gguf([("s", "string", "text"), ("e", "string", ""), ("l", "strings", ["a", "", "bc"])], [])
    yield "arrays", gguf([("a", "u32", [1, 2, 3]), ("b", "bool", [0, 1]), ("n", "f64", [])], [])
    for kind, (values, _) in TYPES.items():
        yield f"type{kind}", gguf([], [("w", [values, 1], kind)])
    yield "tensors", gguf([("general.architecture", "string", "llama"), ("general.alignment", "u32", 16)],
                          [("a", [3], 0), ("b.weight", [2, 2, 1, 2], 1), ("c", [32], 8)], alignment=16)
    yield "alignment", gguf([("general.alignment", "u32", 12)], [("a", [3], 0)])
    yield "twice", gguf([("a", "u8", 1), ("a", "u8", 1)], [])
    yield "big_endian", gguf([], [], version=3 << 24)
    yield "huge_count", b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 1 << 40)
    yield "huge_string", b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 63) + b"a" * 16
    yield "huge_array", b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 10, 1 << 61) + bytes(8)
    overflow = text("w") + struct.pack("<IQQQQIQ", 4, 1 << 31, 1 << 31, 1 << 31, 1 << 31, 0, 0)
    yield "overflow", b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + overflow
    overlap = gguf([], [("a", [8], 0), ("b", [8], 0)])
    yield "overlap", overlap.replace(struct.pack("<IQ", 0, 32), struct.pack("<IQ", 0, 0))


def safetensors(header, data=b""):
    raw = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + data


def safetensors_files():
    def one(dtype, shape, end, begin=0):
        return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}

    yield "empty", safetensors({})
    yield "metadata", safetensors({"__metadata__": {"format": "pt", "é": "\n\"\\"}})
    for dtype, size in {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I8": 1, "BOOL": 1, "C64": 8, "F8_E4M3": 1}.items():
        yield dtype.lower(), safetensors({"w": one(dtype, [2, 3], 6 * size)}, bytes(range(6 * size)))
    yield "f4", safetensors({"w": one("F4", [2, 3], 3)}, b"abc")
    yield "three", safetensors({"b": one("F32", [1], 8, 4), "a": one("F32", [], 4), "none": one("F16", [0, 5], 8, 8)},
                               bytes(8))
    yield "hole", safetensors({"a": one("F32", [1], 4), "b": one("F32", [1], 12, 8)}, bytes(12))
    yield "overlap", safetensors({"a": one("F32", [1], 4), "b": one("F32", [1], 6, 2)}, bytes(6))
    yield "overflow", safetensors({"a": one("F32", [1 << 62, 1 << 62], 4)}, bytes(4))
    yield "twice", safetensors(b'{"a":{"dtype":"I8","dtype":"I8"}}')
    yield "field", safetensors(b'{"a":{"dtype":"I8","shape":[1.5,-1],"data_offsets":[0,1,2],"more":null}}')
    yield "nested", safetensors(b'{"a":{"shape":[[1],{"b":true}]}}')
    yield "escapes", safetensors(b'{"\\u00e9\\ud83d\\ude00":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x")
    yield "not_utf8", safetensors(b'{"\xff":{}}')
    yield "huge", struct.pack("<Q", 1 << 60) + b"{}"


def npy(header, data=b"", version=1):
    raw = header.encode() if isinstance(header, str) else header
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(raw)) + raw + data


def npy_files():
    def literal(descr, shape, order=False):
        return f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n"

    for descr in ["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1"]:
        yield descr[1:], npy(literal(descr, "(2, 3)"), bytes(range(6 * int(descr[2]))))
    yield "fortran", npy(literal("<f4", "(2, 3, 2)", True), bytes(range(48)))
    yield "scalar", npy(literal("<f8", "()"), bytes(8))
    yield "none", npy(literal("<f8", "(0, 7)", True))
    yield "version2", npy(literal("<i8", "(1,)"), bytes(8), 2)
    yield "version3", npy('{"shape":(1,) , "descr" : "<i8","fortran_order":True}   \n', bytes(8), 3)
    yield "structure", npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }\n", bytes(8))
    yield "object", npy(literal("|O", "(1,)"), bytes(8))
    yield "big_endian", npy(literal(">f8", "(1,)"), bytes(8))
    yield "overflow", npy(literal("<f8", "(4294967296, 4294967296, 3)"))
    yield "twice", npy("{'descr': '<f8', 'descr': '<f8'}\n")
    yield "short", npy(literal("<f8", "(3,)"), bytes(7))


def main():
    for name, files in {"gguf": gguf_files(), "safetensors": safetensors_files(), "npy": npy_files()}.items():
        folder = pathlib.Path(sys.argv[1]) / name
        folder.mkdir(parents=True, exist_ok=True)
        for stem, data in files:
            (folder / stem).write_bytes(data)


if __name__ == "__main__":
    main()
