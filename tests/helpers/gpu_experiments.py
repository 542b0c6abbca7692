"""Experiment functions for machines that have a GPU; workers can import them by name."""

from __future__ import annotations

import json
import os
import time


def sees(ctx):
    """Writes down which devices CUDA shows it, by UUID, and from when to when it computed."""
    began = time.monotonic()
    import torch

    count = torch.cuda.device_count()
    uuids = [f"GPU-{torch.cuda.get_device_properties(n).uuid}" for n in range(count)]
    total = float(torch.ones(1000, device="cuda:0").sum())
    seen = {
        "variable": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "uuids": uuids,
        "began": began,
        "ended": time.monotonic(),
    }
    (ctx.artifacts_dir / "seen.json").write_text(json.dumps(seen))
    return {"total": total}
