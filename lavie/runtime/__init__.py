"""Device, precision and memory: where and how the networks run."""

from .device import choose_device, choose_dtype, storage_device, vae_dtype

__all__ = ["choose_device", "choose_dtype", "storage_device", "vae_dtype"]
