"""Source digests."""

import ganlib.losses
import ganlib.networks
import ganlib.sampling
from ganlib.source_digest import source_digest


def test_packages_and_modules_tell_each_other_apart() -> None:
    digests = {source_digest(m) for m in (ganlib.losses, ganlib.networks, ganlib.sampling)}
    assert len(digests) == 3
    assert source_digest(ganlib.losses, ganlib.networks) == source_digest(ganlib.losses, ganlib.networks)
    assert source_digest(ganlib.losses, ganlib.networks) not in digests
