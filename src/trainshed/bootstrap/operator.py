"""The operator's own notifications, configured as the Orchestrator's document says."""

from __future__ import annotations

import structlog

from trainshed.bootstrap.settings import Settings
from trainshed.domain.errors import TrainshedError
from trainshed.ports.deps import Deps
from trainshed.usecases import subscriptions
from trainshed.usecases.subscriptions import Wanted

log = structlog.get_logger("trainshed.server")

ORCHESTRATOR = "orchestrator"
EVENTS = ("job.succeeded", "job.retrying", "job.failed")
SLACK_ID = "chn_" + "0" * 31 + "1"
EMAIL_ID = "chn_" + "0" * 31 + "2"


def operator_channels(deps: Deps, settings: Settings) -> None:
    """Make the settings' channels hear of the Orchestrator's jobs; without one it is silent."""
    slack = email = None
    if settings.slack_webhook_url is not None:
        config: dict[str, object] = {"url": settings.slack_webhook_url.get_secret_value()}
        slack = Wanted("slack", "operator", EVENTS, config, dialect=ORCHESTRATOR)
    if settings.recipient_emails and settings.smtp_server and settings.sender_email:
        to = {"to": settings.recipient_emails}
        email = Wanted("email", "operator", EVENTS, to, dialect=ORCHESTRATOR)
    for id_, wanted in ((SLACK_ID, slack), (EMAIL_ID, email)):
        try:
            subscriptions.install(deps, id_, wanted, ORCHESTRATOR)
        except TrainshedError as error:
            log.warning("the operator's channel is off", channel=id_, detail=error.detail)
            subscriptions.install(deps, id_, None, ORCHESTRATOR)
