"""What the texts of a message cost a reader that copies each of them.

In a flatbuffer many fields can refer to one text, so that a few kilobytes unfold to gigabytes of keys and values while
the schema is read. Texts are therefore counted as often as they are referred to.
"""

from arrow_ingest.ipc.flatbuffer import Table
from arrow_ingest.ipc.refusal import Refused
from arrow_ingest.values import Reason

_PAIR_BYTES = 64
"""Two std::string objects: what a key-value pair takes however short it is."""

KEY, VALUE = 0, 1
"""Fields of a KeyValue table."""


class TextBudget:
    """Counts down the bytes that names, time zones and key-value metadata may unfold to."""

    __slots__ = ("_left", "_max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._left = max_bytes

    def spend(self, size: int) -> None:
        """Takes ``size`` bytes off.

        Raises:
            Refused: METADATA, when that is more than is left.
        """
        self._left -= size
        if self._left < 0:
            raise Refused(Reason.METADATA, f"names and metadata unfold to more than {self._max_bytes} bytes")

    def spend_pairs(self, table: Table, field: int) -> list[Table]:
        """Takes a vector of key-value pairs off, and returns them."""
        self.spend(_PAIR_BYTES * table.count(field))
        pairs = list(table.tables(field))
        for pair in pairs:
            self.spend(pair.text_size(KEY) + pair.text_size(VALUE))
        return pairs
