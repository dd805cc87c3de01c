from __future__ import annotations

import pytest

from psishare.errors import ConfigError
from psishare.transport.address import Address


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("192.0.2.7:8443", "ipv4:192.0.2.7:8443"),
        ("[2001:db8::7]:8443", "ipv6:[2001:db8::7]:8443"),
        ("platform.example:8443", "dns:///platform.example:8443"),
        ("localhost:1", "dns:///localhost:1"),
        ("xn--bcher-kva.example:65535", "dns:///xn--bcher-kva.example:65535"),
        ("127.0.0.1:0", "ipv4:127.0.0.1:0"),
    ],
)
def test_address_is_read_and_written(text: str, target: str) -> None:
    address = Address.parse(text)
    assert str(address) == text
    assert address.target == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "platform.example",
        "platform.example:",
        ":8443",
        "platform.example:65536",
        "platform.example:08443",
        "platform.example:٣",
        "platform.example:-1",
        "platform.example: 1",
        "platform.example:1\n",
        "unix:/run/psishare.sock",
        "unix:///run/psishare.sock:1",
        "dns:///platform.example:8443",
        "xds:///platform:1",
        "https://platform.example:8443",
        "user@platform.example:8443",
        "2001:db8::7:8443",
        "[2001:db8::7]",
        "[192.0.2.7]:8443",
        "[fe80::1%eth0]:8443",
        "192.0.2.256:1",
        "192.0.2:1",
        "127.1:1",
        "0x7f.1:1",
        "-x.example:1",
        "a..example:1",
        "plätform.example:1",
        "x" * 64 + ".example:1",
        "a.b," * 20 + "c:1",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.parse(text)
    assert caught.value.reason == "address_invalid"
