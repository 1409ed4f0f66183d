"""The network of gRPC on loopback, for the tests of what is particular to it."""

from streamcell.transport.base import Listener
from streamcell.transport.grpc.network import GrpcNetwork
from tests.shell.transport.running import Arrivals

NETWORK = GrpcNetwork()
LOOPBACK = "grpc://127.0.0.1:0"


async def listen(url: str, *, insecure: bool = False) -> Listener:
    """Listen for lanes that nobody will take."""
    return await NETWORK.listen(url, Arrivals(), insecure=insecure)
