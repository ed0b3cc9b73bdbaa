"""What every `ViewBackbone` must hold, as checks that run on any implementation, also with random weights.

Most vision-language models are causal and read images before text: their image tokens cannot depend on the instruction, and a
policy that reads heatmaps from them is blind without any error. These checks find that, and the other silent failures of the
kind (padding that changes the mask, transposed grids, batch-dependent results). Use them for your own backbone::

    probe = Probe(sentence="pick up the red block", other="pick up the red bowl", longer="pick up the red block on the table")
    for name, check in CHECKS.items():
        check(backbone, probe)

A failed check raises `ContractViolation`, an `AssertionError`.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from vla3d.backbones.base import TextBatch, ViewBackbone, ViewTokens
from vla3d.errors import InstructionError


class ContractViolation(AssertionError):
    """A backbone breaks one of the promises that policies build on."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The sentences and thresholds of the checks.

    Attributes:
        sentence: an instruction.
        other: the same instruction with only the last word changed.
        longer: an instruction that takes more tokens than ``sentence``; beside it the others are padded.
        seed: of the random views.
        same: two results are equal when they differ by less than this, relative to the root mean square.
        changed: two results differ when they do by more than this.
    """

    sentence: str
    other: str
    longer: str
    seed: int = 0
    same: float = 1e-4
    changed: float = 1e-3


def check_last_word_reaches_views(backbone: ViewBackbone, probe: Probe) -> None:
    """(a), (c) Changing the last word changes every view's tokens, with and without padding in the batch."""
    views, proprio = _inputs(backbone, probe, 1)
    for sentences in ([probe.sentence], [probe.sentence, probe.longer]):
        changed = [probe.other, *sentences[1:]]
        many = len(sentences)
        first = _run(backbone, views.expand(many, -1, -1, -1, -1), backbone.tokenize(sentences), _rows(proprio, many))
        second = _run(backbone, views.expand(many, -1, -1, -1, -1), backbone.tokenize(changed), _rows(proprio, many))
        for view in range(backbone.num_views):
            if _difference(first.grid[0, view], second.grid[0, view]) < probe.changed:
                raise ContractViolation(
                    f"The tokens of view {view} do not depend on the last word ({'padded' if many > 1 else 'unpadded'} batch): "
                    "the model is blind to its instruction. Make the attention bidirectional or put the text first."
                )


def check_last_view_reaches_first(backbone: ViewBackbone, probe: Probe) -> None:
    """(b), (c) Changing the last view changes the tokens of the first; a causal model cannot pass."""
    _check_view_reaches(backbone, probe, source=backbone.num_views - 1, target=0)


def check_first_view_reaches_last(backbone: ViewBackbone, probe: Probe) -> None:
    """(b), (c) Changing the first view changes the tokens of the last."""
    _check_view_reaches(backbone, probe, source=0, target=backbone.num_views - 1)


def check_proprioception_reaches_views(backbone: ViewBackbone, probe: Probe) -> None:
    """Changing the proprioception changes the tokens of the first view (nothing to check without proprioception)."""
    if not backbone.proprio_dim:
        return
    views, proprio = _inputs(backbone, probe, 1)
    assert proprio is not None
    text = backbone.tokenize([probe.sentence])
    first, second = _run(backbone, views, text, proprio), _run(backbone, views, text, 1 - proprio)
    if _difference(first.grid[:, 0], second.grid[:, 0]) < probe.changed:
        raise ContractViolation("The tokens of view 0 do not depend on the proprioception.")


def check_hints_reach_views(backbone: ViewBackbone, probe: Probe) -> None:
    """Hints of zero change nothing, to the bit; a hint at one patch of the first view changes the tokens of the last."""
    views, proprio = _inputs(backbone, probe, 1)
    text = backbone.tokenize([probe.sentence])
    features = torch.zeros(1, backbone.num_views, *backbone.grid, backbone.dim, device=views.device)
    without, zeros = _run(backbone, views, text, proprio), _run(backbone, views, text, proprio, features)
    if not torch.equal(without.grid, zeros.grid) or not torch.equal(without.text, zeros.text):
        raise ContractViolation("Hints of zero change the result, expected what comes without hints.")
    with _evaluating(backbone):
        features[0, 0, 0, 0] = -backbone.view_features(views)[0, 0, 0, 0]
    hinted = _run(backbone, views, text, proprio, features)
    if _difference(without.grid[:, -1], hinted.grid[:, -1]) < probe.changed:
        raise ContractViolation(
            "The tokens of the last view do not depend on a hint, which must be there before views are joined."
        )


