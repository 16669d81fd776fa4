"""Where settings come from, and that what holds a token stays private."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mimaas import ConfigurationError
from mimaas.auth import delete_token, load_token, save_token, validate_token_format
from mimaas.config import Config


def write(home: Path, text: str, mode: int = 0o600) -> Path:
    (home / ".mimaas").mkdir(exist_ok=True)
    path = home / ".mimaas" / "config.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_defaults() -> None:
    found = Config()
    assert (found.api_url, found.api_token, found.timeout, found.verify_ssl) == (
        "http://localhost:8000", None, 120, True,
    )  # fmt: skip


def test_the_order(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, "api_url: https://file.test/\ntimeout: 30\napi_token: from-config\n")
    assert (Config().api_url, Config().timeout) == ("https://file.test", 30)
    assert Config().api_token == "from-config"
    save_token("from-token-file")
    assert Config().api_token == "from-token-file"
    save_token("from-other-file", tmp_path / "other")
    assert Config(token_file=str(tmp_path / "other")).api_token == "from-other-file"
    monkeypatch.setenv("MIMAAS_API_URL", "https://env.test/")
    monkeypatch.setenv("MIMAAS_API_TOKEN", "from-env")
    monkeypatch.setenv("MIMAAS_TIMEOUT", "40")
    found = Config()
    assert (found.api_url, found.api_token, found.timeout) == ("https://env.test", "from-env", 40)
    given = Config("https://arg.test/", "from-arg", timeout=50)
    assert (given.api_url, given.api_token, given.timeout) == ("https://arg.test", "from-arg", 50)
    assert Config("", "", timeout=0).api_url == "https://env.test"


def test_a_timeout_that_is_no_number_counts_as_not_given(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIMAAS_TIMEOUT", "soon")
    assert Config().timeout == 120
    with pytest.raises(ConfigurationError, match="timeout"):
        Config(timeout=-1)
    write(home, "timeout: soon\n")
    with pytest.raises(ConfigurationError, match="timeout"):
        Config()


@pytest.mark.parametrize("text", ["- a\n- b\n", "api_token: [secret-canary\n", "api_url: 3\n"])
def test_a_broken_file_is_named_and_not_quoted(home: Path, text: str) -> None:
    path = write(home, text)
    with pytest.raises(ConfigurationError) as caught:
        Config()
    assert str(path) in str(caught.value)
    assert "canary" not in str(caught.value)


def test_an_empty_file_is_none(home: Path) -> None:
    write(home, "# nothing\n")
    assert Config().timeout == 120


def test_saving_merges(home: Path) -> None:
    path = write(home, "api_url: https://file.test\n", 0o644)
    Config().save_config(timeout=7)
    assert yaml.safe_load(path.read_text()) == {"api_url": "https://file.test", "timeout": 7}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_loosened_permissions_are_repaired(home: Path) -> None:
    save_token("secret")
    path = home / ".mimaas" / "token"
    path.chmod(0o644)
    assert load_token() == "secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_permissions_that_are_not_ours_to_repair(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_token("secret")
    (home / ".mimaas" / "token").chmod(0o644)

    def refused(*_: object) -> None:
        raise PermissionError("not the owner")

    monkeypatch.setattr(os, "fchmod", refused)
    with pytest.raises(ConfigurationError, match="chmod 600") as caught:
        load_token()
    assert "secret" not in str(caught.value)


def test_the_token_file(home: Path, tmp_path: Path) -> None:
    assert load_token() is None
    assert delete_token() is False
    save_token("one")
    save_token("two")
    assert load_token() == "two"
    assert delete_token() is True
    assert load_token() is None
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_token(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        save_token("three", tmp_path / "file" / "token")


def test_the_form_of_a_token() -> None:
    assert validate_token_format("0aF" * 21 + "1")
    for wrong in ("", "ab", "g" * 64, "a" * 64 + "\n"):
        assert not validate_token_format(wrong)


def test_importing_is_light() -> None:
    code = "import mimaas, sys; print(sorted({'httpx2', 'yaml', 'pandas'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
