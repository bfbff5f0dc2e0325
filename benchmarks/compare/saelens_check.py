#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Loads a folder by SAELens and compares its reconstructions with those that stand beside it.

    python3 saelens_check.py FOLDER WIDTH      x.f32 and reconstructions.f32 (rows of WIDTH floats) in FOLDER

Prints {architecture, version, rows, difference, latents, worst_row}: difference = |a - b| / |b| over all rows, latents = SAELens'
mean number a row, worst_row = the largest |a - b| / |b| of a row.
"""
import json
import os
import sys
import warnings

import numpy
import torch

warnings.filterwarnings("ignore")
from sae_lens import SAE, __version__  # noqa: E402

folder, width = sys.argv[1], int(sys.argv[2])
x, want = (numpy.fromfile(os.path.join(folder, name), dtype=numpy.float32).reshape(-1, width)
           for name in ("x.f32", "reconstructions.f32"))
sae = SAE.load_from_disk(folder, device="cpu")
with torch.no_grad():
    latents = sae.encode(torch.from_numpy(x))
    found = sae.decode(latents).numpy().astype(numpy.float64)
gap, size = (numpy.linalg.norm(m, axis=1) for m in (found - want, want.astype(numpy.float64)))
print(json.dumps({"architecture": sae.cfg.architecture(), "version": __version__, "rows": len(x),
                  "difference": float(numpy.linalg.norm(gap) / numpy.linalg.norm(size)),
                  "worst_row": float((gap / size).max()), "latents": float((latents != 0).sum(1).float().mean())}))
