"""GPUs that are not there, as pynvml would tell them."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

GIB = 2**30
UUIDS = [f"GPU-{digit * 8}-0000-0000-0000-000000000000" for digit in "abcd"]


class PretendedNvml(ModuleType):
    """Answers as pynvml does, for GPUs that are not there."""

    class NVMLError(Exception):
        pass

    def __init__(self, gib=(80, 80), names=None):
        super().__init__("pynvml")
        self.uuids = UUIDS[: len(gib)]
        self.names = names or ["H200"] * len(gib)
        self.total = dict(zip(self.uuids, gib, strict=True))
        self.free = dict(self.total)
        self.parts = {}  # MIG parts, by the UUID of their GPU
        self.open = 0
        self.asked = []  # whose memory
        self.broken = False

    def nvmlInit(self):
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlDeviceGetCount(self):
        return len(self.uuids)

    def nvmlDeviceGetHandleByIndex(self, number):
        return self.nvmlDeviceGetHandleByUUID(self.uuids[number])

    def nvmlDeviceGetHandleByUUID(self, uuid):
        assert self.open > 0
        if uuid not in self.total:
            raise self.NVMLError("Not Found")
        return uuid

    def nvmlDeviceGetUUID(self, handle):
        return handle

    def nvmlDeviceGetName(self, handle):
        return self.names[self.uuids.index(handle)]

    def nvmlDeviceGetMigMode(self, handle):
        if handle not in self.parts:
            raise self.NVMLError("Not Supported")
        return [1, 1]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle):
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle, number):
        if number >= len(self.parts[handle]):
            raise self.NVMLError("Not Found")
        return self.parts[handle][number]

    def nvmlDeviceGetMemoryInfo(self, handle):
        self.asked.append(handle)
        if self.broken:
            raise self.NVMLError("GPU is lost")
        return SimpleNamespace(free=self.free[handle] * GIB, total=self.total[handle] * GIB)
