// SPDX-License-Identifier: Apache-2.0

import RTP
import SansIO

/// Bytes from hexadecimal digits; blanks and line ends are skipped.
func hex(_ text: String) -> [UInt8] {
  let digits = text.compactMap { $0.hexDigitValue }
  return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// Flips one to four random bits and sometimes cuts the end off.
func damaged(_ bytes: [UInt8], using random: inout RandomSource) -> [UInt8] {
  var copy = bytes
  guard !copy.isEmpty else { return copy }
  for _ in 0..<Int.random(in: 1...4, using: &random) {
    copy[Int.random(in: copy.indices, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
  }
  if Int.random(in: 0..<4, using: &random) == 0 {
    copy.removeLast(Int.random(in: 0..<copy.count, using: &random))
  }
  return copy
}

/// A NAL unit of random content that may stand in a byte stream: no start code inside, no zero at the end.
func randomUnit(header: UInt8, byteCount: Int, using random: inout RandomSource) -> [UInt8] {
  var unit = [header]
  while unit.count < byteCount {
    var byte = UInt8(truncatingIfNeeded: random.next())
    if unit.count == 1 { byte |= 0x80 }
    if unit.count >= 2, unit[unit.count - 1] == 0, unit[unit.count - 2] == 0, byte <= 3 { byte = 0x47 }
    unit.append(byte)
  }
  if unit[unit.count - 1] == 0 { unit[unit.count - 1] = 0x80 }
  return unit
}

/// An Annex-B access unit of these NAL units, with start codes of three or four bytes.
func accessUnit(_ units: [[UInt8]], using random: inout RandomSource) -> [UInt8] {
  units.flatMap { (Bool.random(using: &random) ? [0, 0, 0, 1] : [0, 0, 1]) + $0 }
}

/// The NAL units of a byte stream as arrays.
func nalUnits(_ bytes: [UInt8]) -> [[UInt8]] {
  AnnexB.nalUnits(in: bytes.rawSpan).map { Array(bytes[$0]) }
}

/// The payloads of a frame as arrays.
func payloads(_ frame: PacketizedFrame) -> [[UInt8]] {
  frame.packets.map { Array(frame.bytes[$0]) }
}

/// The parts of a parsed RTP packet that tests compare.
struct ParsedPacket: Equatable {
  var header: RTPHeader
  var payload: [UInt8]

  init(_ packet: [UInt8]) throws(ParseError) {
    let (header, range) = try RTPHeader.parse(packet.rawSpan)
    self.header = header
    payload = Array(packet[range])
  }
}

/// All packets of a compound.
func rtcpPackets(_ bytes: [UInt8]) throws(ParseError) -> [RTCPPacket] {
  try RTCPPackets.all(in: bytes.rawSpan)
}
