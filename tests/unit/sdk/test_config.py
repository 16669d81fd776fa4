"""Which server and which key; the file is ours alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainshed_client.config import Target, config_path, forget, load, resolve, store
from trainshed_client.errors import ConfigProblem


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_nothing_is_this_machine() -> None:
    assert resolve() == Target("http://127.0.0.1:8000")


def test_store_is_private_even_under_a_loose_umask() -> None:
    old = os.umask(0)
    try:
        path = store(Target("http://shed", "ts_1"), "home")
    finally:
        os.umask(old)
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert path == config_path()
    assert resolve() == Target("http://shed", "ts_1", "home")


def test_a_readable_file_is_fixed_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    path = store(Target("http://shed", "ts_1"), "home")
    path.chmod(0o644)
    assert load().profiles["home"].api_key == "ts_1"
    assert mode(path) == 0o600
    assert "0600" in capsys.readouterr().err
    load()
    assert capsys.readouterr().err == ""


def test_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    store(Target("http://work", "ts_work"), "work")
    store(Target("http://home", "ts_home"), "home")
    assert resolve().url == "http://home"
    monkeypatch.setenv("TRAINSHED_PROFILE", "work")
    assert resolve() == Target("http://work", "ts_work", "work")
    monkeypatch.setenv("TRAINSHED_API_KEY", "ts_env")
    assert resolve().api_key == "ts_env"
    monkeypatch.setenv("TRAINSHED_URL", "http://env")
    assert resolve() == Target("http://env", "ts_env")
    assert resolve("http://arg").url == "http://arg"
    assert resolve(profile="home") == Target("http://home", "ts_home", "home")


def test_a_key_never_goes_to_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    store(Target("http://home", "ts_home"), "home")
    assert resolve("http://elsewhere").api_key is None
    assert resolve("http://home/").api_key == "ts_home"
    monkeypatch.setenv("TRAINSHED_URL", "http://elsewhere")
    assert resolve().api_key is None


def test_unknown_profile_names_the_known() -> None:
    store(Target("http://home", "ts_home"), "home")
    with pytest.raises(ConfigProblem, match="home"):
        resolve(profile="hom")


def test_broken_file_is_named() -> None:
    store(Target("http://home"), "home").write_text("= nonsense")
    with pytest.raises(ConfigProblem, match=r"config\.toml"):
        load()


def test_forget() -> None:
    store(Target("http://a", "1"), "a")
    store(Target("http://b", "2"), "b")
    assert forget("b")
    assert not forget("b")
    assert load().default == "a"
    assert forget("a")
    assert load().profiles == {}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_name_and_key_survive(text: str) -> None:
    store(Target("http://shed", text), text)
    assert load().profiles[text] == Target("http://shed", text, text)


def test_secrets_are_not_in_reprs() -> None:
    assert "ts_1" not in repr(Target("http://shed", "ts_1"))
