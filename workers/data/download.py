"""The bytes behind one http or https link, within limits."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError, NewConnectionError, ProtocolError
from urllib3.util import Url, parse_url

from workers.data.network import LinkRefusedError, resolve
from workers.redaction import redact

SCHEMES = {"http": 80, "https": 443}
"""Scheme of a link that is followed -> its port."""
_REDIRECTS = (301, 302, 303, 307, 308)
_TEMPORARY = (408, 425, 429)
"""Answers that may be different the next time, besides all from 500 up."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a download may do, and how long."""

    private: bool = False
    """Whether addresses that are not public may be connected to."""
    redirected: bool = False
    """Whether a link may lead on to another one."""
    hops: int = 5
    """Links followed in a row at most, the first one included."""
    max_bytes: int = 32 * 2**20
    """Bytes of the largest file."""
    silence_seconds: float = 20.0
    """Longest wait for a connection, and for each next piece of the answer."""
    total_seconds: float = 90.0
    """Longest time of one attempt's body."""
    attempts: int = 4
    pause_seconds: float = 1.0
    """Wait before the second attempt; doubles for each further one."""


class Downloader:
    """Downloads files, keeping connections open; threads may share one."""

    def __init__(self, rules: Rules, sleep: Callable[[float], None] = time.sleep) -> None:
        self._rules = rules
        self._sleep = sleep
        # Bounded, for each open connection is an open file; those of a dropped host close.
        self._pools = lru_cache(maxsize=64)(self._connect)

    def __call__(self, link: str) -> bytes:
        """Return the file behind `link`.

        Timeouts, lost connections and answers that blame the server or its load are tried
        again, ever more slowly. Proxies of the environment are not used: their addresses
        could not be checked.

        Raises OSError with the reason in one line.
        """
        rules = self._rules
        for attempt in range(rules.attempts):
            if attempt:
                pause = rules.pause_seconds * 2 ** (attempt - 1)
                self._sleep(pause * random.uniform(1.0, 1.5))  # jitter between threads
            try:
                return self._follow(link, attempt)
            except LinkRefusedError:
                raise
            except NewConnectionError:
                reason = "no connection"
            except urllib3.exceptions.TimeoutError:
                reason = f"no answer within {rules.silence_seconds:g} s"
            except ProtocolError:
                reason = "the connection broke before the end"
            except (HTTPError, OSError, ValueError) as error:  # headers may contain anything
                reason = " ".join(str(error).split()) or type(error).__name__
        raise OSError(f"{reason}, {rules.attempts} times")

    def _follow(self, link: str, attempt: int) -> bytes:
        for _ in range(self._rules.hops):
            url = _parsed(link)
            scheme, host = str(url.scheme), str(url.host)
            pools = self._pools(scheme, host.strip("[]"), url.port or SCHEMES[scheme])
            answer: Any = pools[attempt % len(pools)].request(
                "GET",
                url.request_uri,
                headers={"Host": url.netloc or host, "Accept-Encoding": "identity"},
                redirect=False,
                retries=False,
                preload_content=False,
            )
            try:
                if answer.status not in _REDIRECTS:
                    return self._body(answer)
                link = urljoin(link, answer.headers.get("Location", ""))
            finally:
                answer.close() if answer.length_remaining else answer.release_conn()
            if not self._rules.redirected:
                raise LinkRefusedError(
                    f"redirected to {link}; to follow set data.allow_redirected_links: true"
                )
        raise LinkRefusedError(f"more than {self._rules.hops - 1} redirections")

    def _connect(self, scheme: str, host: str, port: int) -> list[Any]:
        """Return one pool of connections per address of the host, bound to that address."""
        timeout = urllib3.Timeout(self._rules.silence_seconds)
        options: dict[str, Any] = {"maxsize": 16, "timeout": timeout}
        options["headers"] = {"User-Agent": "caption-sweeps"}
        pool: type[urllib3.HTTPConnectionPool] = urllib3.HTTPConnectionPool
        if scheme == "https":
            pool = urllib3.HTTPSConnectionPool
            options |= {"server_hostname": host, "assert_hostname": host}
        addresses = resolve(host, port, self._rules.private)
        return [pool(address, port, **options) for address in addresses]

    def _body(self, answer: Any) -> bytes:
        if answer.status != HTTPStatus.OK:
            temporary = answer.status >= 500 or answer.status in _TEMPORARY
            raise (OSError if temporary else LinkRefusedError)(
                f"HTTP {answer.status} {answer.reason}"
            )
        expected, content = answer.length_remaining or 0, bytearray()
        end = time.monotonic() + self._rules.total_seconds
        while (size := max(expected, len(content))) <= self._rules.max_bytes:
            piece = answer.read1(2**16, decode_content=False)
            if not piece:
                return bytes(content)
            content += piece
            if time.monotonic() > end:
                raise OSError(f"not complete within {self._rules.total_seconds:g} s")
        raise LinkRefusedError(f"{size} bytes or more, the limit is {self._rules.max_bytes}")


def _parsed(link: str) -> Url:
    """Return the parts of a link; raises `LinkRefusedError` when it is no http or https link."""
    try:
        url = parse_url(link)
    except LocationParseError as error:
        raise LinkRefusedError("not a link that can be read") from error
    if url.scheme not in SCHEMES or not url.host:
        raise LinkRefusedError(f"only http and https links are followed, not {redact(link)[:80]!r}")
    # User and password in a link stay here: they would be a secret in everybody's table.
    return url._replace(auth=None)
