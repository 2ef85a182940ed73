"""Where a hub id is loaded from: the hub, or without a network what its cache here holds."""

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, StrictDataclassError

from descentcast.errors import ModelError

SECONDS = 10.0
REFUSED = StrictDataclassError  # What is raised of a config whose numbers fit no model.


def on_the_hub_or_here(name: str) -> str:
    """Return the id of a model, or, where the hub does not answer, the folder of its copy here.

    It is asked once: transformers by itself goes on trying for a minute.

    Raises:
        ModelError: The hub does not answer, and there is no copy here.
    """
    try:
        huggingface_hub.HfApi().model_info(name, timeout=SECONDS)
    except HfHubHTTPError:  # it has an answer, were it that there is no such model
        return name
    except Exception as error:  # no network, no name server, a proxy's refusal, offline mode: of many libraries
        try:
            return huggingface_hub.snapshot_download(name, local_files_only=True)
        except (OSError, ValueError):
            raise ModelError(f"{name}: the hub does not answer, and no copy is kept here") from error
    return name
