"""A Hugging Face cache without a network."""

import pytest


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """The cache of the repository org/derm, as downloads leave it on a machine that then loses its network.

    A function of a revision and its commit (40 hex digits) that returns the commit's folder, to be filled.
    """
    repository = tmp_path / "hub" / "models--org--derm"
    (repository / "refs").mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def commit_folder(revision, commit):
        (repository / "refs" / revision).write_text(commit)
        folder = repository / "snapshots" / commit
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    return commit_folder
