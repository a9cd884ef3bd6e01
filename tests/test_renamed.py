"""Python code written for version 0.1.0 runs unchanged for one version more, and is told what to write."""

from importlib import import_module

import pytest

from lavie import CascadePipeline, TextToVideoPipeline
from lavie.renamed import NAMES
from lavie.sampling import motion_bias

RENAMED = [(f"lavie.{module}", old, new) for module, names in NAMES.items() for old, new in names.items()]


@pytest.mark.parametrize(("module", "old", "new"), RENAMED)
def test_an_old_name_is_what_the_new_one_is_and_says_so(module, old, new):
    where, name = f"lavie.{new}".rsplit(".", 1)
    with pytest.warns(DeprecationWarning, match=rf"{module}\.{old} is now {where}\.{name}"):
        found = getattr(import_module(module), old)
    assert found is getattr(import_module(where), name)


def test_an_old_name_can_be_imported():
    with pytest.warns(DeprecationWarning, match="motion_bias") as caught:
        from lavie.sampling import livelier
    assert livelier is motion_bias
    assert caught[0].filename == __file__


def test_a_name_that_never_was_is_still_an_error():
    with pytest.raises(ImportError, match="no_such_name"):
        from lavie.sampling import no_such_name  # noqa: F401


@pytest.mark.parametrize("pipeline", [TextToVideoPipeline, CascadePipeline])
def test_a_pipeline_notifies_whom_its_old_attribute_was_given(pipeline):
    said, made = [], pipeline.from_pretrained("lavie-tiny", "cpu")
    with pytest.warns(DeprecationWarning, match="tell is now notify"):
        made.tell = said.append
    made.notify("fits")
    assert said == ["fits"]
    with pytest.warns(DeprecationWarning, match="tell is now notify"):
        assert made.tell == made.notify
