"""Training an autoencoder goes down, resumes exactly, and leaves a folder that diffusers can load."""

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL

from lavie.training.autoencoder import RECIPES, build, export, latent_scale, pictures, train
from lavie.training.muon import orthogonalise

SMALL = replace(RECIPES["vae"], block_out_channels=(8, 16), crop=16, height=32, width=48, batch_size=2, warmup=1)


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("name", RECIPES)
def test_pictures_have_the_size_and_range_that_training_needs(name):
    generator = torch.Generator().manual_seed(0)
    for whole in (False, True):
        picture, mask = pictures(generator, RECIPES[name], whole)
        assert picture.shape[0] == mask.shape[0]
        assert picture.shape[1:2] + mask.shape[1:2] == (3, 1)
        assert picture.shape[2:] == mask.shape[2:]
        assert -1 <= picture.min() < picture.max() <= 1


def test_an_interrupted_run_ends_like_an_uninterrupted_one(tmp_path):
    whole = train(SMALL, tmp_path / "whole", steps=4, save_every=2)
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, _StopsAfter(tmp_path / "parts"), steps=4, save_every=2)
    parts = train(SMALL, tmp_path / "parts", steps=4, save_every=2)
    assert torch.equal(weights(whole), weights(parts))
    assert len((tmp_path / "parts" / "log.jsonl").read_text().splitlines()) == 2


class _StopsAfter:
    """A folder whose log interrupts the run after the first line, as Ctrl-C would."""

    def __init__(self, folder):
        self.folder = folder

    def mkdir(self, **options):
        self.folder.mkdir(**options)

    def __truediv__(self, name):
        path = self.folder / name
        if name == "log.jsonl" and (self.folder / "checkpoint.pt").exists():
            path.write_text("{}\n")
            raise KeyboardInterrupt
        return path


def test_training_only_the_decoder_keeps_the_latents(tmp_path):
    export(build(SMALL).eval(), SMALL, tmp_path / "start")
    before = AutoencoderKL.from_pretrained(tmp_path / "start").float()
    recipe = replace(SMALL, decoder_only=True, decoder_noise=0.02)
    after = train(recipe, tmp_path / "run", steps=2, start=tmp_path / "start")
    assert torch.equal(weights(before.encoder), weights(after.encoder))
    assert not torch.equal(weights(before.decoder), weights(after.decoder))


def test_exported_latents_have_a_standard_deviation_of_one(tmp_path):
    model = build(SMALL).eval()
    factor = export(model, SMALL, tmp_path)
    loaded = AutoencoderKL.from_pretrained(tmp_path, torch_dtype=torch.float32)
    assert loaded.config.scaling_factor == factor
    assert factor / latent_scale(loaded.eval(), SMALL) == pytest.approx(1, abs=0.01)


def test_orthogonalised_matrices_have_singular_values_near_one():
    values = torch.linalg.svdvals(orthogonalise(torch.randn(12, 40, generator=torch.Generator().manual_seed(0))))
    assert values.min() > 0.6
    assert values.max() < 1.3
