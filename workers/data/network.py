"""Network addresses: which ones are public, and to which a link may lead.

A table of links is written by others. Fetched without checks, it could make a machine inside a
network query that network's own services, or a cloud's metadata service, and store the answers.
"""

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out. Python calls much of the rest global: site-local addresses
(``fec0::/10``), a network's own NAT64 (``64:ff9b:1::/48``), IPv4 in forms that are out of use."""
_REFUSED = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # services of the own network
    ipaddress.IPv6Network("2001::/23"),  # protocols, global in part since Python 3.13
    ipaddress.IPv6Network("3fff::/20"),  # examples
)
"""More of what Python calls global, or some versions of it do."""


class LinkRefusedError(OSError):
    """A link that must not be followed; trying again is no use."""


def resolve(host: str, port: int, private: bool) -> list[str]:
    """Return the numeric addresses of a host, all of them checked.

    The caller connects to one of these very addresses: asked for the name once more, a name server
    could answer differently.

    Raises `LinkRefusedError` when one of the addresses is not public and `private` is false, and
    OSError when the name is unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise LinkRefusedError(f"{host!r} is no name of a host") from error
    except socket.gaierror as error:
        raise OSError(f"the host {host} is not known: {error.strerror}") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    refused = [address for address in addresses if not is_public(address)]
    if refused and not private:
        raise LinkRefusedError(
            f"{host} has the address {refused[0]}, which is not public; if this data set may "
            "fetch from it set data.allow_private_links: true"
        )
    return addresses


def is_public(address: str) -> bool:
    """Tell whether a numeric address belongs to the open internet, and to one host of it."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = _embedded(ip)
    if inner is not None:
        return is_public(str(inner))
    given_out = isinstance(ip, IPv4Address) or ip in _UNICAST
    refused = ip.is_multicast or any(ip in network for network in _REFUSED)
    return given_out and ip.is_global and not refused


def is_loopback(host: str) -> bool:
    """Tell whether only processes of the same machine reach a host: ``localhost``, 127/8, ::1.

    A name is not looked up.
    """
    if host.lower() == "localhost":
        return True
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return (_embedded(ip) or ip).is_loopback


def _embedded(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address to which an IPv6 one leads, where it does."""
    if isinstance(ip, IPv4Address):
        return None
    return IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else ip.ipv4_mapped or ip.sixtofour
