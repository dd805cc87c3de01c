"""What a party exchanges by: policy, datasets, settings."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from psishare.client.doctor.finding import Finding
from psishare.client.opened_home import open_log
from psishare.datasets.store import DatasetStore
from psishare.errors import ConfigError, PsishareError
from psishare.exchange.document import now
from psishare.exchange.journal import Journal
from psishare.exchange.publication import Publication
from psishare.mandates.policy import Policy
from psishare.parties.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from psishare.parties.home import Home

SHORT_IDLE_S = 30.0
SHORT_TIMEOUT_S = 5.0
SIGNS_OF_A_PATTERN = frozenset("*?[")


def policy(home: Home) -> Iterator[Finding]:
    """Look whether the platform's own rules can be read."""
    Policy.load(home.policy_path)
    if home.policy_path.exists():
        yield Finding.fine("policy", "valid")
    else:
        yield Finding.fine("policy", "none: whatever a mandate allows is allowed")


def datasets(home: Home) -> Iterator[Finding]:
    """Look whether each dataset's newest epoch is whole, published, and has its key."""
    store, rules = _store(home), _readable_policy(home)
    log = open_log(home)
    publication = Publication(home, log, Journal(log))
    names = store.names()
    for name in names:
        try:
            signed = publication.verify(name)
            dataset = store.open(name)
        except PsishareError as error:
            yield Finding.of_error("datasets", error)
            continue
        what = f"{name}, epoch {signed.manifest.epoch}"
        if dataset.is_revoked or dataset.is_destroyed:
            yield Finding.warning(
                "datasets",
                "dataset_retired",
                f"{what}, is revoked, or its key is destroyed: it is not served",
                mend="Encode a new epoch with `psishare dataset encode`.",
            )
        elif (rule := rules.epoch_rule(dataset.began, now())) is not None and not rule.passes:
            yield Finding.warning(
                "datasets",
                "epoch_too_old",
                f"{what}, began on {dataset.began:%Y-%m-%d}: by the policy it is neither delivered nor asked",
                mend="Make a new epoch with `psishare dataset rotate`.",
            )
        else:
            yield Finding.fine(
                "datasets", f"{what}: {signed.manifest.items:,} items, every shard whole"
            )
    if not names:
        yield Finding.fine("datasets", "none is encoded")


def _readable_policy(home: Home) -> Policy:
    try:
        return Policy.load(home.policy_path)
    except ConfigError:
        # That it is not valid is the finding of `policy`.
        return Policy()


def settings(home: Home) -> Iterator[Finding]:
    """Look whether the settings in ``party.toml`` fit what is there, and time-outs are long enough."""
    serve, match = read_settings(home.path, "serve"), read_settings(home.path, "match")
    found = [*_absent(home, serve), *_absent(home, match), *_short(serve, match)]
    yield from found or [Finding.fine("settings", "what they name is there")]


def _absent(home: Home, options: dict[str, Any]) -> Iterator[Finding]:
    """Yield each file and dataset that is named and not there."""
    if home.card.role == "platform":
        names = {*_store(home).names()}
        for name in _listed(options.get("dataset")):
            if name not in names and not Path(name).is_dir():
                yield _names_nothing("dataset", name, "Encode it with `psishare dataset encode`")
    for key in ("data", "mandate", "passphrase_file"):
        for name in _listed(options.get(key)):
            pattern = SIGNS_OF_A_PATTERN & set(name)
            if name != "-" and not pattern and not Path(name).exists():
                yield _names_nothing(key, name, "Put it there")


def _store(home: Home) -> DatasetStore:
    return DatasetStore(home.datasets_path, public_key=home.card.log_key, vault=home.vault)


def _short(serve: dict[str, Any], match: dict[str, Any]) -> Iterator[Finding]:
    for key, seconds, least in (
        ("serve.idle_timeout", serve.get("idle_timeout"), SHORT_IDLE_S),
        ("match.timeout", match.get("timeout"), SHORT_TIMEOUT_S),
    ):
        if seconds is not None and seconds < least:
            yield Finding.warning(
                "settings",
                "timeout_short",
                f"{key} is {seconds:g} s: exchanges may be given up while they are worked on",
                mend=f"Set it to {least:g} s or more, or remove it.",
            )


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [] if value is None else [str(value)]


def _names_nothing(key: str, name: str, advice: str) -> Finding:
    with contextlib.suppress(ValueError):
        name = str(Path(name).relative_to(Path.cwd()))
    return Finding.fault(
        "settings",
        "setting_names_nothing",
        f"party.toml names {name} as {key}, and it is not there",
        mend=f"{advice}, or correct the setting.",
    )