def check_padding_never_leaks(backbone: ViewBackbone, probe: Probe) -> None:
    """(d) What stands at padded positions changes nothing, and padded text tokens come back as zeros."""
    views, proprio = _inputs(backbone, probe, 2)
    text = backbone.tokenize([probe.sentence, probe.longer])
    if bool(text.mask.all()):
        raise ValueError("The probe's 'longer' sentence takes as many tokens as 'sentence', expected more: nothing is padded.")
    scrambled = TextBatch(torch.where(text.mask, text.ids, text.ids[1].roll(1)), text.mask)
    first, second = _run(backbone, views, text, proprio), _run(backbone, views, scrambled, proprio)
    if not torch.equal(first.grid, second.grid) or not torch.equal(first.text, second.text):
        raise ContractViolation("Token ids at padded positions change the result; mask them out of the attention.")
    if bool((first.text[~text.mask] != 0).any()):
        raise ContractViolation("Text tokens at padded positions are not zero.")


def check_grid_order(backbone: ViewBackbone, probe: Probe) -> None:
    """(e) Painting one patch changes the feature of its own cell most, and no other view's features."""
    views, _ = _inputs(backbone, probe, 1)
    rows, columns = backbone.grid
    high, wide = backbone.resolution // rows, backbone.resolution // columns
    with _evaluating(backbone):
        before = backbone.view_features(views).float()
        for view, row, column in ((0, 0, columns - 1), (backbone.num_views - 1, rows - 1, 0), (0, rows // 2, columns // 4)):
            painted = views.clone()
            patch = painted[0, view, :, row * high : (row + 1) * high, column * wide : (column + 1) * wide]
            patch.copy_(1 - patch)
            change = (backbone.view_features(painted).float() - before).norm(dim=-1)[0]
            found = divmod(int(change[view].argmax()), columns)
            if found != (row, column):
                raise ContractViolation(f"Painting patch {(row, column)} of view {view} changes cell {found} most.")
            others = [v for v in range(backbone.num_views) if v != view]
            if others and float(change[others].max()) > probe.same * float(change[view].max()):
                raise ContractViolation(f"Painting view {view} changes the features of another view before they are joined.")


def check_save_load(backbone: ViewBackbone, probe: Probe) -> None:
    """(f) A saved and reloaded backbone gives the same tokens and the same features, bit for bit."""
    views, proprio = _inputs(backbone, probe, 2)
    with tempfile.TemporaryDirectory() as folder:
        backbone.save_pretrained(folder)
        again = type(backbone).from_pretrained(folder).to(next(backbone.parameters()).device)
    text, text_again = (b.tokenize([probe.sentence, probe.longer]) for b in (backbone, again))
    if not torch.equal(text.ids, text_again.ids) or not torch.equal(text.mask, text_again.mask):
        raise ContractViolation("The reloaded tokenizer reads a sentence differently.")
    first, second = _run(backbone, views, text, proprio), _run(again, views, text, proprio)
    if not torch.equal(first.grid, second.grid) or not torch.equal(first.text, second.text):
        raise ContractViolation(f"The reloaded backbone differs by {_difference(first.grid, second.grid):.1e} (relative).")


def check_batch_of_one(backbone: ViewBackbone, probe: Probe) -> None:
    """(g) A sample alone gives what it gives inside a batch, beside longer sentences too."""
    sentences = [probe.sentence, probe.longer, probe.other]
    views, proprio = _inputs(backbone, probe, len(sentences))
    together = _run(backbone, views, backbone.tokenize(sentences), proprio)
    for i, sentence in enumerate(sentences):
        text = backbone.tokenize([sentence])
        alone = _run(backbone, views[i : i + 1], text, None if proprio is None else proprio[i : i + 1])
        words = text.ids.shape[1]
        for kind, one, many in (("grid", alone.grid[0], together.grid[i]), ("text", alone.text[0], together.text[i, :words])):
            if _difference(one, many) > probe.same:
                raise ContractViolation(
                    f"Sample {i} alone differs from its row in a batch by {_difference(one, many):.1e} ({kind})."
                )


def check_refuses_unreadable_text(backbone: ViewBackbone, probe: Probe) -> None:
    """Empty and over-long sentences are refused, never shortened; a blank prompt is a separate, explicit thing."""
    for bad in ("", " \n\t", "\u200b", " ".join([probe.longer] * 1000)):
        try:
            backbone.tokenize([probe.sentence, bad])
        except InstructionError:
            continue
        raise ContractViolation(f"The sentence {bad[:20]!r} ({len(bad)} characters) was accepted, expected InstructionError.")
    views, proprio = _inputs(backbone, probe, 1)
    spoken = _run(backbone, views, backbone.tokenize([probe.sentence]), proprio)
    blank = _run(backbone, views, backbone.blank(1), proprio)
    if not bool(torch.isfinite(blank.grid).all()):
        raise ContractViolation("A blank prompt gives non-finite features.")
    if _difference(spoken.grid, blank.grid) < probe.changed:
        raise ContractViolation("A blank prompt gives the features of a sentence: the model does not read.")


def check_agree(first: ViewBackbone, second: ViewBackbone, probe: Probe) -> None:
    """(c) Two backbones with the same weights but another attention kernel give the same features, padded and unpadded."""
    views, proprio = _inputs(first, probe, 2)
    for sentences in ([probe.sentence, probe.sentence], [probe.sentence, probe.longer]):
        one = _run(first, views, first.tokenize(sentences), proprio)
        two = _run(second, views, second.tokenize(sentences), proprio)
        if max(_difference(one.grid, two.grid), _difference(one.text, two.text)) > probe.same:
            raise ContractViolation(f"The two backbones differ by {_difference(one.grid, two.grid):.1e} (relative).")


CHECKS: dict[str, Callable[[ViewBackbone, Probe], None]] = {
    "last_word_reaches_views": check_last_word_reaches_views,
    "last_view_reaches_first": check_last_view_reaches_first,
    "first_view_reaches_last": check_first_view_reaches_last,
    "proprioception_reaches_views": check_proprioception_reaches_views,
    "hints_reach_views": check_hints_reach_views,
    "padding_never_leaks": check_padding_never_leaks,
    "grid_order": check_grid_order,
    "save_load": check_save_load,
    "batch_of_one": check_batch_of_one,
    "refuses_unreadable_text": check_refuses_unreadable_text,
}


def _check_view_reaches(backbone: ViewBackbone, probe: Probe, source: int, target: int) -> None:
    if backbone.num_views == 1:
        return
    for sentences in ([probe.sentence], [probe.sentence, probe.longer]):
        views, proprio = _inputs(backbone, probe, len(sentences))
        text = backbone.tokenize(sentences)
        changed = views.clone()
        changed[0, source] = 1 - changed[0, source]
        first, second = _run(backbone, views, text, proprio), _run(backbone, changed, text, proprio)
        if _difference(first.grid[0, target], second.grid[0, target]) < probe.changed:
            raise ContractViolation(f"The tokens of view {target} do not depend on view {source}: views are not read together.")


def _inputs(backbone: ViewBackbone, probe: Probe, batch: int) -> tuple[Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(probe.seed)
    device = next(backbone.parameters()).device
    side = backbone.resolution
    views = torch.rand(batch, backbone.num_views, 3, side, side, generator=generator).to(device)
    if not backbone.proprio_dim:
        return views, None
    return views, torch.rand(batch, backbone.proprio_dim, generator=generator).to(device)


def _run(
    backbone: ViewBackbone, views: Tensor, text: TextBatch, proprio: Tensor | None, hints: Tensor | None = None
) -> ViewTokens:
    with _evaluating(backbone):
        tokens = backbone(views, text, proprio) if hints is None else backbone(views, text, proprio, hints)
    batch = views.shape[0]
    expected = (batch, backbone.num_views, *backbone.grid, backbone.dim)
    if tuple(tokens.grid.shape) != expected or tuple(tokens.text.shape) != (*text.ids.shape, backbone.dim):
        raise ContractViolation(
            f"Got grid {tuple(tokens.grid.shape)} and text {tuple(tokens.text.shape)}, expected {expected}."
        )
    return ViewTokens(tokens.grid.float(), tokens.text.float())


@contextmanager
def _evaluating(backbone: ViewBackbone) -> Iterator[None]:
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        backbone.train(training)


def _rows(values: Tensor | None, batch: int) -> Tensor | None:
    return None if values is None else values.expand(batch, -1)


def _difference(first: Tensor, second: Tensor) -> float:
    """Largest absolute difference relative to the root mean square."""
    return float((first - second).abs().max() / first.square().mean().sqrt().clamp_min(1e-12))
