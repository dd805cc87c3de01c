"""The library's face for programs with an event loop: the same methods, as coroutines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from psishare.client.background import in_background, run_in_thread
from psishare.client.cancellation import Cancellation
from psishare.client.party import DEFAULT_TIMEOUT_S, Party
from psishare.client.server import Server
from psishare.client.session import RETRY_FOR_S, Session

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from psishare.keys.passphrase import Passphrase


class AsyncParty:
    """A party's home folder, opened for work in an event loop. Use with ``async with``.

    Each method does what the one of ``Party`` does, in a thread of its own; several may run at once.

    Args:
        party: opened.

    Attributes:
        blocking: the ``Party`` that does the work.
    """

    def __init__(self, party: Party) -> None:
        self.blocking = party

    @classmethod
    async def open(cls, path: Path | str, *, passphrase: Passphrase | None = None) -> Self:
        """Open a home folder of a platform or an authority.

        Args:
            path: the folder.
            passphrase: of its keys; where None, it is looked for as ``Party.open`` does.

        Returns:
            The party, to be used with ``async with``.

        Raises:
            ConfigError: there is none, others can read it, or its role keeps no log.
            AuditError: the log does not recover.
        """
        return cls(
            await run_in_thread(lambda: Party.open(path, passphrase=passphrase), Cancellation())
        )

    async def connect(
        self,
        platform: str,
        address: str,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
    ) -> AsyncSession:
        """Return a session with a pinned platform; the connection is made when it is first needed.

        Args:
            platform: its party id.
            address: ``host:port``.
            timeout_s: seconds for the connection and for each call.
            retry_for_s: for how many seconds a call that gets no answer is made again.

        Returns:
            The session, to be used with ``async with``.

        Raises:
            ConfigError: it is not pinned, this is no authority's home, or it does not open.
        """
        return AsyncSession(
            await _connect(self, platform, address, timeout_s=timeout_s, retry_for_s=retry_for_s)
        )

    async def serve(self, address: str, **options: Any) -> AsyncServer:
        """Serve encoded datasets and lists until the server is stopped.

        Args:
            address: ``host:port``; port 0 takes a free one.
            options: the keywords of ``Party.serve``.

        Returns:
            The server, to be used with ``async with``. It is at work already.

        Raises:
            ConfigError: nothing is to be served, or the address is not usable.
            InputError: a list cannot be read.
        """
        return AsyncServer(await _serve(self, address, **options))

    encode = in_background(Party.encode)
    update_dataset = in_background(Party.update_dataset)
    rotate_dataset = in_background(Party.rotate_dataset)
    destroy_due_keys = in_background(Party.destroy_due_keys)
    verify_dataset = in_background(Party.verify_dataset)
    revoke_dataset = in_background(Party.revoke_dataset)
    datasets = in_background(Party.datasets)
    exchanges = in_background(Party.exchanges)
    exchange = in_background(Party.exchange)
    resume = in_background(Party.resume)
    resumable = in_background(Party.resumable)
    abandon = in_background(Party.abandon)
    answer_replay = in_background(Party.answer_replay)
    warnings = in_background(Party.warnings)
    close = in_background(Party.close)

    async def __aenter__(self) -> Self:
        """Return the party."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        await self.close()


class AsyncSession:
    """An authority's session with one platform, for an event loop. Use with ``async with``.

    Args:
        session: not connected yet.

    Attributes:
        blocking: the ``Session`` that does the work.
    """

    def __init__(self, session: Session) -> None:
        self.blocking = session

    match = in_background(Session.match)
    resume = in_background(Session.resume)
    close = in_background(Session.close)

    async def __aenter__(self) -> Self:
        """Return the session."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        await self.close()


class AsyncServer:
    """A platform that serves, for an event loop. It runs from its making to ``stop``.

    Args:
        server: at work.

    Attributes:
        blocking: the ``Server`` that does the work.
    """

    def __init__(self, server: Server) -> None:
        self.blocking = server

    @property
    def address(self) -> str:
        """Where it listens, ``host:port``."""
        return self.blocking.address

    drain = in_background(Server.drain)
    reload = in_background(Server.reload)
    stop = in_background(Server.stop)

    async def __aenter__(self) -> Self:
        """Return the server."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()


_connect = in_background(Party.connect)
_serve = in_background(Party.serve)
