#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cuts and checks the sample clip; the helper of make-sample-clip.sh. Only the standard library.

  check-sample-clip.py cut IN.opus OUT.opus FIRST COUNT    keeps COUNT Opus packets from packet FIRST on
  check-sample-clip.py check CLIP.h264 CLIP.opus PICTURES PACKETS
"""
import struct
import sys


def crc(data):
    """The checksum of an Ogg page (RFC 3533, section 6): polynomial 0x04c11db7, no reflection, starts at zero."""
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value


def packets_of(data):
    """All packets of an Ogg file with one stream."""
    packets, open_packet, offset = [], b"", 0
    while offset < len(data):
        assert data[offset:offset + 4] == b"OggS", "not an Ogg page"
        count = data[offset + 26]
        lacing = data[offset + 27:offset + 27 + count]
        body = offset + 27 + count
        page = bytearray(data[offset:body + sum(lacing)])
        page[22:26] = bytes(4)
        assert crc(page) == struct.unpack_from("<I", data, offset + 22)[0], "wrong page checksum"
        for size in lacing:
            open_packet += data[body:body + size]
            body += size
            if size < 255:
                packets.append(open_packet)
                open_packet = b""
        offset = body
    assert not open_packet, "the last packet is not complete"
    return packets


def page(flags, granule, sequence, packets):
    """One Ogg page that holds whole packets."""
    lacing = b"".join(b"\xff" * (len(p) // 255) + bytes([len(p) % 255]) for p in packets)
    assert len(lacing) <= 255
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, granule, 0x6B767331, sequence, 0)
    result = bytearray(head + bytes([len(lacing)]) + lacing + b"".join(packets))
    struct.pack_into("<I", result, 22, crc(result))
    return bytes(result)


def cut(source, target, first, count):
    packets = packets_of(open(source, "rb").read())
    head, audio = packets[0], packets[2:][first:first + count]
    assert len(audio) == count, "the source is too short"
    vendor = b"swift-kvs-webrtc"
    tags = b"OpusTags" + struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", 0)
    pages = [page(2, 0, 0, [head]), page(0, 0, 1, [tags])]
    for start in range(0, count, 50):
        end = min(start + 50, count)
        pages.append(page(4 if end == count else 0, end * 960, len(pages), audio[start:end]))
    open(target, "wb").write(b"".join(pages))


def nal_units(data):
    """The NAL units of an Annex-B byte stream, without start codes."""
    offsets, at = [], data.find(b"\0\0\1")
    while at >= 0:
        offsets.append(at + 3)
        at = data.find(b"\0\0\1", at + 3)
    for start, following in zip(offsets, offsets[1:] + [len(data) + 3]):
        yield data[start:following - 3].rstrip(b"\0")


def check(video, audio, pictures, packets):
    kinds = [unit[0] & 31 for unit in nal_units(open(video, "rb").read())]
    slices = [kind for kind in kinds if kind in (1, 5)]
    assert len(slices) == pictures, f"{len(slices)} slices instead of {pictures} pictures"
    assert [kind == 5 for kind in slices] == [index % 25 == 0 for index in range(pictures)], "an IDR is not in its place"
    expected = [kind for _ in range(pictures // 25) for kind in [7, 8, 5] + [1] * 24]
    assert kinds == expected, "the order of NAL units is not SPS, PPS, IDR, 24 slices"
    sps = next(unit for unit in nal_units(open(video, "rb").read()) if unit[0] & 31 == 7)
    assert sps[1] == 66 and sps[2] & 0x40, "not constrained baseline"
    found = packets_of(open(audio, "rb").read())
    assert found[0][:8] == b"OpusHead" and found[0][9] == 2 and found[1][:8] == b"OpusTags"
    assert len(found) - 2 == packets, f"{len(found) - 2} Opus packets instead of {packets}"
    for packet in found[2:]:
        assert packet[0] >> 3 in (15, 19, 23, 27, 31) and packet[0] & 3 == 0, "not one frame of 20 ms"
        assert packet[0] & 4, "not stereo"
    size = len(open(video, "rb").read()) + len(open(audio, "rb").read())
    assert size < 3_000_000, f"{size} bytes are too many"
    print(f"{pictures} pictures, {packets} Opus packets, {size} bytes")


if __name__ == "__main__":
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "cut":
        cut(arguments[0], arguments[1], int(arguments[2]), int(arguments[3]))
    else:
        check(arguments[0], arguments[1], int(arguments[2]), int(arguments[3]))
