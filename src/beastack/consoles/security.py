"""The first words of RFB with nova-novncproxy: no authentication, or VeNCrypt with certificates on both sides.

nova's side is nova/console/securityproxy/rfb.py and nova/console/rfb/authvencrypt.py: version 0.2, sub-type X509None,
a byte of acceptance, then TLS. VeNCrypt: https://github.com/rfbproto/rfbproto, section VeNCrypt.
"""

import asyncio
import ssl
import struct

from beastack.consoles import rfb

X509_NONE = 260
_LIMIT = 15.0


def tls_context(cert: str, key: str, authority: str) -> ssl.SSLContext:
    """A server's context that wants a client's certificate, signed by ``authority`` for clients. OSError, SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext | None) -> None:
    """Up to and with SecurityResult and the client's ClientInit.

    Raises BadMessage, IncompleteReadError, TimeoutError, ssl.SSLError (an OSError).
    """
    async with asyncio.timeout(_LIMIT):
        await _welcome(reader, writer, context)


async def _welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext | None) -> None:
    writer.write(rfb.VERSION)
    version = await reader.readexactly(len(rfb.VERSION))
    if version != rfb.VERSION:
        raise rfb.BadMessage(f"version {version!r}")
    offered = rfb.SECURITY_NONE if context is None else rfb.SECURITY_VENCRYPT
    writer.write(bytes([1, offered]))
    chosen = (await reader.readexactly(1))[0]
    if chosen != offered:
        raise rfb.BadMessage(f"security type {chosen}, {offered} was offered")
    if context is not None:
        await _vencrypt(reader, writer, context)
    writer.write(b"\0\0\0\0")
    await reader.readexactly(1)  # ClientInit: everybody shares


async def _vencrypt(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
    writer.write(b"\0\2")
    if await reader.readexactly(2) != b"\0\2":
        writer.write(b"\1")
        raise rfb.BadMessage("another version of VeNCrypt than 0.2")
    writer.write(b"\0" + struct.pack("!BI", 1, X509_NONE))
    chosen = struct.unpack("!I", await reader.readexactly(4))[0]
    if chosen != X509_NONE:
        writer.write(b"\0")
        raise rfb.BadMessage(f"VeNCrypt sub-type {chosen}")
    # nothing is read from here on but by TLS: the client's first words may already be under way
    transport = writer.transport
    if isinstance(transport, asyncio.ReadTransport):
        transport.pause_reading()
    writer.write(b"\1")
    await writer.drain()
    await writer.start_tls(context)
