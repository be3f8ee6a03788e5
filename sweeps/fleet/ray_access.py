"""Access to a Ray cluster: the token that Ray requires, and clusters that require none.

With ``RAY_AUTH_MODE=token`` every process of a Ray cluster asks every caller for one shared token.
Without it, anyone who reaches a port of the cluster can run code as the user who started it.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from workers.data.network import is_loopback

MODE, TOKEN, TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
"""Variables of Ray's: whether tokens are used (``token`` or ``disabled``), the token itself, and a
file that holds it."""
GET_TOKEN = (
    "copy `.ray/auth_token` of the head node's home folder to this one's (mode 0600), or set "
    f"{TOKEN} to what `ray get-auth-token` prints there"
)
"""The fix where the token of a cluster is missing."""
_CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_SECONDS = 3.0


class ClusterAccess(Enum):
    """How a cluster answers a caller."""

    OPEN = "open"
    """It serves all callers, with or without a token."""
    ACCEPTED = "accepted"
    """It requires a token and accepts ours."""
    REFUSED = "refused"
    """It requires a token, and ours is another one or missing."""
    NONE = "none"
    """Nothing that speaks Ray's protocol in the clear answers."""


def token(environ: Mapping[str, str]) -> str | None:
    """Return the token that Ray would send, from where Ray takes it; None when there is none."""
    if environ.get(TOKEN):
        return environ[TOKEN]
    try:
        return token_file(environ).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def token_file(environ: Mapping[str, str]) -> Path:
    """Return the file in which Ray looks for a token; it may not exist."""
    named = environ.get(TOKEN_FILE)
    return Path(named) if named else Path.home() / ".ray" / "auth_token"


def answer(address: str, environ: Mapping[str, str]) -> ClusterAccess:
    """Ask the head at ``host:port``, first without a token and then with the one that Ray sends.

    A plain call over gRPC, because Ray's own client retries for 20 seconds before it gives up.
    """
    import grpc

    sends = environ.get(MODE, "token").lower() == "token"
    own = token(environ) if sends else None
    # As Ray's own channels: a proxy for HTTP is none for this, and should not see the token.
    direct = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(address, options=direct) as channel:
        call = channel.unary_unary(_CHECK_ALIVE)
        for sent in (None, own) if own else (None,):
            headers = [("authorization", f"Bearer {sent}")] if sent else None
            try:
                call(b"", timeout=_SECONDS, metadata=headers)  # an empty message is a valid one
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                    return ClusterAccess.NONE
            else:
                return ClusterAccess.ACCEPTED if sent else ClusterAccess.OPEN
    return ClusterAccess.REFUSED


def refusal(address: str, environ: Mapping[str, str]) -> str:
    """Return why a cluster that asks for a token does not let this process in, as a sentence."""
    asks = f"the Ray cluster at {address} asks for a token"
    if token(environ) is None:
        return f"{asks}, and there is none here: {GET_TOKEN}"
    if environ.get(MODE, "token").lower() != "token":
        return f"{asks}, and {MODE}={environ[MODE]} keeps it from being sent: unset {MODE}"
    return f"{asks} and does not accept the one that is here: {GET_TOKEN}"


def exposed(address: str, hosts: Iterable[str] = ()) -> str:
    """Return the warning about an open cluster; empty where only its own machine reaches it.

    `address` is how it was reached, and `hosts` are those of its nodes that are known.
    """
    own = urlsplit(address if "://" in address else f"//{address}").hostname or ""
    reachable = sorted(host for host in {own, *filter(None, hosts)} if not is_loopback(host))
    if not reachable:
        return ""
    return (
        f"the Ray cluster at {address} asks for no token: all who reach {', '.join(reachable)} can "
        f"run code on it and read its secrets; start it with {MODE}=token, see docs/cluster.md"
    )
