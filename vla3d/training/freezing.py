"""Weights that wait: some parts of a model stay as they are for the first updates, then train with the rest."""

from collections.abc import Iterable

from torch import nn

from vla3d.errors import ConfigError
from vla3d.training.optim import trainable


class Freeze:
    """The weights that the model names in ``frozen_first()``, held still for the first updates.

    Weights with ``requires_grad=False`` from the beginning are no business of this class: they never train.

    Args:
        model: offers ``frozen_first() -> Iterable[str]``, names of parameters, when ``steps`` is above 0.
        steps: updates they wait for.

    Raises:
        ConfigError: ``steps`` is above 0 and the model names no weights, unknown ones, or all it has.
    """

    def __init__(self, model: nn.Module, steps: int) -> None:
        self.steps = steps
        self._waiting = _named(model) if steps else []
        self._frozen = False

    @property
    def count(self) -> int:
        """Numbers in the weights that wait."""
        return sum(parameter.numel() for parameter in self._waiting)

    def holds(self, step: int) -> bool:
        """Whether update ``step`` (from 0) leaves them as they are."""
        return step < self.steps

    def enter(self, step: int) -> bool:
        """Make the weights ready for update ``step``; returns whether that changed which of them train."""
        return self._set(self.holds(step))

    def leave(self) -> None:
        """Leave the model as it was found."""
        self._set(False)

    def _set(self, frozen: bool) -> bool:
        if frozen == self._frozen:
            return False
        self._frozen = frozen
        for parameter in self._waiting:
            parameter.requires_grad_(not frozen)
        return True


def _named(model: nn.Module) -> list[nn.Parameter]:
    named: Iterable[str] = getattr(model, "frozen_first", lambda: ())()
    names = set(named)
    known = {name for name, _ in model.named_parameters()}
    if names - known:
        unknown = ", ".join(sorted(names - known))
        raise ConfigError(f"frozen_first() names parameters {type(model).__name__} does not have: {unknown}.")
    parameters = trainable(model)
    waiting = [parameter for name, parameter in parameters.items() if name in names]
    if not waiting:
        raise ConfigError(f"freeze_steps: {type(model).__name__} names no weights to freeze first; set freeze_steps=0.")
    if len(waiting) == len(parameters):
        raise ConfigError(f"freeze_steps: {type(model).__name__} would freeze all its weights; set freeze_steps=0.")
    return waiting
