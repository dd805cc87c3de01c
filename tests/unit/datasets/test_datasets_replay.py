"""Replay of a dataset: the list that was encoded passes, and any other fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import PLATFORM, Stage, column

from psishare.audit.entry import DatasetReplayed, parse_entry
from psishare.datasets.listed import ListedDataset, listed_dataset
from psishare.datasets.replay import (
    ANSWER_MAGIC,
    answer_request,
    check_answer,
    make_request,
    require_whole,
)
from psishare.datasets.store import DatasetStore
from psishare.datasets.update import evaluate_changes
from psishare.errors import InputError, ProtocolError, PsishareError, VerificationError
from psishare.exchange.journal import Journal
from psishare.keys.signer import Ed25519Signer

if TYPE_CHECKING:
    import pyarrow as pa

    from psishare.datasets.dataset import Dataset
    from psishare.datasets.replay import DatasetReplay

LIST = [b"customer %d" % n for n in range(300)]
SEED = bytes(range(32))


def listed(values: list[bytes], *changes: tuple[Any, list[bytes]]) -> ListedDataset:
    return listed_dataset(column(values), [(kind, column(these)) for kind, these in changes])


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
        return check_answer(request, self.answer(request), listed(values), SEED, self.key)


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
    assert check_answer(request, answer, listed([]), SEED, home.card.log_key).shard is None


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
            check_answer(request, wrong, listed(LIST), SEED, asked.key)


def test_an_answer_under_another_key_than_the_manifest_s_is_refused(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = asked.stage.encode(LIST, name="other").dataset.key()
    request = make_request(column(LIST), SEED)
    monkeypatch.setattr(type(asked.dataset), "key", lambda _self: other)
    with pytest.raises(ProtocolError):
        check_answer(request, asked.answer(request), listed(LIST), SEED, asked.key)


def test_a_request_of_another_seed_or_list_is_refused(asked: Asked) -> None:
    request = make_request(column(LIST), SEED)
    answer = asked.answer(request)
    for values, seed in ((LIST, bytes(32)), (LIST[::-1], SEED)):
        with pytest.raises(InputError) as caught:
            check_answer(request, answer, listed(values), seed, asked.key)
        assert caught.value.reason == "list_differs"
    with pytest.raises(VerificationError):
        asked.answer(b"no request")


def test_a_request_of_another_version_is_not_called_another_list(asked: Asked) -> None:
    request = make_request(column(LIST), SEED)
    older = request.replace(b"dataset-request/v2", b"dataset-request/v1")
    for use in (asked.answer, lambda data: check_answer(data, b"", listed(LIST), SEED, asked.key)):
        with pytest.raises(VerificationError) as caught:
            use(older)
        assert caught.value.reason == "replay_malformed"


def test_the_log_tells_of_it(asked: Asked) -> None:
    log = asked.stage.platform.log
    Journal(log).replayed(asked.dataset.signed, 300)
    entry = parse_entry(log.entry(log.size - 1))
    assert isinstance(entry, DatasetReplayed)
    assert (entry.dataset, entry.elements) == ("customers", 300)


# A dataset that was updated.

Changes = list[tuple[Any, list[bytes]]]
GONE, NEW = LIST[10:13], [b"new 1", b"new 2"]
UPDATES: Changes = [("remove", GONE), ("add", NEW), ("remove", NEW[:1]), ("add", [*GONE[:2]])]


def update(asked: Asked, changes: Changes) -> None:
    """Update the dataset as a platform does, one change after the other."""
    home = asked.stage.homes[PLATFORM]
    store = DatasetStore(home.datasets_path, public_key=home.card.log_key, vault=home.vault)
    name = asked.dataset.manifest.dataset
    for kind, values in changes:
        with store.locked(name):
            lists: dict[str, list[pa.Array]] = {"add": [], "remove": []}
            lists[kind].append(column(values))
            found = store.open(name)
            effect = evaluate_changes(found, lists["add"], lists["remove"], lambda _rows: None)
            if not len(effect):
                continue
            created, signer = "2026-01-01T00:00:00Z", home.log_signer()
            with store.update(found, effect, created=created, signer=signer) as new:
                new.note_entry(Journal(asked.stage.platform.log).published(new.signed))
    asked.dataset = store.open(name)


def replay_updated(asked: Asked, values: list[bytes], changes: Changes) -> DatasetReplay:
    told = listed(values, *changes)
    request = make_request(told.asked, SEED)
    return check_answer(request, asked.answer(request), told, SEED, asked.key)


def test_an_updated_dataset_is_its_list_and_its_changes(asked: Asked) -> None:
    update(asked, UPDATES)
    assert [part.change for part in asked.dataset.manifest.parts] == [
        *("base", "remove", "add", "remove", "add")
    ]
    result = replay_updated(asked, LIST, UPDATES)
    assert (result.shard, result.listed) == (None, 300)
    assert result.signed == asked.dataset.signed


def test_what_changed_nothing_is_left_out_as_the_platform_left_it_out(asked: Asked) -> None:
    idle: Changes = [("add", LIST[:5]), ("remove", [b"never there"]), ("add", NEW)]
    update(asked, [*idle, ("add", NEW)])
    assert len(asked.dataset.manifest.parts) == 2
    assert replay_updated(asked, LIST, [*idle, ("add", NEW), ("remove", [])]).shard is None


@pytest.mark.parametrize(
    ("changes", "shard"),
    [
        # Other values, as many: the first part that is not so is named.
        ([("remove", LIST[:3]), *UPDATES[1:3], ("add", LIST[:2])], 1),
        ([UPDATES[0], ("add", [b"other", NEW[0]]), *UPDATES[2:]], 2),
        ([*UPDATES[:3], ("add", GONE[1:])], 4),
        # The same dataset in the end, by another way.
        ([UPDATES[1], UPDATES[0], *UPDATES[2:]], 1),
        # One change too many, or too few.
        ([*UPDATES, ("remove", LIST[:1])], 5),
        ([UPDATES[0], UPDATES[1], UPDATES[3]], 3),
    ],
)
def test_other_changes_fail_and_the_first_part_is_named(
    asked: Asked, changes: Changes, shard: int
) -> None:
    update(asked, UPDATES)
    assert replay_updated(asked, LIST, changes).shard == shard


@pytest.mark.parametrize(
    "changes", [[], UPDATES[:3], [*UPDATES, ("add", [b"one more"])], [("add", NEW)]]
)
def test_a_request_that_is_not_about_every_part_is_refused(asked: Asked, changes: Changes) -> None:
    update(asked, UPDATES)
    with pytest.raises(InputError) as caught:
        replay_updated(asked, LIST, changes)
    assert caught.value.reason == "list_differs"


def test_a_list_from_before_the_update_is_not_the_updated_dataset(asked: Asked) -> None:
    update(asked, [("remove", GONE)])
    # As many elements as are asked for, for what is removed is asked nothing.
    assert replay_updated(asked, LIST, []).shard == 1
    assert replay_updated(asked, LIST, [("remove", GONE)]).shard is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "remove"]),
            st.lists(st.integers(0, 12), max_size=6).map(lambda ns: [b"%d" % n for n in ns]),
        ),
        max_size=6,
    )
)
def test_what_is_held_is_what_python_s_sets_hold(changes: Changes) -> None:
    base = [b"%d" % n for n in range(0, 12, 2)]
    held = set(base)
    for kind, values in changes:
        held = held | set(values) if kind == "add" else held - set(values)
    told = listed(base, *changes)
    assert sorted(told.held.to_pylist()) == sorted(held)
    assert len(told.asked) == sum(
        len(part.identifiers) for part in told.parts if part.change != "remove"
    )
