"""Exact match of answers, in the variants that are in use. Name the one that you report."""

import re
import string
from collections.abc import Collection

from vla3d.errors import DataError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {word: str(number) for number, word in enumerate(_WORDS)}
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def em_strict(prediction: str, answers: Collection[str]) -> bool:
    """EM, as ScanQA and MV-ScanQA count it: the prediction is one of the answers, to the letter.

    Raises:
        DataError: there are no answers.
    """
    return prediction in _some(answers)


def em_normalized(prediction: str, answers: Collection[str]) -> bool:
    """EM after lower case, without punctuation and articles, numbers up to ten as figures, single spaces."""
    return normalize(prediction) in {normalize(answer) for answer in _some(answers)}


def em_refined(prediction: str, answers: Collection[str]) -> bool:
    """EM-R ("refined"): after lower case, the prediction contains an answer, or an answer contains the prediction.

    It is lenient: "no" matches "brown nose". An empty prediction matches nothing.
    """
    said = " ".join(prediction.lower().split())
    wanted = [" ".join(answer.lower().split()) for answer in _some(answers)]
    return bool(said) and any(said == answer or said in answer or (answer and answer in said) for answer in wanted)


def em_top(predictions: Collection[str], answers: Collection[str], k: int) -> bool:
    """EM@k of ScanQA: one of the first ``k`` predictions is one of the answers, to the letter.

    Raises:
        DataError: there are no answers, or ``k`` is below 1.
    """
    if k < 1:
        raise DataError(f"em_top: got k={k}, expected at least 1.")
    return any(prediction in _some(answers) for prediction in list(predictions)[:k])


def normalize(text: str) -> str:
    """What `em_normalized` compares."""
    words = _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()
    return " ".join(_NUMBERS.get(word, word) for word in words)


def _some(answers: Collection[str]) -> Collection[str]:
    if isinstance(answers, str) or not answers:
        raise DataError(f"exact match: got the answers {answers!r}, expected at least one text in a list.")
    return answers
