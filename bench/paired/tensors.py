"""Safetensors files, as far as they are exchanged here: so that only torch is needed."""

import json
import struct

import torch

KINDS = {"F32": torch.float32, "F64": torch.float64, "I32": torch.int32, "I64": torch.int64}
NAMES = {kind: name for name, kind in KINDS.items()}


def read(path):
    """Tensors of a file by name."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        body = bytearray(file.read())
    tensors = {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        first, last = about["data_offsets"]
        kind = KINDS[about["dtype"]]
        part = body[first:last]
        flat = torch.frombuffer(part, dtype=kind) if part else torch.empty(0, dtype=kind)
        tensors[name] = flat.reshape(about["shape"])
    return tensors


def write(path, tensors):
    """Writes tensors by name."""
    header, parts, at = {}, [], 0
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous()
        part = tensor.numpy().tobytes()
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + len(part)],
        }
        parts.append(part)
        at += len(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))
