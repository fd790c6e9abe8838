"""Saves packets of a Tapstone server as a pcapng file; README.md says how to run it."""

import argparse
import re
import sys
import time
from pathlib import Path
from typing import BinaryIO

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from tapstone.v1 import tapstone_pb2 as proto
from tapstone.v1.tapstone_pb2_grpc import TapstoneStub

# Exit codes, as those of the command line.
COMPLETE, USAGE, INCOMPLETE, UNUSABLE = 0, 2, 3, 4
CODES = {"INVALID_ARGUMENT": USAGE} | dict.fromkeys(
    ("ABORTED", "CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"), INCOMPLETE
)
# The server ended, perhaps to start anew; or this program took nothing for too long.
PASSING = ("UNAVAILABLE", "ABORTED")
# How often in a row a stream is taken up again; the pauses grow, to 31 s in all.
TRIES = 5
OPTIONS = [
    # A piece with a large packet in it can be longer than the default of 4 MiB.
    ("grpc.max_receive_message_length", 64 << 20),
    # A server that went without a word, as in a power cut, is noticed.
    ("grpc.keepalive_time_ms", 20_000),
]

Metadata = list[tuple[str, str]]


def instant(text: str) -> Timestamp:
    """An instant such as 2026-01-31 or 2026-01-31T12:00:00.5+01:00; without a zone it is UTC."""
    text += "" if "T" in text else "T00:00:00"
    text += "" if re.search(r"(Z|[+-]\d\d:\d\d)$", text) else "Z"
    result = Timestamp()
    # Python's own datetime would lose nanoseconds.
    result.FromJsonString(text)
    return result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Save packets of a Tapstone server as pcapng.")
    add = parser.add_argument
    add("--server", required=True, metavar="ADDRESS", help="unix:/path/socket or host:port")
    add("--ca", type=Path, metavar="FILE", help="who vouches for the server; without it no TLS")
    add("--cert", type=Path, metavar="FILE", help="this client's certificate")
    add("--key", type=Path, metavar="FILE", help="the certificate's key")
    add("--token-file", type=Path, metavar="FILE", help="a file that holds a bearer token")
    add("--since", type=instant, metavar="ISO", help="packets at this instant or later")
    add("--until", type=instant, metavar="ISO", help="packets before this instant")
    add("--where", default="", metavar="META", help="a metadata query on the packets' flows")
    add("-w", dest="file", type=Path, required=True, metavar="FILE", help="where packets go")
    add("filter", nargs="*", metavar="FILTER", help="a pcap filter")
    args = parser.parse_args()
    if bool(args.cert) != bool(args.key) or (args.cert and not args.ca):
        parser.error("--cert and --key go together, and with --ca")
    return args


def connect(args: argparse.Namespace) -> tuple[grpc.Channel, Metadata]:
    """The server, and what goes along with each call."""
    metadata = []
    if args.token_file:
        metadata.append(("authorization", f"Bearer {args.token_file.read_text().strip()}"))
    if not args.ca:
        options = list(OPTIONS)
        if args.server.startswith("unix:"):
            # gRPC would send the socket's path as the host, which the server's HTTP/2 refuses.
            options.append(("grpc.default_authority", "localhost"))
        return grpc.insecure_channel(args.server, options), metadata
    files = [file and file.read_bytes() for file in (args.ca, args.key, args.cert)]
    credentials = grpc.ssl_channel_credentials(*files)
    return grpc.secure_channel(args.server, credentials, OPTIONS), metadata


def stream(
    stub: TapstoneStub, selection: proto.Selection, metadata: Metadata, file: BinaryIO
) -> proto.Answer | None:
    """Writes what one call gives, and keeps in the selection where to go on behind it."""
    request = proto.QueryRequest(selection=selection, form=proto.FORM_PCAPNG)
    for message in stub.Query(request, metadata=metadata):
        match message.WhichOneof("content"):
            case "capture":
                file.write(message.capture.content)
                selection.after = message.capture.cursor
            case "answer":
                return message.answer
    return None


def save(
    stub: TapstoneStub, selection: proto.Selection, metadata: Metadata, file: BinaryIO
) -> proto.Answer | None:
    """Writes all that is selected, by as many calls as it takes.

    Each call's bytes begin with a section header; a pcapng file may have several.
    """
    calls, tries = 1, 0
    while True:
        before = selection.after
        try:
            answer = stream(stub, selection, metadata, file)
            if answer is None or answer.ended != proto.ENDED_BYTE_LIMIT:
                break
        except grpc.RpcError as error:
            tries = tries + 1 if selection.after == before else 1
            if error.code().name not in PASSING or not selection.after or tries > TRIES:
                raise
            say(f"{error.details()}; going on behind the packets so far")
            time.sleep(2 ** (tries - 1))
        calls += 1
    if answer and calls > 1:
        # An answer tells what its own call lacks. What the others lack, a count of all tells.
        whole = proto.Selection()
        whole.CopyFrom(selection)
        whole.ClearField("after")
        answer = stub.Count(proto.CountRequest(selection=whole), metadata=metadata).answer
    return answer


def say(text: object) -> None:
    print(f"save: {text}", file=sys.stderr)


def main() -> int:
    args = arguments()
    selection = proto.Selection(
        since=args.since, until=args.until, filter=" ".join(args.filter), metadata=args.where
    )
    try:
        channel, metadata = connect(args)
    except OSError as error:
        say(error)
        return UNUSABLE
    try:
        with channel, args.file.open("wb") as file:
            answer = save(TapstoneStub(channel), selection, metadata, file)
    except OSError as error:
        say(error)
        return INCOMPLETE
    except grpc.RpcError as error:
        say(error.details())
        if selection.after:
            say("the answer broke off; the packets so far are whole")
            return INCOMPLETE
        return CODES.get(error.code().name, UNUSABLE)
    if answer is None:
        say("the answer has no end; the packets so far are whole")
        return INCOMPLETE
    for refused in answer.completeness.refused:
        say(f"the filter cannot be asked of link type {refused.link_type}: {refused.reason}")
    for missing in answer.completeness.missing:
        say(f"missing: {missing.text}")
    complete = not answer.completeness.missing
    say(f"{answer.packets} packets match, {'complete' if complete else 'NOT complete'}")
    return COMPLETE if complete else INCOMPLETE


if __name__ == "__main__":
    sys.exit(main())
