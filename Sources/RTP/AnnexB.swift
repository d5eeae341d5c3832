// SPDX-License-Identifier: Apache-2.0

import SansIO

/// The byte stream format of ITU-T H.264 Annex B: NAL units behind start codes of three or four bytes.
public enum AnnexB {
  /// The start code that our own writers put before each NAL unit.
  public static let startCode: [UInt8] = [0, 0, 0, 1]

  /// Finds the NAL units: without start codes and without the zero bytes that may follow a unit.
  ///
  /// Bytes before the first start code are skipped, empty units left out. Looks at about every third byte.
  public static func nalUnits(in bytes: RawSpan) -> [Range<Int>] {
    var units: [Range<Int>] = []
    var start: Int?
    var position = 0
    while let code = nextStartCode(in: bytes, from: position) {
      if let start { append(start..<code, of: bytes, to: &units) }
      start = code + 3
      position = code + 3
    }
    if let start { append(start..<bytes.byteCount, of: bytes, to: &units) }
    return units
  }

  /// The offset of the next three-byte start code at or after `position`, or `nil`.
  ///
  /// A four-byte start code is found at its second byte; the zero before it counts to what precedes.
  public static func nextStartCode(in bytes: RawSpan, from position: Int) -> Int? {
    precondition(position >= 0, "offsets start at 0")
    // The byte that would be the code's last decides how far to step: above 1 nothing can start before it.
    var last = position + 2
    while let byte = bytes.byte(at: last) {
      if byte == 0 {
        last += 1
      } else if byte == 1, bytes.byte(at: last - 1) == 0, bytes.byte(at: last - 2) == 0 {
        return last - 2
      } else {
        last += 3
      }
    }
    return nil
  }

  private static func append(_ range: Range<Int>, of bytes: RawSpan, to units: inout [Range<Int>]) {
    var end = range.upperBound
    // A NAL unit never ends in a zero byte (H.264 §7.4.1): these belong to the byte stream.
    while end > range.lowerBound, bytes.byte(at: end - 1) == 0 { end -= 1 }
    if end > range.lowerBound { units.append(range.lowerBound..<end) }
  }
}
