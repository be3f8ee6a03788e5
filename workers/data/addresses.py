"""Which network addresses a link may lead to.

A table of links is written by others. Fetched without care, it could make a machine inside a
network ask that network's own services, or a cloud's metadata service, and store the answers.
"""

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class RefusedError(OSError):
    """A link that must not be followed; trying again is no use."""


def resolve(host: str, port: int, private: bool) -> list[str]:
    """Return the numeric addresses of a host, all of them checked.

    The caller connects to one of these very addresses: asked for the name once more, a name server
    could answer differently.

    Raises `RefusedError` when one of the addresses is not public and `private` is false, and
    OSError when the name is unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise RefusedError(f"{host!r} is no name of a host") from error
    except socket.gaierror as error:
        raise OSError(f"the host {host} is not known: {error.strerror}") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    refused = [address for address in addresses if not is_public(address)]
    if refused and not private:
        raise RefusedError(
            f"{host} has the address {refused[0]}, which is not public; if this data set may "
            "fetch from it set data.allow_private_links: true"
        )
    return addresses


def is_public(address: str) -> bool:
    """Tell whether a numeric address belongs to the open internet, and to one host of it."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = _embedded(ip)
    return ip.is_global and not ip.is_multicast and (inner is None or is_public(str(inner)))


def _embedded(ip: IPv4Address | IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address to which an IPv6 one leads, where it does."""
    if isinstance(ip, IPv4Address):
        return None
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
