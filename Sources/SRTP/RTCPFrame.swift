// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// What SRTCP has to know of a compound packet's first header (RFC 3550 §6.4.1): version and sender.
struct RTCPFrame {
  let ssrc: UInt32

  init(parsing packet: RawSpan) throws(SRTPError) {
    var reader = ByteReader(packet)
    do throws(ParseError) {
      guard try reader.readUInt8() >> 6 == 2 else { throw .invalid("RTCP version") }
      try reader.skip(3)
      ssrc = try reader.readUInt32()
    } catch .truncated {
      throw .truncated
    } catch {
      throw .malformed
    }
  }
}
