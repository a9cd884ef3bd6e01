"""`lavie train lora`: trains a LoRA file from the target's settings."""

from __future__ import annotations

from ...config import find_family
from ..packages import check_packages
from ..processes import chosen_device, print_once
from ..targets import LoraTraining
from .data import images_in
from .job import Events, LoraJob
from .train import LoraResult, check_size, train_lora


def train_lora_from(settings: LoraTraining) -> LoraResult:
    """Everything that `lavie train lora` does."""
    check_packages()
    device = chosen_device(settings.loop.device)
    family = find_family(str(settings.start.family))
    size = settings.data.size or (family.base.height, family.base.width)
    check_size(size)
    read_at = settings.lora.reading_size(*size)
    images, report = images_in(settings.data.images.expanduser(), *read_at, settings.lora.trigger)
    print_once(report.text())
    job = LoraJob(family, size, settings.lora, settings.loop, settings.run.run_folder, settings.run.output, device)
    result = train_lora(job, images, Events(phase=_print_phase))
    if result.file is not None:
        print_once(f"wrote {result.file}")
    return result


def _print_phase(phase: str, done: int, total: int) -> None:
    if done == total:
        print_once({"encode": f"{total} images encoded", "prior": f"the base made {total} of its own"}[phase])
