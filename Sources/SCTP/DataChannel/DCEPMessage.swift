// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// The two messages by which a data channel is opened in-band (RFC 8832 §5).
///
/// ```
/// DATA_CHANNEL_OPEN
/// +---------------+---------------+-------------------------------+
/// |   type = 3    | channel type  |           priority            |
/// +---------------+---------------+-------------------------------+
/// |          reliability parameter (count or milliseconds)        |
/// +-------------------------------+-------------------------------+
/// |         label length          |        protocol length        |
/// +-------------------------------+-------------------------------+
/// |                      label, then protocol                     |
/// ```
enum DCEPMessage: Hashable {
  case open(DataChannelParameters)
  case ack

  /// Bytes before the label.
  private static let openByteCountMin = 12

  init(parsing reader: inout ByteReader) throws(ParseError) {
    switch try reader.readUInt8() {
    case 2: self = .ack
    case 3: self = .open(try Self.parseOpen(&reader))
    default: throw .invalid("DCEP message type")
    }
  }

  private static func parseOpen(_ reader: inout ByteReader) throws(ParseError) -> DataChannelParameters {
    let type = try reader.readUInt8()
    let priority = try reader.readUInt16()
    let value = try reader.readUInt32()
    let labelLength = Int(try reader.readUInt16())
    let protocolLength = Int(try reader.readUInt16())
    let label = try text(try reader.readArray(labelLength))
    let subprotocol = try text(try reader.readArray(protocolLength))
    guard reader.isAtEnd else { throw .invalid("DCEP length") }
    let reliability: DataChannelParameters.Reliability
    switch type & 0x7f {
    case 0: reliability = .reliable
    // Counts beyond 65,535 cannot be told from endless ones in practice; W3C has 16 bits for both.
    case 1: reliability = .retransmissions(UInt16(clamping: value))
    case 2: reliability = .lifetime(milliseconds: UInt16(clamping: value))
    default: throw .invalid("DCEP channel type")
    }
    return DataChannelParameters(
      label: label, subprotocol: subprotocol, isOrdered: type & 0x80 == 0, reliability: reliability,
      priority: DataChannelParameters.Priority(wire: priority))
  }

  private static func text(_ bytes: [UInt8]) throws(ParseError) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else { throw .invalid("DCEP text") }
    return text
  }

  /// The message on the wire. Label and protocol have at most 65,535 bytes each.
  func array() -> [UInt8] {
    guard case .open(let parameters) = self else { return [2] }
    let (label, subprotocol) = (Array(parameters.label.utf8), Array(parameters.subprotocol.utf8))
    var type: UInt8 = parameters.isOrdered ? 0 : 0x80
    var value: UInt32 = 0
    switch parameters.reliability {
    case .reliable: break
    case .retransmissions(let count): (type, value) = (type | 1, UInt32(count))
    case .lifetime(let milliseconds): (type, value) = (type | 2, UInt32(milliseconds))
    }
    return [UInt8](writing: Self.openByteCountMin + label.count + subprotocol.count) { writer in
      writer.write(3 as UInt8)
      writer.write(type)
      writer.write(parameters.priority.rawValue)
      writer.write(value)
      writer.write(UInt16(clamping: label.count))
      writer.write(UInt16(clamping: subprotocol.count))
      writer.write(label)
      writer.write(subprotocol)
    }
  }
}
