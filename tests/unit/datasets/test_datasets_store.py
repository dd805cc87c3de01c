"""A platform's datasets on disk: whole or not there, signed, each epoch under a key of its own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hostile_exchange import entries
from stage import NAME, PLATFORM, Stage

from psishare.datasets.encode import DatasetName
from psishare.datasets.manifest import Manifest, parse_manifest
from psishare.datasets.store import DatasetStore, open_dataset, require_name
from psishare.errors import AuditError, ConfigError, InputError, VerificationError
from psishare.keys import canonical
from psishare.psi.suite import fingerprint_bits

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = [b"v%d" % i for i in range(50)]
OTHER = "ab" * 32


def store(stage: Stage) -> DatasetStore:
    home = stage.homes[PLATFORM]
    return DatasetStore(home.datasets_path, public_key=home.card.log_key, vault=home.vault)


# The store.


def test_each_encoding_is_a_new_epoch_under_a_key_of_its_own(stage: Stage) -> None:
    first, second = stage.encode(VALUES).dataset, stage.encode(VALUES).dataset
    assert (first.manifest.epoch, second.manifest.epoch) == (1, 2)
    assert first.manifest.public_key != second.manifest.public_key
    assert store(stage).open(NAME).manifest.epoch == 2
    assert first.key().public_key.hex() == first.manifest.public_key
    published = [e for e in entries(stage, PLATFORM) if e.type == "dataset.published"]
    assert [e.fields["manifest_sha256"] for e in published] == [
        first.signed.sha256.hex(),
        second.signed.sha256.hex(),
    ]


def test_a_tenth_epoch_is_newer_than_the_ninth(stage: Stage) -> None:
    folder = stage.encode(VALUES).dataset.folder
    for epoch in (9, 10):
        shutil.copytree(folder, folder.with_name(f"epoch-{epoch}"))
    assert store(stage).open(NAME).folder.name == "epoch-10"


def test_a_dataset_that_the_log_does_not_take_is_not_there(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_entry: object) -> None:
        raise AuditError("no room", mend="Make room.", reason="log_write_failed")

    monkeypatch.setattr(stage.platform.log, "append", full)
    with pytest.raises(AuditError):
        stage.encode(VALUES)
    assert store(stage).names() == []
    assert list((stage.homes[PLATFORM].datasets_path / NAME).iterdir()) == []


def test_more_items_than_the_parameters_allow_are_refused_and_leave_nothing(stage: Stage) -> None:
    with pytest.raises(InputError) as raised:
        stage.encode(VALUES, n_max=len(VALUES) - 1)
    assert raised.value.reason == "over_n_max"
    assert store(stage).names() == []


def test_duplicates_count_once(stage: Stage) -> None:
    assert stage.encode([*VALUES, *VALUES, VALUES[0]]).dataset.manifest.items == len(VALUES)


def test_an_empty_dataset_can_be_served(stage: Stage) -> None:
    manifest = stage.encode([]).dataset.manifest
    assert (manifest.items, sum(shard.items for shard in manifest.shards)) == (0, 0)


def test_files_are_for_their_owner_alone(stage: Stage) -> None:
    folder = stage.encode(VALUES).dataset.folder
    assert folder.stat().st_mode & 0o077 == 0
    assert {p.stat().st_mode & 0o777 for p in folder.iterdir() if p.is_file()} == {0o600}


@pytest.mark.parametrize("name", ["", "A", "a b", "../a", "-a", ".a", "a" * 65, "ä", "a\n"])
def test_a_name_that_could_be_a_path_is_none(stage: Stage, name: str) -> None:
    with pytest.raises(InputError) as raised:
        require_name(name)
    assert raised.value.reason == "dataset_name_invalid"
    with pytest.raises(ConfigError) as unknown:
        store(stage).open(name)
    assert unknown.value.reason == "dataset_unknown"


def test_a_key_that_others_can_read_is_refused(stage: Stage) -> None:
    dataset = stage.encode(VALUES).dataset
    (dataset.folder / "key.json").chmod(0o644)
    with pytest.raises(ConfigError) as raised:
        dataset.key()
    assert raised.value.reason == "key_file_exposed"


def test_another_epochs_key_is_refused(stage: Stage) -> None:
    first, second = stage.encode(VALUES).dataset, stage.encode(VALUES).dataset
    shutil.copy(first.folder / "key.json", second.folder / "key.json")
    with pytest.raises(ConfigError) as raised:
        second.key()
    assert raised.value.reason == "key_mismatch"


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "entry"])
def test_a_folder_that_lacks_a_file_is_no_dataset(stage: Stage, name: str) -> None:
    folder = stage.encode(VALUES).dataset.folder
    (folder / name).unlink()
    with pytest.raises(ConfigError) as raised:
        open_dataset(folder, stage.homes[PLATFORM].card.log_key, stage.homes[PLATFORM].vault)
    assert raised.value.reason == "dataset_unknown"


def test_a_manifest_that_was_altered_or_signed_by_another_is_refused(stage: Stage) -> None:
    folder = stage.encode(VALUES).dataset.folder
    own = stage.homes[PLATFORM].card.log_key
    with pytest.raises(VerificationError):
        open_dataset(folder, bytes(32), stage.homes[PLATFORM].vault)
    document = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").write_bytes(document.replace(b'"epoch":1', b'"epoch":2'))
    with pytest.raises(VerificationError) as raised:
        open_dataset(folder, own, stage.homes[PLATFORM].vault)
    assert raised.value.reason == "signature_invalid"


def test_what_a_key_is_bound_to_cannot_be_read_in_two_ways() -> None:
    infos = {
        DatasetName(*fields).key_info()
        for fields in (
            ("a", "b", "c", 1),
            ("a", "b", "", 1),
            ("a", "b", "c", 2),
            ("ab", "", "c", 1),
            ("a", "bc", "", 1),
        )
    }
    assert len(infos) == 5


# The manifest.


def fields(stage: Stage) -> dict[str, Any]:
    document = stage.encode(VALUES).dataset.signed.document
    return canonical.loads(document, max_bytes=len(document), what="the manifest")


def test_a_manifest_survives_its_bytes(stage: Stage) -> None:
    signed = stage.encode(VALUES).dataset.signed
    assert parse_manifest(signed.document).document() == signed.document


WRONG: dict[str, Any] = {
    "version": 2,
    "platform": "Tele",
    "dataset": "../customers",
    "kind": "a kind",
    "namespace": "A",
    "epoch": 0,
    "suite": "P256-SHA256",
    "public_key": "AB" * 32,
    "items": 51,
    "n_max": 0,
    "max_query": 2**41,
    "fingerprint_bits": 85,
    "encoding": "other/v1",
    "created": "2026-13-01T00:00:00Z",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_field_refuses_a_manifest_and_is_not_quoted(stage: Stage, name: str) -> None:
    document = canonical.dumps(fields(stage) | {name: WRONG[name]})
    with pytest.raises(VerificationError) as raised:
        parse_manifest(document)
    assert raised.value.reason == "manifest_invalid"
    assert str(WRONG[name]) not in raised.value.message or isinstance(WRONG[name], int)


def test_every_field_of_a_manifest_is_needed_and_no_other_is_taken(stage: Stage) -> None:
    good = fields(stage)
    assert good.keys() == Manifest.model_fields.keys()
    for name in good:
        less = {other: value for other, value in good.items() if other != name}
        with pytest.raises(VerificationError):
            parse_manifest(canonical.dumps(less))
    with pytest.raises(VerificationError) as raised:
        parse_manifest(canonical.dumps(good | {"unheard-of": 1}))
    assert "unheard-of" not in raised.value.message


SPELLINGS: list[Callable[[bytes], bytes]] = [
    lambda text: text.replace(b'"version":1', b'"version":true'),
    lambda text: text.replace(b'"version":1', b'"version":1.0'),
    lambda text: text.replace(b'":', b'": ', 1),
    lambda text: text + b"\n",
    lambda text: text[:-1],
    lambda _text: b"null",
    lambda _text: b"",
]


@pytest.mark.parametrize("spell", SPELLINGS, ids=range(len(SPELLINGS)))
def test_a_manifest_has_one_spelling(stage: Stage, spell: Callable[[bytes], bytes]) -> None:
    document = stage.encode(VALUES).dataset.signed.document
    with pytest.raises(VerificationError):
        parse_manifest(spell(document))


def test_bits_follow_from_the_parameters(stage: Stage) -> None:
    manifest = stage.encode(VALUES).dataset.manifest
    assert manifest.fingerprint_bits == fingerprint_bits(manifest.n_max, manifest.max_query)
    changed = fields(stage) | {"n_max": manifest.n_max * 2}
    with pytest.raises(VerificationError):
        parse_manifest(canonical.dumps(changed))
    assert OTHER not in manifest.public_key
