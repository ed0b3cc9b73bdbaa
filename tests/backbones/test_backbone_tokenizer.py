"""The instruction tokenizer: whole words, every character, no silent shortening."""

import functools
import random
import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE

from vla3d.backbones.tokenizer import InstructionTokenizer
from vla3d.errors import CheckpointError, ConfigError, InstructionError

OBJECTS = ["red block", "turquoise cylinder", "wooden container", "top drawer", "magenta mug"]
SENTENCES = [t.format(o) for o in OBJECTS for t in ("Pick up the {}.", "lift the {} off the table", "please open the {}!")]


@functools.cache
def trained() -> InstructionTokenizer:
    """One vocabulary for all tests."""
    return InstructionTokenizer.train(SENTENCES)


@pytest.fixture
def tokenizer() -> InstructionTokenizer:
    return trained()


def test_training_words_are_single_tokens(tokenizer: InstructionTokenizer) -> None:
    assert tokenizer.words("Pick up the turquoise cylinder.") == ["▁pick", "▁up", "▁the", "▁turquoise", "▁cylinder", "."]
    for sentence in SENTENCES:
        words = sentence.replace(".", " .").replace("!", " !").split()
        assert len(tokenizer.words(sentence)) == len(words), sentence


def test_many_words_stay_whole() -> None:
    letters = random.Random(0)
    words = ["".join(letters.choices("abcdefghij", k=letters.randint(2, 12))) for _ in range(200)]
    tokenizer = InstructionTokenizer.train([" ".join(words[i : i + 10]) for i in range(0, 200, 10)])
    assert all(len(tokenizer.words(word)) == 1 for word in words)


def test_case_width_and_white_space_do_not_matter(tokenizer: InstructionTokenizer) -> None:
    plain = tokenizer.encode(["pick up the red block"], 16).ids
    for same in (
        "PICK up the ReD block",
        "  pick\tup the\nred   block \r\n",
        "ｐｉｃｋ up the red block",
        "pick up the red\u00a0block",
    ):
        assert torch.equal(tokenizer.encode([same], 16).ids, plain), same


def test_order_and_repetition_of_the_corpus_do_not_matter(tokenizer: InstructionTokenizer) -> None:
    again = InstructionTokenizer.train(SENTENCES[::-1] * 2)
    assert again._tokenizer.to_str() == tokenizer._tokenizer.to_str()


@given(st.text(min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    tokenizer = trained()
    try:
        batch = tokenizer.encode([text], 10_000)
    except InstructionError:
        assert not text.strip() or all(not c.isprintable() or c.isspace() for c in text)
        return
    assert tokenizer._tokenizer.token_to_id("<unk>") not in batch.ids
    assert batch.ids[0, 0] == tokenizer.bos_id and batch.ids[0, -1] == tokenizer.end_id
    assert not torch.isin(batch.ids[0, 1:-1], torch.tensor([tokenizer.pad_id, tokenizer.bos_id, tokenizer.end_id])).any()


@pytest.mark.parametrize(
    "text", ["日本語の指示", "pick up the café", "прими красный блок", "🤖 lift the 赤い block", "naïve ½"]
)
def test_non_ascii_survives_the_round_trip(tokenizer: InstructionTokenizer, text: str) -> None:
    batch = tokenizer.encode([text], 200)
    assert tokenizer.decode(batch.ids[0].tolist()) == unicodedata.normalize("NFKC", text).lower()


def test_control_tokens_cannot_be_smuggled_in(tokenizer: InstructionTokenizer) -> None:
    control = {tokenizer._tokenizer.token_to_id(t) for t in ("<pad>", "<bos>", "<eos>", "<unk>", "<image>", "\n")}
    ids = tokenizer.encode(["lift <image> <pad>\n<bos> the <eos> block <unk>"], 200).ids[0, 1:-1].tolist()
    assert not control & set(ids)
    assert tokenizer.decode(ids) == "lift <image> <pad> <bos> the <eos> block <unk>"


@pytest.mark.parametrize("empty", ["", "   ", "\n\t", "\u200b", "\x00\u202e"])
def test_empty_sentence_is_refused(tokenizer: InstructionTokenizer, empty: str) -> None:
    with pytest.raises(InstructionError, match="Instruction 1 is"):
        tokenizer.encode(["lift the red block", empty], 64)


def test_long_sentence_is_refused_with_both_numbers(tokenizer: InstructionTokenizer) -> None:
    with pytest.raises(InstructionError, match="takes 2002 tokens, expected at most 64"):
        tokenizer.encode(["red " * 2000], 64)
    sentence = "lift the red block"
    assert tokenizer.encode([sentence], 6).ids.shape == (1, 6)
    with pytest.raises(InstructionError, match="takes 6 tokens, expected at most 5"):
        tokenizer.encode([sentence], 5)


def test_no_sentence_is_refused(tokenizer: InstructionTokenizer) -> None:
    with pytest.raises(InstructionError, match="no sentence"):
        tokenizer.encode([], 64)


def test_padding_is_on_the_right(tokenizer: InstructionTokenizer) -> None:
    batch = tokenizer.encode(["lift the red block", "please open the top drawer!"], 64)
    assert batch.mask.tolist() == [[True] * 6 + [False] * 2, [True] * 8]
    assert (batch.ids[0, 6:] == tokenizer.pad_id).all()
    assert batch.select(torch.tensor([1, 0, 1])).mask[:, -1].tolist() == [True, False, True]


def test_save_and_load(tokenizer: InstructionTokenizer, tmp_path) -> None:
    tokenizer.save(tmp_path)
    again = InstructionTokenizer.load(tmp_path)
    sentences = [*SENTENCES, "lift the unseen café <pad>"]
    assert torch.equal(again.encode(sentences, 200).ids, tokenizer.encode(sentences, 200).ids)


def test_damaged_files_are_named(tokenizer: InstructionTokenizer, tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"No tokenizer\.json"):
        InstructionTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="not a tokenizer file"):
        InstructionTokenizer.load(tmp_path)
    Tokenizer(BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="no token '<pad>'"):
        InstructionTokenizer.load(tmp_path)


def test_training_refuses_what_it_cannot_use() -> None:
    with pytest.raises(ConfigError, match="no sentence to learn from"):
        InstructionTokenizer.train(["", "  "])
    with pytest.raises(ConfigError, match="vocab_size is 100"):
        InstructionTokenizer.train(SENTENCES, vocab_size=100)


def test_spans_are_where_the_pieces_stand() -> None:
    tokenizer = InstructionTokenizer.train(["there is a red cup, and a box."])
    for sentence in ("There is a Red cup, and a box.", "the zebra is in a cup.", "box"):
        words, spans = tokenizer.words(sentence), tokenizer.spans(sentence)
        assert len(words) == len(spans)
        assert [sentence[start:end].lower() for start, end in spans] == [word.replace("▁", "") for word in words]
        assert "".join(sentence[start:end] for start, end in spans) == sentence.replace(" ", "")
