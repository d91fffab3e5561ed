"""How the walks of this room stop at the first fault: an exception that carries the rejection, caught in ``decode``."""

from arrow_ingest.values import Reason, Rejection


class Refused(Exception):
    """The payload is at fault. Never leaves the room: ``decode`` turns it into its :class:`Rejection`."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.rejection = Rejection(reason, detail)
