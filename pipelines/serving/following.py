"""The version that is served, and the next one once its alias has moved."""

import asyncio
from collections.abc import Callable

from ganlib.errors import UserError
from pipelines.registry.champion import Say
from pipelines.registry.served import LoadedVersion, ModelAddress, find_number, load


class Following:
    """Requests that have begun keep the version that they began with; it goes when the last of them is answered."""

    def __init__(
        self, address: ModelAddress, *, say: Say, on_swap: Callable[[bool], None] = lambda _succeeded: None
    ) -> None:
        """Load the version that is meant now.

        Args:
            address: of the model; with an alias, moves of it are followed.
            say: hears of each swap, and of what stands in its way.
            on_swap: hears whether a swap has succeeded.

        Raises:
            UserError: it cannot be loaded.
        """
        self._address, self._say, self._on_swap = address, say, on_swap
        self.current: LoadedVersion = load(address)
        self._told: str | None = None
        self._unusable: str | None = None

    async def watch(self, every_s: float) -> None:
        """Look for another version for as long as the task lives."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self._look()
            except (UserError, OSError) as error:
                self._tell(f"{error}; version {self.current.number} is served on")

    async def _look(self) -> None:
        number = await asyncio.to_thread(find_number, self._address)
        if number == self.current.number:
            self._told = self._unusable = None
        elif number != self._unusable:
            try:
                self.current = self._alike(await asyncio.to_thread(load, self._address))
            except UserError:
                self._unusable = number
                self._on_swap(False)
                raise
            self._on_swap(True)
            self._told = self._unusable = None
            self._say(f"serve: {self._address} is version {self.current.number} now")

    def _alike(self, other: LoadedVersion) -> LoadedVersion:
        """It, if it can answer what the version that is served answers.

        Raises:
            UserError: of a generator and a translator one cannot take the other's place.
        """
        if other.translates != self.current.translates:
            kind = "a translator" if other.translates else "a generator"
            raise UserError(f"{self._address}: version {other.number} is {kind}; start gan serve anew to serve it")
        return other

    def _tell(self, line: str) -> None:
        """Once, however often it is met."""
        if line != self._told:
            self._told = line
            self._say(f"serve: {line}")
