"""Fetch a model from the hub: a step of its own, so that it can run where there is a network (a head node).

Every later step reads the snapshot's folder and asks the hub for nothing. huggingface_hub is imported inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from entity_mech.errors import UserError
from entity_mech.files import write_checked_json
from entity_mech.models.folders import weight_files

# Configs, tokenizers and safetensors; never pickled checkpoints.
PATTERNS = ("*.json", "*.safetensors", "tokenizer.model")
CODE_PATTERNS = ("*.py",)
# Copies of the weights in other formats lie in subfolders, or beside the model's under this name.
IGNORED = ("*/*", "consolidated*")


def download(
    repo_id: str,
    out_json: Path,
    *,
    revision: str | None = None,
    cache_dir: Path | None = None,
    trust_remote_code: bool = False,
    local_files_only: bool = False,
) -> dict[str, Any]:
    """Download a snapshot, or find it in the cache, and write {repo_id, revision, commit, folder} to
    out_json.

    cache_dir: the hub's cache; without it huggingface_hub's own (HF_HOME). With `local_files_only`, or with
    HF_HUB_OFFLINE=1 in the environment, nothing is fetched and the snapshot must be in the cache. Python
    files are fetched only where the model's own code is trusted. Raises UserError when the repository or its
    revision can't be had, or when it holds no safetensors weights.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    at = f"{repo_id} (revision {revision or 'main'})"
    try:
        folder = Path(
            snapshot_download(
                repo_id,
                revision=revision,
                cache_dir=cache_dir,
                allow_patterns=list(PATTERNS + (CODE_PATTERNS if trust_remote_code else ())),
                ignore_patterns=list(IGNORED),
                local_files_only=local_files_only,
            )
        )
    except GatedRepoError:
        raise UserError(f"{at} asks for its licence to be accepted: do so on the hub, then `hf auth login`") from None
    except RevisionNotFoundError:
        raise UserError(f"{repo_id} has no revision {revision!r} on the hub") from None
    except RepositoryNotFoundError:
        raise UserError(
            f"the hub has no model {repo_id} that you can read, and there is no local folder of that name"
        ) from None
    except LocalEntryNotFoundError:
        raise UserError(
            f"{at} is not in the local hub cache, and the hub cannot be reached: "
            "run the download where there is a network"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(f"{at} could not be downloaded: {error}") from None
    weight_files(folder)
    found = {"repo_id": repo_id, "revision": revision, "commit": folder.name, "folder": str(folder)}
    write_checked_json(out_json, found)
    return found
