// SPDX-License-Identifier: Apache-2.0

internal import Crypto
internal import SansIO

/// What we would have to remember of an INIT, handed to the peer instead (RFC 9260 §5.1.3).
///
/// Until the peer brings the cookie back in its COOKIE ECHO nothing is stored here, so a flood of INITs costs
/// no memory. The cookie carries an HMAC-SHA256 under a key of this association: the peer can neither make
/// nor change one.
struct StateCookie: Equatable {
  private static let contentByteCount = 48
  private static let codeByteCount = 32
  /// The length of each cookie that we make.
  static let byteCount = contentByteCount + codeByteCount

  /// When the INIT came, on our clock.
  var createdAt: Instant
  /// The tag and the first TSN that our INIT ACK named.
  var localTag: UInt32
  var localInitialTSN: UInt32
  /// What the peer's INIT said.
  var peerTag: UInt32
  var peerInitialTSN: UInt32
  var peerWindow: UInt32
  /// Streams each way, by both sides' limits.
  var outboundStreamCount: UInt16
  var inboundStreamCount: UInt16
  var capabilities: Capabilities
  /// The tags of the association that stood when the INIT came, or 0 (§5.2.2).
  var localTieTag: UInt32
  var peerTieTag: UInt32

  /// The cookie with its authentication code.
  func sealed(with key: Secret<[UInt8]>) -> [UInt8] {
    let content = [UInt8](writing: Self.contentByteCount) { writer in
      writer.write(UInt64(bitPattern: createdAt.nanoseconds))
      writer.write(localTag)
      writer.write(localInitialTSN)
      writer.write(peerTag)
      writer.write(peerInitialTSN)
      writer.write(peerWindow)
      writer.write(outboundStreamCount)
      writer.write(inboundStreamCount)
      writer.write(UInt32(capabilities.rawValue))
      writer.write(localTieTag)
      writer.write(peerTieTag)
      writer.write(0 as UInt32)
    }
    return content + Self.code(of: content.rawSpan, key: key)
  }

  /// Opens a cookie; throws unless we made it with this key.
  init(opening cookie: RawSpan, with key: Secret<[UInt8]>) throws(ParseError) {
    guard cookie.byteCount == Self.byteCount else { throw .invalid("cookie length") }
    let content = cookie.extracting(0..<Self.contentByteCount)
    let code = Self.code(of: content, key: key)
    guard code.rawSpan.isEqualInConstantTime(to: cookie.extracting(Self.contentByteCount..<Self.byteCount))
    else { throw .invalid("cookie code") }
    var reader = ByteReader(content)
    createdAt = Instant(nanoseconds: Int64(bitPattern: try reader.readUInt64()))
    localTag = try reader.readUInt32()
    localInitialTSN = try reader.readUInt32()
    peerTag = try reader.readUInt32()
    peerInitialTSN = try reader.readUInt32()
    peerWindow = try reader.readUInt32()
    outboundStreamCount = try reader.readUInt16()
    inboundStreamCount = try reader.readUInt16()
    capabilities = Capabilities(rawValue: UInt8(truncatingIfNeeded: try reader.readUInt32()))
    localTieTag = try reader.readUInt32()
    peerTieTag = try reader.readUInt32()
  }

  init(
    createdAt: Instant, localTag: UInt32, localInitialTSN: UInt32, peer: InitChunk,
    outboundStreamCount: UInt16, inboundStreamCount: UInt16, capabilities: Capabilities,
    localTieTag: UInt32, peerTieTag: UInt32
  ) {
    self.createdAt = createdAt
    self.localTag = localTag
    self.localInitialTSN = localInitialTSN
    peerTag = peer.initiateTag
    peerInitialTSN = peer.initialTSN
    peerWindow = peer.window
    self.outboundStreamCount = outboundStreamCount
    self.inboundStreamCount = inboundStreamCount
    self.capabilities = capabilities
    self.localTieTag = localTieTag
    self.peerTieTag = peerTieTag
  }

  private static func code(of content: RawSpan, key: Secret<[UInt8]>) -> [UInt8] {
    Array(
      HMAC<SHA256>.authenticationCode(
        for: [UInt8](copying: content), using: SymmetricKey(data: key.unredacted)))
  }
}
