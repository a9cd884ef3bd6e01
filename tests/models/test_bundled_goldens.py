"""The bundled networks say what they said when parity with the official code was proven."""

import pytest
from safetensors.torch import load_file
from support.make_goldens import FILE, PROMPT, SHAPES, predictions, stages
from support.reference import relative_error


@pytest.fixture(scope="module")
def bundled():
    return stages()


@pytest.mark.parametrize("name", SHAPES)
def test_the_bundled_network_still_gives_its_golden_answer(bundled, name):
    golden = load_file(FILE)
    assert relative_error(predictions(bundled[name], golden[f"{name}.sample"]), golden[f"{name}.out"]) < 1e-4


@pytest.mark.parametrize("name", SHAPES)
def test_the_bundled_text_encoder_still_gives_its_golden_embedding(bundled, name):
    golden = load_file(FILE)[f"{name}.text"]
    assert relative_error(bundled[name].text_encoder.encode([PROMPT]), golden) < 1e-4
