"""A source of training data that holds nothing but numbers."""

import torch

from lavie.training.data import Clip, ClipSource, DataReport, UnreadableClip


class Rows(ClipSource):
    """Clips that hold the number of their row; those in `broken` cannot be read."""

    def __init__(self, name, count, broken=()):
        self.name, self.count, self.broken, self.report = name, count, frozenset(broken), DataReport(name)

    def __len__(self):
        return self.count

    def caption(self, row, generator):
        return f"{self.name} {row}"

    def read(self, row, request, generator):
        if row in self.broken:
            raise UnreadableClip(f"{self.name}/{row}.mp4", "it is damaged")
        shape = (3, request.num_frames, request.height, request.width)
        video = torch.full(shape, float(row)) + torch.rand(shape, generator=generator)
        return Clip(self.caption(row, generator), f"{self.name}/{row}.mp4", {"video": video})

    def fingerprint(self):
        return f"{self.name} {self.count}"
