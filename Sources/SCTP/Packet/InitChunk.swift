// SPDX-License-Identifier: Apache-2.0

internal import SansIO

/// What one side can do beyond RFC 9260, as its INIT or INIT ACK says.
struct Capabilities: OptionSet, Hashable {
  let rawValue: UInt8
  /// FORWARD-TSN, RFC 3758.
  static let partialReliability = Capabilities(rawValue: 1)
  /// RE-CONFIG, RFC 6525.
  static let reconfiguration = Capabilities(rawValue: 2)
  /// I-DATA, RFC 8260.
  static let interleaving = Capabilities(rawValue: 4)
  /// Packets without a checksum are welcome, because DTLS protects them (RFC 9653).
  static let zeroChecksum = Capabilities(rawValue: 8)
}

/// INIT and INIT ACK (RFC 9260 §3.3.2, §3.3.3): same layout, but that an INIT ACK holds a state cookie.
///
/// ```
/// +---------------------------------------------------------------+
/// |                         initiate tag                          |
/// +---------------------------------------------------------------+
/// |             advertised receiver window credit                 |
/// +-------------------------------+-------------------------------+
/// |   number of outbound streams  |    number of inbound streams  |
/// +-------------------------------+-------------------------------+
/// |                          initial TSN                          |
/// +---------------------------------------------------------------+
/// |                          parameters                           |
/// ```
struct InitChunk: Hashable {
  /// Limits what a peer's unknown parameters may make us repeat.
  static let reportedByteCountMax = 256
  /// A cookie has to fit a packet beside a header.
  static let cookieByteCountMax = 1024
  /// RFC 9653 §4: the error detection method "SCTP over DTLS".
  private static let dtlsDetectionMethod: UInt32 = 1

  /// The tag that packets to this side carry; never 0.
  var initiateTag: UInt32
  /// Bytes that this side is ready to buffer.
  var window: UInt32
  var outboundStreamCount: UInt16
  var inboundStreamCount: UInt16
  var initialTSN: UInt32
  var capabilities: Capabilities = []
  /// The state cookie of an INIT ACK.
  var cookie: [UInt8] = []
  /// Parameters that the parser did not know and has to report, whole and padded.
  var unrecognized: [UInt8] = []

  init(
    initiateTag: UInt32, window: UInt32, outboundStreamCount: UInt16, inboundStreamCount: UInt16,
    initialTSN: UInt32, capabilities: Capabilities
  ) {
    self.initiateTag = initiateTag
    self.window = window
    self.outboundStreamCount = outboundStreamCount
    self.inboundStreamCount = inboundStreamCount
    self.initialTSN = initialTSN
    self.capabilities = capabilities
  }

  /// Whether data could flow: there are streams, and room for a packet (§3.3.2, §3.3.3).
  var isUsable: Bool {
    outboundStreamCount > 0 && inboundStreamCount > 0 && window >= UInt32(SCTPLimits.peerWindowMin)
  }

  /// Reads a chunk's value.
  init(parsing reader: inout ByteReader) throws(ParseError) {
    initiateTag = try reader.readUInt32()
    window = try reader.readUInt32()
    outboundStreamCount = try reader.readUInt16()
    inboundStreamCount = try reader.readUInt16()
    initialTSN = try reader.readUInt32()
    while reader.remaining >= Parameter.headerByteCount {
      let parameter = try Parameter(parsing: &reader)
      guard try take(parameter) else { return }
    }
  }

  /// Notes a parameter; returns whether to read on.
  private mutating func take(_ parameter: borrowing Parameter) throws(ParseError) -> Bool {
    var reader = ByteReader(parameter.value)
    switch parameter.type {
    case .stateCookie:
      guard reader.remaining <= Self.cookieByteCountMax else { throw .invalid("cookie length") }
      cookie = [UInt8](copying: reader.readRest())
    case .forwardTSNSupported: capabilities.insert(.partialReliability)
    case .zeroChecksumAcceptable:
      if try reader.readUInt32() == Self.dtlsDetectionMethod { capabilities.insert(.zeroChecksum) }
    case .supportedExtensions:
      while !reader.isAtEnd {
        switch ChunkType(rawValue: try reader.readUInt8()) {
        case .forwardTSN: capabilities.insert(.partialReliability)
        case .reconfiguration: capabilities.insert(.reconfiguration)
        case .interleavedData: capabilities.insert(.interleaving)
        default: break
        }
      }
    case .ipv4Address, .ipv6Address, .supportedAddressTypes, .cookiePreservative, .unrecognized: break
    default:
      if parameter.type.isReportedWhenUnknown,
        unrecognized.count + paddedByteCount(parameter.bytes.byteCount) <= Self.reportedByteCountMax
      {
        unrecognized.append(copying: parameter.bytes)
        unrecognized += [UInt8](repeating: 0, count: paddingByteCount(of: parameter.bytes.byteCount))
      }
      return !parameter.type.stopsWhenUnknown
    }
    return true
  }

  /// The whole chunk; `reporting` is what the peer's INIT held and we did not know, for the INIT ACK.
  func array(_ type: ChunkType, reporting: [UInt8] = []) -> [UInt8] {
    var parameters: [UInt8] = []
    if !cookie.isEmpty { parameters += Parameter.array(.stateCookie, value: cookie) }
    if capabilities.contains(.zeroChecksum) {
      let method = Self.dtlsDetectionMethod
      parameters += Parameter.array(.zeroChecksumAcceptable, value: [0, 0, 0, UInt8(method)])
    }
    var extensions: [ChunkType] = []
    if capabilities.contains(.reconfiguration) { extensions.append(.reconfiguration) }
    if capabilities.contains(.partialReliability) {
      parameters += Parameter.array(.forwardTSNSupported)
      extensions.append(.forwardTSN)
    }
    if capabilities.contains(.interleaving) { extensions += [.interleavedData, .interleavedForwardTSN] }
    parameters += Parameter.array(.supportedExtensions, value: extensions.map(\.rawValue))
    if !reporting.isEmpty { parameters += Parameter.array(.unrecognized, value: reporting) }
    let value = [UInt8](writing: 16 + parameters.count) { writer in
      writer.write(initiateTag)
      writer.write(window)
      writer.write(outboundStreamCount)
      writer.write(inboundStreamCount)
      writer.write(initialTSN)
      writer.write(parameters)
    }
    return Chunk.array(type, value: value)
  }
}
