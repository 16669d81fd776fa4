"""Which network a job is given (D17)."""

from __future__ import annotations

import pytest

from trainshed.dialects.runner.translate import network_of
from trainshed.domain.job import Network


@pytest.mark.parametrize(
    ("asked", "alone", "given"),
    [
        (Network.DEFAULT, True, "host"),
        (Network.DEFAULT, False, "egress"),
        (Network.HOST, True, "host"),
        (Network.HOST, False, "egress"),
        (Network.EGRESS, True, "egress"),
        (Network.EGRESS, False, "egress"),
        (Network.NONE, True, "none"),
        (Network.NONE, False, "none"),
    ],
)
def test_the_network_a_job_gets(asked: Network, alone: bool, given: str) -> None:
    network, note = network_of(asked, alone)
    assert network == given
    assert bool(note) == (asked is Network.HOST and not alone)
