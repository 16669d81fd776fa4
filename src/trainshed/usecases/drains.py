"""An operator's drain: an offer takes nothing new, and what runs there is evicted with its
checkpoint and queues again.
"""

from __future__ import annotations

from trainshed.domain.errors import NotFound
from trainshed.domain.people import Principal
from trainshed.ports.deps import Deps
from trainshed.ports.store import Tx
from trainshed.ports.views import OfferView
from trainshed.usecases import audit, queries


def drain(deps: Deps, principal: Principal, offer_id: str) -> OfferView:
    """Drain an offer until ``undrain``, also over restarts; twice is fine. The dispatcher's next
    round asks what runs there to leave.

    Raises:
        NotAllowed: not an operator. NotFound: there is no such offer.
    """
    return _change(deps, principal, offer_id, True)


def undrain(deps: Deps, principal: Principal, offer_id: str) -> OfferView:
    """Let an offer take Jobs again; twice is fine.

    Raises:
        NotAllowed: not an operator. NotFound: there is no such offer.
    """
    return _change(deps, principal, offer_id, False)


def _change(deps: Deps, principal: Principal, offer_id: str, drained: bool) -> OfferView:
    principal.need_operator()
    if not any(v.free.offer.id == offer_id for v in queries.offers(deps)):
        raise NotFound("There is no offer with that id.")
    now = deps.clock.utc_now()

    def apply(tx: Tx) -> None:
        if drained:
            tx.records.drain(offer_id, now, principal.id)
        else:
            tx.records.undrain(offer_id)
        action = "offer.drain" if drained else "offer.undrain"
        audit.line(tx, principal, principal.account_id, action, offer_id, now)

    deps.store.write(apply)
    deps.bus.notify("queue")
    return next(v for v in queries.offers(deps) if v.free.offer.id == offer_id)
