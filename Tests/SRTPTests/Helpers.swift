// SPDX-License-Identifier: Apache-2.0

import SansIO

@testable import SRTP

/// The bytes of hexadecimal digits; blanks do not count.
func hex(_ text: String) -> [UInt8] {
  let digits = text.filter { $0 != " " }.compactMap(\.hexDigitValue)
  return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

func protect(
  _ protector: inout SRTPProtector, header: [UInt8], prefix: [UInt8] = [], payload: [UInt8], index: Int64
) throws(SRTPError) -> [UInt8] {
  let count = header.count + prefix.count + payload.count + protector.profile.rtpOverheadByteCount
  var protected: [UInt8] = []
  protected = try [UInt8](writing: count) { (output: inout OutputRawSpan) throws(SRTPError) in
    try protector.protectRTP(
      header: header.rawSpan, prefix: prefix.rawSpan, payload: payload.rawSpan, packetIndex: index,
      into: &output)
  }
  return protected
}

func protectRTCP(_ protector: inout SRTPProtector, _ packet: [UInt8]) throws(SRTPError) -> [UInt8] {
  let count = packet.count + protector.profile.rtcpOverheadByteCount
  return try [UInt8](writing: count) { (output: inout OutputRawSpan) throws(SRTPError) in
    try protector.protectRTCP(packet.rawSpan, into: &output)
  }
}

func unprotect(_ unprotector: inout SRTPUnprotector, _ packet: [UInt8]) throws(SRTPError) -> [UInt8] {
  [UInt8](copying: try unprotector.unprotectRTP(packet.rawSpan))
}

func unprotectRTCP(_ unprotector: inout SRTPUnprotector, _ packet: [UInt8]) throws(SRTPError) -> [UInt8] {
  [UInt8](copying: try unprotector.unprotectRTCP(packet.rawSpan))
}

/// A protector and the unprotector of the other end.
struct Direction: ~Copyable {
  var protector: SRTPProtector
  var unprotector: SRTPUnprotector

  init(_ profile: SRTPProtectionProfile, seed: UInt64 = 1) throws(SRTPError) {
    var random = RandomSource(seed: seed)
    let keys = SRTPKeys(
      masterKey: Secret(random.bytes(profile.keyByteCount)),
      masterSalt: Secret(random.bytes(profile.saltByteCount)))
    let protector = try SRTPProtector(profile: profile, keys: keys)
    let unprotector = try SRTPUnprotector(profile: profile, keys: keys)
    self.protector = protector
    self.unprotector = unprotector
  }

  mutating func protect(_ index: Int64, ssrc: UInt32 = 7, payload: [UInt8] = [1, 2, 3]) throws(SRTPError)
    -> [UInt8]
  {
    let sequence = UInt16(truncatingIfNeeded: index)
    return try SRTPTests.protect(
      &protector, header: rtpHeader(sequence: sequence, ssrc: ssrc), payload: payload, index: index)
  }

  mutating func unprotect(_ packet: [UInt8]) throws(SRTPError) -> [UInt8] {
    try SRTPTests.unprotect(&unprotector, packet)
  }
}

func rtpHeader(sequence: UInt16, ssrc: UInt32) -> [UInt8] {
  [UInt8](writing: 12) { (output: inout OutputRawSpan) in
    output.write(0x8060 as UInt16)
    output.write(sequence)
    output.write(0x0102_0304 as UInt32)
    output.write(ssrc)
  }
}

/// A receiver report without blocks.
func rtcpPacket(ssrc: UInt32, blocks: Int = 0) -> [UInt8] {
  [UInt8](writing: 8 + 24 * blocks) { (output: inout OutputRawSpan) in
    output.write(UInt8(0x80 + blocks))
    output.write(201 as UInt8)
    output.write(UInt16(1 + 6 * blocks))
    output.write(ssrc)
    output.writeZeros(24 * blocks)
  }
}
