// SPDX-License-Identifier: Apache-2.0

import SansIO

/// A domain name (RFC 1035 §3.1): labels of 1 to 63 bytes, 255 bytes in all with their lengths and the root.
///
/// Kept in the form of the wire and in lower case, because names are compared without regard to the case of
/// ASCII letters (RFC 6762 §16). A name of another host may hold any bytes in its labels; it is only compared.
public struct DNSName: Hashable, Sendable {
  /// Bytes of a label at most (RFC 1035 §2.3.4).
  static let labelByteCountMax = 63
  /// Bytes of a name at most, with the lengths of its labels and the root's (RFC 1035 §2.3.4).
  static let byteCountMax = 255
  /// Compression pointers that are followed within one name. Serialisers use one, rarely two; the limit keeps
  /// a message of nothing but pointers from costing more than a name of nothing but labels.
  static let pointersMax = 16

  /// Each label behind its length, without the root.
  private let labels: [UInt8]

  /// A name as people write it, with or without the dot at its end; `nil` where a label is empty or too long,
  /// or holds anything but letters, digits, hyphens and underscores.
  public init?(_ text: String) {
    var parts = text.split(separator: ".", omittingEmptySubsequences: false)
    if parts.count > 1, parts.last?.isEmpty == true { parts.removeLast() }
    var labels: [UInt8] = []
    for part in parts {
      guard (1...Self.labelByteCountMax).contains(part.utf8.count),
        part.utf8.allSatisfy(Self.isHostNameByte), labels.count + 1 + part.utf8.count < Self.byteCountMax
      else { return nil }
      labels.append(UInt8(part.utf8.count))
      labels += part.utf8.map(Self.lowercased)
    }
    self.labels = labels
  }

  /// Parses a name that begins at the reader's place in a message, and steps over it (RFC 1035 §4.1.4).
  ///
  ///     +--+--+--+--+--+--+--+--+         +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
  ///     | 0  0|     LENGTH      |  or     | 1  1|                OFFSET                   |
  ///     +--+--+--+--+--+--+--+--+         +--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+--+
  ///
  /// A pointer leads to an earlier place than any that was read for this name, so that no loop is possible.
  init(parsing reader: inout ByteReader) throws(ParseError) {
    let message = reader.bytes
    var labels: [UInt8] = []
    var position = reader.offset
    var earliest = position
    var end: Int?
    var pointerCount = 0
    while true {
      guard let length = message.byte(at: position) else { throw .truncated }
      if length == 0 { break }
      switch length >> 6 {
      case 0:
        guard labels.count + 1 + Int(length) < Self.byteCountMax else { throw .invalid("name length") }
        guard position + Int(length) < message.byteCount else { throw .truncated }
        labels.append(length)
        for offset in 1...Int(length) {
          labels.append(Self.lowercased(message.byte(at: position + offset) ?? 0))
        }
        position += 1 + Int(length)
      case 3:
        guard let low = message.byte(at: position + 1) else { throw .truncated }
        let target = Int(length & 0x3f) << 8 | Int(low)
        pointerCount += 1
        guard target >= DNSMessage.headerByteCount, target < earliest, pointerCount <= Self.pointersMax else {
          throw .invalid("name pointer")
        }
        end = end ?? position + 2
        earliest = target
        position = target
      default:
        throw .invalid("label type")
      }
    }
    try reader.skip((end ?? position + 1) - reader.offset)
    self.labels = labels
  }

  /// How many bytes ``write(into:)`` appends.
  var byteCount: Int { labels.count + 1 }

  /// Appends the name, not compressed.
  func write(into bytes: inout ByteWriter) {
    bytes.write(labels)
    bytes.write(0 as UInt8)
  }

  /// Whether this is a name that a browser makes up to hide an address: one label before `local`
  /// (draft-ietf-mmusic-mdns-ice-candidates §3.1.1).
  var isCandidateName: Bool {
    guard let first = labels.first else { return false }
    return Array(labels.dropFirst(1 + Int(first))) == [5] + Array("local".utf8)
  }

  private static func isHostNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x5f: true
    default: false
    }
  }

  private static func lowercased(_ byte: UInt8) -> UInt8 {
    (0x41...0x5a).contains(byte) ? byte | 0x20 : byte
  }
}

extension DNSName: CustomStringConvertible {
  /// The labels with dots between them; bytes that no host name has appear as `?`, so that a log cannot be
  /// forged.
  public var description: String {
    var text = ""
    var rest = labels[...]
    while let length = rest.popFirst() {
      if !text.isEmpty { text += "." }
      for byte in rest.prefix(Int(length)) {
        text.unicodeScalars.append(Self.isHostNameByte(byte) ? Unicode.Scalar(byte) : "?")
      }
      rest = rest.dropFirst(Int(length))
    }
    return text
  }
}
