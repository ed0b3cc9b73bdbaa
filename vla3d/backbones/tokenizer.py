"""A small tokenizer trained on a project's own instructions, kept with the checkpoint; no network, no downloads.

Byte-fallback BPE (Sennrich et al. 2016; Kudo and Richardson 2018 for the byte fallback): words of the training
sentences become single tokens, unseen words fall apart into known pieces, and unseen characters into their UTF-8 bytes,
so every sentence can be written without an unknown token.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from vla3d.backbones.base import TextBatch
from vla3d.errors import CheckpointError, ConfigError, InstructionError

FILE_NAME = "tokenizer.json"
PAD, EOS, BOS, UNKNOWN, IMAGE = "<pad>", "<eos>", "<bos>", "<unk>", "<image>"
# PaliGemma closes its prompt with a newline (Beyer et al. 2024, section 3.2.1); in both vocabularies it is a token of its own.
END_OF_PROMPT = "\n"
_SPACE = "▁"
_SPECIAL = [PAD, EOS, BOS, UNKNOWN, IMAGE, END_OF_PROMPT]
_ALPHABET = list("abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'\"()-/")


def _clean(sentence: str) -> str:
    """Collapse white space (also line breaks, which would read as the end of the prompt) and drop invisible characters."""
    visible = "".join(" " if c.isspace() else c for c in sentence if c.isspace() or unicodedata.category(c)[0] != "C")
    return " ".join(visible.split())


class InstructionTokenizer:
    """Sentences to token ids: ``<bos>``, the words, a closing newline.

    Args:
        tokenizer: a `tokenizers.Tokenizer` whose vocabulary holds ``<pad>``, ``<bos>`` and the newline; Gemma's does.

    Raises:
        CheckpointError: when one of these tokens is missing.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        # Otherwise a sentence that spells "<pad>" or "<image>" would smuggle in the control token itself.
        tokenizer.encode_special_tokens = True
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self.pad_id = self._control_id(PAD)
        self.bos_id = self._control_id(BOS)
        self.end_id = self._control_id(END_OF_PROMPT)

    @classmethod
    def train(cls, sentences: Iterable[str], vocab_size: int = 4096) -> "InstructionTokenizer":
        """Learn a vocabulary from instructions; the result depends neither on their order nor on repetitions.

        Args:
            sentences: the instructions a policy is to follow, with all their paraphrases.
            vocab_size: upper limit. While it is not reached every word of the sentences is a single token.

        Raises:
            ConfigError: when there is no sentence to learn from or the limit does not hold the basic alphabet.
        """
        corpus = sorted({cleaned for sentence in sentences if (cleaned := _clean(sentence))})
        basic = len(_SPECIAL) + 256 + len(_ALPHABET) + 1
        if not corpus:
            raise ConfigError("The tokenizer got no sentence to learn from, expected at least one non-empty instruction.")
        if vocab_size <= basic:
            raise ConfigError(f"The tokenizer's vocab_size is {vocab_size}, expected more than {basic} (bytes and alphabet).")
        tokenizer = Tokenizer(BPE(unk_token=UNKNOWN, byte_fallback=True))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Split(Regex(r"[^\w\s▁]"), "isolated")]
        )
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        special = _SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = BpeTrainer(
            vocab_size=vocab_size, special_tokens=special, initial_alphabet=[*_ALPHABET, _SPACE], show_progress=False
        )
        tokenizer.train_from_iterator(corpus, trainer)
        return cls(tokenizer)

    @classmethod
    def load(cls, directory: str | PathLike[str]) -> "InstructionTokenizer":
        """Read ``tokenizer.json`` from a checkpoint directory (ours or Gemma's).

        Raises:
            CheckpointError: when it is missing or does not parse.
        """
        path = Path(directory) / FILE_NAME
        if not path.is_file():
            raise CheckpointError(f"No {FILE_NAME} in {directory}, expected the tokenizer next to the weights.")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except CheckpointError:
            raise
        except Exception as error:  # the tokenizers library raises a bare Exception
            raise CheckpointError(
                f"{path} is not a tokenizer file ({error}); restore it from the original checkpoint."
            ) from error

    def save(self, directory: str | PathLike[str]) -> None:
        """Write ``tokenizer.json`` into ``directory``."""
        # Its own save() raises a bare Exception on a full disk.
        Path(directory, FILE_NAME).write_text(self._tokenizer.to_str(pretty=True), encoding="utf-8")

    @property
    def vocab_size(self) -> int:
        """Number of tokens, special ones included."""
        return self._tokenizer.get_vocab_size()

    def words(self, sentence: str) -> list[str]:
        """The pieces a sentence falls into, for showing to people."""
        return self._tokenizer.encode(_clean(sentence), add_special_tokens=False).tokens

    def spans(self, sentence: str) -> list[tuple[int, int]]:
        """Where each piece of `words` stands: position of its first character and after its last one.

        The space before a word does not count to it. Positions are those of ``sentence`` if it has no line breaks, doubled
        spaces or invisible characters.
        """
        text = _clean(sentence)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        found = []
        for piece, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            # The mark of a space also stands before the first word, where there is no space: it has no characters then.
            end = start if piece == _SPACE and not text[start:end].isspace() else end
            found.append((end - len(text[start:end].lstrip()), end))
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """The sentence behind token ids, without control tokens."""
        control = {self.pad_id, self.bos_id, self.end_id}
        return self._tokenizer.decode([i for i in ids if i not in control], skip_special_tokens=False)

    def fits(self, sentence: str, max_tokens: int) -> bool:
        """Whether a sentence is within a budget, see `encode`."""
        return len(self.words(sentence)) + 2 <= max_tokens

    def encode(self, sentences: Sequence[str], max_tokens: int) -> TextBatch:
        """Token ids of sentences, padded on the right to the longest.

        Args:
            sentences: at least one.
            max_tokens: budget per sentence, the two control tokens included.

        Raises:
            InstructionError: when a sentence is empty or over the budget.
        """
        if not sentences:
            raise InstructionError("Got no sentence to tokenize, expected one instruction for each sample.")
        cleaned = [_clean(sentence) for sentence in sentences]
        for i, text in enumerate(cleaned):
            if not text:
                raise InstructionError(
                    f"Instruction {i} is {sentences[i]!r}, expected words: say what to do. "
                    "For a blind control use the blank prompt instead."
                )
        encodings = self._tokenizer.encode_batch(cleaned, add_special_tokens=False)
        rows = [[self.bos_id, *encoding.ids, self.end_id] for encoding in encodings]
        for text, row in zip(cleaned, rows, strict=True):
            if len(row) > max_tokens:
                shown = text if len(text) <= 60 else text[:57] + "..."
                raise InstructionError(
                    f"Instruction {shown!r} takes {len(row)} tokens, expected at most {max_tokens}. "
                    "Use a shorter sentence, or train with a larger max_text_tokens."
                )
        return self._batch(rows)

    def blank(self, batch_size: int) -> TextBatch:
        """A batch of prompts with control tokens only."""
        return self._batch([[self.bos_id, self.end_id]] * batch_size)

    def _batch(self, rows: list[list[int]]) -> TextBatch:
        width = max(map(len, rows))
        ids = torch.tensor([row + [self.pad_id] * (width - len(row)) for row in rows], dtype=torch.int64)
        lengths = torch.tensor([len(row) for row in rows])
        return TextBatch(ids, torch.arange(width) < lengths[:, None])

    def _control_id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise CheckpointError(f"The tokenizer has no token {token!r}, expected one trained by vla3d or PaliGemma's own.")
        return found
