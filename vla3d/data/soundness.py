"""What ``on_corrupt="skip"`` does: every episode is verified once, and the damaged ones are remembered and named."""

import logging
from collections.abc import Callable

from vla3d.data.store import EpisodeRef
from vla3d.errors import CorruptEpisodeError

logger = logging.getLogger(__name__)


class Soundness:
    """Which episodes of a source can be used.

    Args:
        verify: reads all of an episode; raises ``CorruptEpisodeError`` for damage.

    Attributes:
        skipped: damaged episodes, and what is wrong with each.
    """

    def __init__(self, verify: Callable[[EpisodeRef], None]) -> None:
        self.skipped: dict[EpisodeRef, CorruptEpisodeError] = {}
        self._verify = verify
        self._sound: set[EpisodeRef] = set()

    def __contains__(self, ref: EpisodeRef) -> bool:
        if ref not in self._sound and ref not in self.skipped:
            try:
                self._verify(ref)
                self._sound.add(ref)
            except CorruptEpisodeError as error:
                self.skip(ref, error)
        return ref in self._sound

    def skip(self, ref: EpisodeRef, error: CorruptEpisodeError) -> None:
        """Leave an episode out, with a warning."""
        logger.warning("%s It is skipped.", error)
        self.skipped[ref] = error
