"""Replay of a dataset: the list that was encoded passes, and any other fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stage import PLATFORM, Stage, column

from psishare.audit.entry import DatasetReplayed, parse_entry
from psishare.datasets.replay import (
    ANSWER_MAGIC,
    answer_request,
    check_answer,
    make_request,
    require_whole,
)
from psishare.errors import InputError, ProtocolError, PsishareError, VerificationError
from psishare.exchange.journal import Journal
from psishare.keys.signer import Ed25519Signer

if TYPE_CHECKING:
    from psishare.datasets.dataset import Dataset
    from psishare.datasets.replay import DatasetReplay

LIST = [b"customer %d" % n for n in range(300)]
SEED = bytes(range(32))


class Asked:
    """A platform's dataset, and what an auditor does with it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.dataset: Dataset = stage.encode(LIST).dataset
        self.key = stage.homes[PLATFORM].card.log_key

    def answer(self, request: bytes) -> bytes:
        return answer_request(request, self.dataset, self.stage.homes[PLATFORM].log_signer())

    def replay(self, values: list[bytes]) -> DatasetReplay:
        request = make_request(column(values), SEED)
        return check_answer(request, self.answer(request), column(values), SEED, self.key)


@pytest.fixture
def asked(stage: Stage) -> Asked:
    return Asked(stage)


def test_the_list_that_was_encoded_passes_in_any_order(asked: Asked) -> None:
    for values in (LIST, LIST[::-1]):
        result = asked.replay(values)
        assert (result.shard, result.listed) == (None, 300)
        assert result.signed == asked.dataset.signed


@pytest.mark.parametrize("at", [0, 150, 299])
def test_a_list_in_which_one_is_another_fails(asked: Asked, at: int) -> None:
    assert asked.replay([*LIST[:at], b"another", *LIST[at + 1 :]]).shard == 0


@pytest.mark.parametrize("values", [LIST[:-1], [*LIST, b"one more"], LIST[:1], []])
def test_a_request_that_is_not_about_the_whole_set_is_refused(
    asked: Asked, values: list[bytes]
) -> None:
    with pytest.raises(InputError) as caught:
        asked.answer(make_request(column(values), SEED))
    assert caught.value.reason == "list_differs"
    with pytest.raises(InputError):
        require_whole(len(values), asked.dataset)


def test_an_empty_dataset_replays(stage: Stage) -> None:
    encoded = stage.encode([], name="empty").dataset
    request = make_request(column([]), SEED)
    home = stage.homes[PLATFORM]
    answer = answer_request(request, encoded, home.log_signer())
    assert check_answer(request, answer, column([]), SEED, home.card.log_key).shard is None


def test_answers_that_were_changed_or_are_of_somebody_else_are_refused(asked: Asked) -> None:
    request = make_request(column(LIST), SEED)
    answer = asked.answer(request)
    stranger = answer_request(request, asked.dataset, Ed25519Signer.generate())
    places = [0, 30, len(ANSWER_MAGIC) + 34, len(ANSWER_MAGIC) + 200, len(answer) // 2, -70, -1]
    changed = [
        *(
            answer[:place] + bytes([answer[place] ^ 1]) + answer[place + 1 or None :]
            for place in places
        ),
        *(answer[:length] for length in (0, 10, 100, len(answer) - 1)),
        *(answer + b"x", stranger),
    ]
    for wrong in changed:
        if len(wrong) == len(answer) + 1 and wrong[-1:] == answer[-1:]:
            continue
        with pytest.raises(PsishareError):
            check_answer(request, wrong, column(LIST), SEED, asked.key)


def test_an_answer_under_another_key_than_the_manifest_s_is_refused(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = asked.stage.encode(LIST, name="other").dataset.key()
    request = make_request(column(LIST), SEED)
    monkeypatch.setattr(type(asked.dataset), "key", lambda _self: other)
    with pytest.raises(ProtocolError):
        check_answer(request, asked.answer(request), column(LIST), SEED, asked.key)


def test_a_request_of_another_seed_or_list_is_refused(asked: Asked) -> None:
    request = make_request(column(LIST), SEED)
    answer = asked.answer(request)
    for values, seed in ((LIST, bytes(32)), (LIST[::-1], SEED)):
        with pytest.raises(InputError) as caught:
            check_answer(request, answer, column(values), seed, asked.key)
        assert caught.value.reason == "list_differs"
    with pytest.raises(VerificationError):
        asked.answer(b"no request")


def test_a_request_of_another_version_is_not_called_another_list(asked: Asked) -> None:
    request = make_request(column(LIST), SEED)
    older = request.replace(b"dataset-request/v2", b"dataset-request/v1")
    for use in (asked.answer, lambda data: check_answer(data, b"", column(LIST), SEED, asked.key)):
        with pytest.raises(VerificationError) as caught:
            use(older)
        assert caught.value.reason == "replay_malformed"


def test_the_log_tells_of_it(asked: Asked) -> None:
    log = asked.stage.platform.log
    Journal(log).replayed(asked.dataset.signed, 300)
    entry = parse_entry(log.entry(log.size - 1))
    assert isinstance(entry, DatasetReplayed)
    assert (entry.dataset, entry.elements) == ("customers", 300)
