"""Encoded datasets over their life: streamed, interrupted, updated, delivered in part, revoked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hostile_exchange import entries, failed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stage import AUTHORITY, NAME, PLATFORM, Stage, column

from psishare import _native
from psishare.client import KeyColumn, Party
from psishare.datasets import encode as encoding
from psishare.datasets.encode import evaluate_into, run_items
from psishare.datasets.runs import Runs
from psishare.datasets.store import DatasetStore
from psishare.datasets.update import evaluate_changes
from psishare.errors import (
    AuthorisationError,
    ConfigError,
    InputError,
    VerificationError,
)
from psishare.exchange.journal import Journal
from psishare.exchange.offering import EncodedOffering
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from psishare.datasets.dataset import Dataset

THEIRS = [b"v%d" % i for i in range(60)]
ACCOUNT = KeyColumn("account", "number", namespace="bank")


def change(stage: Stage, add: Iterable[bytes] = (), remove: Iterable[bytes] = ()) -> Dataset:
    """Update the stage's dataset and return it as it is then."""
    home = stage.homes[PLATFORM]
    store = DatasetStore(home.datasets_path, public_key=home.card.log_key, vault=home.vault)
    with store.locked(NAME):
        dataset = store.open(NAME)
        changes = evaluate_changes(dataset, [column(add)], [column(remove)], lambda _rows: None)
        if len(changes):
            created = "2026-01-01T00:00:00Z"
            with store.update(dataset, changes, created=created, signer=home.log_signer()) as new:
                new.note_entry(Journal(stage.platform.log).published(new.signed))
    return store.open(NAME)


def held(dataset: Dataset, values: list[bytes]) -> set[bytes]:
    """Return which values a dataset holds."""
    bits = dataset.manifest.fingerprint_bits
    fingerprints = dataset.key().fingerprints(column(values), bits=bits)
    found = dataset.contents().contains(fingerprints).to_pylist()
    return {value for value, is_held in zip(values, found, strict=True) if is_held}


def accounts(values: Iterable[str]) -> pa.Table:
    return pa.table({"number": pa.array(list(values), pa.string())})


@pytest.fixture
def platform(stage: Stage) -> Iterator[Party]:
    with Party.open(stage.homes[PLATFORM].path) as party:
        yield party


# Encoding.


def test_an_encoding_in_many_runs_is_the_encoding_in_one(tmp_path: Path) -> None:
    key = _native.OprfKey.generate()
    batches = [
        column(b"%d" % (i % 700) for i in range(start, start + 90)) for start in range(0, 900, 90)
    ]
    shards = []
    for name, max_items in (("one", 10_000), ("many", 100)):
        folder = tmp_path / name
        folder.mkdir()
        runs = Runs(folder, 84)
        evaluate_into(
            runs,
            lambda skip: batches[skip:],
            key,
            bits=84,
            max_items=max_items,
            progress=lambda _rows: None,
        )
        shards.append(_native.shard_encode(runs.open(), bits=84, prefix_bits=0, prefix=0))
    assert shards[0] == shards[1]
    assert shards[0][1] == 700


def test_too_little_memory_is_refused() -> None:
    assert run_items(320 << 20) >= 1 << 20
    with pytest.raises(InputError) as raised:
        run_items((320 << 20) - 1)
    assert raised.value.reason == "memory_too_small"


KILLED = """
import os, signal, sys
from psishare.client import KeyColumn, Party
from psishare.datasets import encode
from psishare.datasets.runs import Runs


import psishare.datasets.store as store
store.run_items = lambda _bytes: 70_000
add = Runs.add
def add_and_die(self, *args, **kwargs):
    add(self, *args, **kwargs)
    if self.n_rows > 65_536:
        os.kill(os.getpid(), signal.SIGKILL)
Runs.add = add_and_die
with Party.open(sys.argv[1]) as party:
    from pathlib import Path
    party.encode(Path(sys.argv[2]), KeyColumn("account", "number", namespace="bank"), name="accounts")
"""


def test_a_killed_encoding_goes_on_under_its_key_with_the_runs_it_had(
    platform: Party, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "accounts.csv"
    path.write_text("number\n" + "".join(f"A{i:07d}\n" for i in range(200_000)), encoding="ascii")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(platform.home.path), str(path)],
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    assert killed.returncode == -signal.SIGKILL
    staging = platform.home.datasets_path / "accounts" / ".encoding"
    key, runs = (staging / "key.json").read_bytes(), Runs(staging, 84)
    assert 65_536 < runs.n_rows < 200_000
    evaluated: list[int] = []
    original = encoding.evaluate_into

    def counted(*args: Any, progress: Any, **kwargs: Any) -> None:
        def told(n_rows: int) -> None:
            evaluated.append(n_rows)
            progress(n_rows)

        original(*args, progress=told, **kwargs)

    monkeypatch.setattr("psishare.datasets.store.evaluate_into", counted)
    signed = platform.encode(path, ACCOUNT, name="accounts")
    assert signed.manifest.items == 200_000
    assert evaluated[0] == runs.n_rows
    assert sum(evaluated) == 200_000
    folder = platform.home.datasets_path / "accounts" / "epoch-1"
    assert (folder / "key.json").read_bytes() == key
    assert not list(folder.glob("run-*"))
    platform.verify_dataset("accounts")


