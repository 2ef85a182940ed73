"""A model that is named again is not loaded again, unless its files have been written since."""

import os
import shutil

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
