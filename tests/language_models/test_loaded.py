"""A model that is named again is not loaded again, unless its files have been written since."""

import os
import shutil

import huggingface_hub
import pytest

from descentcast.errors import ArgumentError, ModelError
from descentcast.language_models import load_model, loaded, pull


def test_a_name_is_loaded_once_and_a_loaded_model_is_itself():
    first = loaded("descent-small")
    assert loaded("descent-small") is first
    assert loaded(first) is first
    assert load_model("descent-small") is not first  # what is asked for in so many words is done


def test_a_folder_that_was_written_since_is_loaded_anew(tmp_path):
    folder = tmp_path / "decoder"
    shutil.copytree(pull("descent-small"), folder)
    first = loaded(str(folder))
    assert loaded(str(folder)) is first
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert loaded(str(folder)) is not first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name_or_path": 3}, "name_or_path is a int"),
        ({"device": "gpu"}, "device == 'gpu', must be 'auto', 'cpu' or 'cuda'"),
        ({"adapter": 3}, "adapter is a int"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused_by_name(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        load_model(**({"name_or_path": "descent-small"} | arguments))
    with pytest.raises(ArgumentError, match="model is a NoneType, must be a name or a model"):
        loaded(None)  # pyright: ignore[reportArgumentType]


def test_without_the_hub_a_model_is_had_from_its_copy_here_or_refused_at_once(tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise OSError("no name server")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", no_network)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="own/decoder: the hub does not answer, and no copy is kept here"):
        load_model("own/decoder")
    kept, commit = tmp_path / "models--own--decoder", 40 * "0"
    shutil.copytree(pull("descent-small"), kept / "snapshots" / commit)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    assert load_model("own/decoder").name == "own/decoder"