def test_a_changed_file_is_encoded_from_its_start_under_a_new_key(
    platform: Party, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "accounts.csv"
    path.write_text("number\nA0000001\n", encoding="ascii")

    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise ConfigError("no room", mend="Make room.")

    with monkeypatch.context() as patched:
        patched.setattr("psishare.datasets.store.write_part", fail)
        with pytest.raises(ConfigError):
            platform.encode(path, ACCOUNT, name="accounts")
    key = platform.home.datasets_path / "accounts" / ".encoding" / "key.json"
    old = key.read_bytes()
    path.write_text("number\nA0000001\nA0000002\n", encoding="ascii")
    assert platform.encode(path, ACCOUNT, name="accounts").manifest.items == 2
    assert (key.parent.parent / "epoch-1" / "key.json").read_bytes() != old


# Updates.


def test_updates_add_remove_and_add_again(stage: Stage) -> None:
    stage.encode(THEIRS)
    values = [*THEIRS, b"new 1", b"new 2"]
    now_held = set(THEIRS)
    for sequence, (add, remove) in enumerate(
        [
            ({b"new 1"}, {THEIRS[0]}),
            ({THEIRS[0]}, set()),
            (set(), {THEIRS[0], b"new 1"}),
            ({b"new 2", THEIRS[0]}, {THEIRS[1]}),
        ],
        start=1,
    ):
        dataset = change(stage, add, remove)
        now_held = (now_held | add) - remove
        assert held(dataset, values) == now_held
        assert (dataset.manifest.items, dataset.manifest.sequence) == (len(now_held), sequence)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    base=st.sets(st.sampled_from(THEIRS)),
    steps=st.lists(
        st.tuples(st.sets(st.sampled_from(THEIRS)), st.sets(st.sampled_from(THEIRS))), max_size=3
    ),
)
def test_a_dataset_holds_what_a_set_of_python_would(
    stage: Stage, base: set[bytes], steps: list[tuple[set[bytes], set[bytes]]]
) -> None:
    stage.encode(base)
    right = set(base)
    for add, remove in steps:
        dataset = change(stage, add - remove, remove - add)
        right = (right | (add - remove)) - (remove - add)
        assert held(dataset, THEIRS) == right
        assert dataset.manifest.items == len(right)
        dataset.verify_shards()


def test_an_update_that_changes_nothing_makes_no_manifest(stage: Stage) -> None:
    before = stage.encode(THEIRS).dataset.signed
    assert change(stage, THEIRS[:5], [b"unknown"]).signed == before


def test_an_identifier_both_added_and_removed_is_refused(stage: Stage) -> None:
    stage.encode(THEIRS)
    with pytest.raises(InputError) as raised:
        change(stage, [b"new"], [b"new"])
    assert raised.value.reason == "change_contradicts"


def test_all_parts_together_stay_under_n_max(stage: Stage) -> None:
    stage.encode(THEIRS, n_max=61)
    change(stage, [], THEIRS[:1])
    with pytest.raises(InputError) as raised:
        change(stage, THEIRS[:1], [])
    assert raised.value.reason == "over_n_max"


def test_an_update_is_delivered_by_its_new_shards_alone_and_only_if_standing(stage: Stage) -> None:
    first = stage.responder(stage.encode(THEIRS))
    standing, plain = stage.envelope(standing=True), stage.envelope()
    for mandate in (standing, plain):
        stage.exchange(first, stage.ask(THEIRS[:9], mandate=mandate))
    updated = stage.responder(EncodedOffering(change(stage, [b"new"], THEIRS[:3])))
    asked: list[int] = []

    class Counting:
        def answer(self, call: Call, request: Any, caller: Any) -> Any:
            if call is Call.SHARD:
                asked.append(request.shard)
            return updated.answer(call, request, caller)

    outcome = stage.exchange(Counting(), stage.ask([*THEIRS[:9], b"new"], mandate=standing))
    assert outcome.matched.to_pylist() == [3, 4, 5, 6, 7, 8, 9]
    assert asked == [1, 2]
    error = failed(stage.asker(stage.channel(updated)), stage.ask(THEIRS, mandate=plain))
    assert (type(error), error.reason) == (AuthorisationError, "mandate_not_standing")


def test_an_update_does_not_make_an_epoch_younger(stage: Stage) -> None:
    began = stage.encode(THEIRS).epoch_began
    updated = change(stage, [b"new"])
    assert updated.manifest.created == "2026-01-01T00:00:00Z"
    assert began is not None
    assert EncodedOffering(updated).epoch_began == began > datetime(2026, 1, 2, tzinfo=UTC)


