"""LoRAs trained on a few images: a subject or a style for a base that is there."""
