"""What the tests of servers share."""

import pytest

from p2d_lib.llm.settings import Settings

NAMES = ("P2D_API_BASE_URL", "P2D_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_KEY")
NETWORK = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture
def no_settings_of_this_machine(monkeypatch, tmp_path):
    for name in (*NAMES, *NETWORK):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    monkeypatch.chdir(tmp_path)