def test_two_processes_do_not_change_one_dataset_at_once(stage: Stage) -> None:
    stage.encode(THEIRS)
    home = stage.homes[PLATFORM]
    with (
        DatasetStore(home.datasets_path, public_key=home.card.log_key, vault=home.vault).locked(
            NAME
        ),
        pytest.raises(ConfigError) as raised,
    ):
        change(stage, [b"new"])
    assert raised.value.reason == "dataset_busy"


# Verification, rotation, revocation.


@pytest.mark.parametrize("damage", ["flip", "cut", "lengthen", "remove", "swap"])
def test_a_damaged_shard_is_found(stage: Stage, platform: Party, damage: str) -> None:
    stage.encode(THEIRS)
    dataset = change(stage, [b"new"], THEIRS[:1])
    first, second = (dataset.folder / shard.file_name for shard in dataset.manifest.shards[:2])
    platform.verify_dataset(NAME)
    data = bytearray(first.read_bytes())
    if damage == "remove":
        first.unlink()
    else:
        data[-1] ^= damage == "flip"
        spoilt = {
            "cut": data[:-1],
            "lengthen": data + b"\0",
            "swap": bytearray(second.read_bytes()),
        }
        first.write_bytes(spoilt.get(damage, data))
    with pytest.raises(VerificationError) as raised:
        platform.verify_dataset(NAME)
    assert raised.value.reason == "shard_invalid"


def test_an_update_through_the_library_fits_its_dataset(platform: Party) -> None:
    platform.encode(accounts(["A1", "A2"]), ACCOUNT, name="accounts")
    signed = platform.update_dataset(
        "accounts", ACCOUNT, add=accounts(["A3"]), remove=accounts(["A1"])
    )
    assert (signed.manifest.items, signed.manifest.sequence) == (2, 1)
    assert platform.verify_dataset("accounts") == signed
    with pytest.raises(InputError) as raised:
        platform.update_dataset("accounts", KeyColumn("account", "number"), add=accounts(["A4"]))
    assert raised.value.reason == "dataset_differs"


def test_a_rotated_key_is_destroyed_when_its_grace_is_over(stage: Stage, platform: Party) -> None:
    platform.encode(accounts(["A1"]), ACCOUNT, name="accounts", n_max=100)
    old = platform.home.datasets_path / "accounts" / "epoch-1"
    data = accounts(["A1", "A2"])
    signed = platform.rotate_dataset(data, ACCOUNT, name="accounts", grace_days=1)
    assert (signed.manifest.epoch, signed.manifest.n_max) == (2, 100)
    assert platform.destroy_due_keys() == []
    assert (old / "key.json").exists()
    platform.rotate_dataset(data, ACCOUNT, name="accounts", grace_days=0)
    [destroyed] = platform.destroy_due_keys()
    assert destroyed.manifest.epoch == 2
    assert platform.destroy_due_keys() == []
    assert not (old.with_name("epoch-2") / "key.json").exists()
    [told] = [e for e in entries(stage, PLATFORM) if e.type == "dataset.key_destroyed"]
    assert told.fields["public_key"] == destroyed.manifest.public_key
    with pytest.raises(ConfigError) as raised:
        platform.serve("127.0.0.1:0", datasets=[old.with_name("epoch-2")])
    assert raised.value.reason == "dataset_retired"


def test_a_revoked_dataset_is_served_no_more_even_by_a_running_server(
    stage: Stage, platform: Party
) -> None:
    responder = stage.responder(stage.encode(THEIRS))
    mandate = stage.envelope()
    stage.exchange(responder, stage.ask(THEIRS[:3], mandate=mandate))
    revoked = platform.revoke_dataset(NAME)
    assert [each.peer for each in revoked.deliveries] == [AUTHORITY]
    assert "dataset.revoked" in [e.type for e in entries(stage, PLATFORM)]
    error = failed(stage.asker(stage.channel(responder)), stage.ask(THEIRS, mandate=mandate))
    assert (type(error), error.reason) == (AuthorisationError, "dataset_revoked")
    with pytest.raises(ConfigError):
        platform.serve("127.0.0.1:0", datasets=[NAME])


def test_a_grace_begins_once(stage: Stage) -> None:
    dataset = stage.encode(THEIRS).dataset
    dataset.retire("2026-01-01T00:00:00Z")
    dataset.retire("2027-01-01T00:00:00Z")
    assert dataset.retires_at == "2026-01-01T00:00:00Z"


WITHIN = """
import sys
from pathlib import Path
from psishare.client import KeyColumn, Party

with Party.open(sys.argv[1]) as party:
    party.encode(
        Path(sys.argv[2]),
        KeyColumn("account", "number", namespace="bank"),
        name="accounts",
        memory_bytes=320 << 20,
    )
# Not ru_maxrss, which a child takes over from the process that started it.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) >> 10)
"""


def test_an_encoding_stays_under_its_bound(platform: Party, tmp_path: Path) -> None:
    path = tmp_path / "accounts.csv"
    path.write_text("number\n" + "".join(f"A{i:09d}\n" for i in range(400_000)), encoding="ascii")
    ran = subprocess.run(
        [sys.executable, "-c", WITHIN, str(platform.home.path), str(path)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    assert int(ran.stdout) < 320
