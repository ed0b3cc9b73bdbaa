"""What `vla3d serve` is asked to do, checked before anything is loaded. Importing this loads no torch."""

from dataclasses import dataclass
from pathlib import Path

from vla3d.errors import ConfigError, unknown_name

PROTOCOLS: tuple[str, ...] = ("gembench",)
"""``gembench``: ``POST /predict`` with msgpack bodies, as GemBench's challenge client sends them."""


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """One policy behind one port.

    Attributes:
        protocol: one of ``PROTOCOLS``.
        checkpoint: a folder that a policy's ``save_pretrained`` wrote; `vla3d serve` also takes a training run. Needed unless
            ``policy`` names one without weights.
        policy: ``"random"`` or another policy without weights, to try a connection; None takes the one in ``checkpoint``.
        host: address to listen on; 0.0.0.0 lets other machines in, and anybody who reaches the port may use the policy.
        port: 0 takes a free one.
        seed: of a policy's own randomness, with the task and the number of the episode.
        step_limit: decisions that the client allows in an episode.
        max_megabytes: largest request; a GemBench observation of four 256-pixel cameras takes about 5.
        timeout: seconds that a client may be silent in the middle of a request.
        device: torch device of a learned policy; ``"auto"`` takes the GPU when there is one.
    """

    protocol: str = "gembench"
    checkpoint: Path | None = None
    policy: str | None = None
    host: str = "127.0.0.1"
    port: int = 13003
    seed: int = 0
    step_limit: int = 25
    max_megabytes: float = 64
    timeout: float = 60
    device: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "checkpoint", None if self.checkpoint is None else Path(self.checkpoint))
        if self.protocol not in PROTOCOLS:
            raise unknown_name("protocol", self.protocol, PROTOCOLS)
        if self.policy is None and self.checkpoint is None:
            raise ConfigError("Got no policy: give checkpoint=RUN, or policy=random to try the connection.")
        if self.policy is not None and self.checkpoint is not None:
            raise ConfigError(f"Got checkpoint={self.checkpoint} and policy={self.policy}; give one of the two.")
        for name, least, most in (("port", 0, 65535), ("seed", 0, 2**31), ("step_limit", 1, 10**6)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ConfigError(f"{name}: got {value!r}, expected a whole number from {least} to {most}.")
        for name in ("max_megabytes", "timeout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise ConfigError(f"{name}: got {value!r}, expected a positive number.")
