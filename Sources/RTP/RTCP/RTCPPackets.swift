// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// One packet of an RTCP compound.
public enum RTCPPacket: Hashable, Sendable {
  /// RFC 3550 §6.4.1.
  case senderReport(SenderReport)
  /// RFC 3550 §6.4.2.
  case receiverReport(ReceiverReport)
  /// RFC 3550 §6.5.
  case sourceDescription(SourceDescription)
  /// RFC 3550 §6.6.
  case goodbye(Goodbye)
  /// RFC 4585 §6.2.1.
  case nack(GenericNACK)
  /// RFC 4585 §6.3.1.
  case pictureLossIndication(PictureLossIndication)
  /// RFC 5104 §4.3.1.
  case fullIntraRequest(FullIntraRequest)
  /// The receiver's bandwidth estimate.
  case remb(ReceiverEstimatedMaximumBitrate)
  /// Transport-wide congestion control feedback: not read, its bytes (without the RTCP header) lie there in the
  /// compound.
  case transportFeedback(body: Range<Int>)
  /// A packet that we do not know or have no use for: application-defined, extended report, other feedback.
  case unknown(packetType: UInt8, format: UInt8)
  /// A packet of a known type that contradicts itself; the packets around it count.
  case malformed(packetType: UInt8, ParseError)
}

/// The packets of a decrypted RTCP datagram, one after the other (RFC 3550 §6.1, RFC 5506).
///
/// The lengths of all packets are checked before the first is handed out. An unknown or malformed packet is
/// reported and does not end the compound; compounds that begin with feedback (reduced-size) are taken.
public struct RTCPPackets: ~Escapable {
  private var reader: ByteReader

  /// Checks versions and lengths of the whole compound.
  ///
  /// - Throws: `ParseError.truncated` where a length leads past the end or nothing is there; `.invalid` for
  ///   another version than 2, padding in front of the last packet or of a wrong size, or more than 1,500 bytes.
  @_lifetime(copy compound)
  public init(parsing compound: RawSpan) throws(ParseError) {
    guard compound.byteCount <= RTCPLimits.compoundByteCountMax else { throw .invalid("RTCP length") }
    reader = ByteReader(compound)
    var probe = ByteReader(compound)
    repeat {
      let header = try RTCPHeader(parsing: &probe)
      try probe.skip(header.bodyByteCount)
      if header.hasPadding {
        // RFC 3550 §6.4.1: only the last packet of a compound may be padded.
        let padding = Int(compound.byte(at: probe.offset - 1) ?? 0)
        guard probe.isAtEnd, padding > 0, padding % 4 == 0, padding <= header.bodyByteCount else {
          throw .invalid("RTCP padding")
        }
      }
    } while !probe.isAtEnd
  }

  /// The next packet, or `nil` after the last.
  @_lifetime(self: copy self)
  public mutating func next() -> RTCPPacket? {
    guard !reader.isAtEnd else { return nil }
    do throws(ParseError) {
      let header = try RTCPHeader(parsing: &reader)
      let start = reader.offset
      try reader.skip(header.bodyByteCount)
      let padding = header.hasPadding ? Int(reader.bytes.byte(at: reader.offset - 1) ?? 0) : 0
      return Self.parse(header, body: start..<(reader.offset - padding), of: reader.bytes)
    } catch {
      // The lengths were checked: not reached, and harmless if it were.
      _ = reader.readRest()
      return .malformed(packetType: 0, error)
    }
  }

  private static func parse(_ header: RTCPHeader, body: Range<Int>, of compound: RawSpan) -> RTCPPacket {
    var reader = ByteReader(compound.extracting(body))
    do throws(ParseError) {
      switch header.packetType {
      case RTCPPacketType.senderReport:
        return .senderReport(try SenderReport(count: header.count, parsing: &reader))
      case RTCPPacketType.receiverReport:
        return .receiverReport(try ReceiverReport(count: header.count, parsing: &reader))
      case RTCPPacketType.sourceDescription:
        return .sourceDescription(try SourceDescription(count: header.count, parsing: &reader))
      case RTCPPacketType.goodbye:
        return .goodbye(try Goodbye(count: header.count, parsing: &reader))
      case RTCPPacketType.transportFeedback where header.count == 1:
        return .nack(try GenericNACK(parsing: &reader))
      case RTCPPacketType.transportFeedback where header.count == 15:
        return .transportFeedback(body: body)
      case RTCPPacketType.payloadFeedback:
        return try parsePayloadFeedback(format: header.count, &reader)
      default:
        return .unknown(packetType: header.packetType, format: header.count)
      }
    } catch {
      return .malformed(packetType: header.packetType, error)
    }
  }

  private static func parsePayloadFeedback(
    format: UInt8, _ reader: inout ByteReader
  ) throws(ParseError) -> RTCPPacket {
    switch Int(format) {
    case PictureLossIndication.format:
      return .pictureLossIndication(try PictureLossIndication(parsing: &reader))
    case FullIntraRequest.format:
      return .fullIntraRequest(try FullIntraRequest(parsing: &reader))
    case ReceiverEstimatedMaximumBitrate.format:
      return .remb(try ReceiverEstimatedMaximumBitrate(parsing: &reader))
    default:
      return .unknown(packetType: RTCPPacketType.payloadFeedback, format: format)
    }
  }
}

extension RTCPPackets {
  /// All packets of a compound as an array, for tests and tools.
  public static func all(in compound: RawSpan) throws(ParseError) -> [RTCPPacket] {
    var packets = try RTCPPackets(parsing: compound)
    var list: [RTCPPacket] = []
    while let packet = packets.next() { list.append(packet) }
    return list
  }
}
