// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Who stands behind the sources (RFC 3550 §6.5): of all items only the canonical name is kept and written.
public struct SourceDescription: Hashable, Sendable {
  /// One source's description.
  public struct Chunk: Hashable, Sendable {
    /// The source.
    public var ssrc: SSRC
    /// The canonical name, which all streams of one peer share; `nil` where the chunk has none.
    public var canonicalName: String?

    /// Makes a chunk.
    ///
    /// - Parameter canonicalName: at most 255 bytes of UTF-8.
    public init(ssrc: SSRC, canonicalName: String?) {
      self.ssrc = ssrc
      self.canonicalName = canonicalName
    }

    fileprivate var itemByteCount: Int { canonicalName.map { 2 + $0.utf8.count } ?? 0 }

    /// The list of items ends with one to four zero bytes at a word's boundary.
    fileprivate var byteCount: Int { 4 + (itemByteCount / 4 + 1) * 4 }
  }

  /// The described sources, at most 31.
  public var chunks: [Chunk]

  private static let canonicalNameItem: UInt8 = 1

  /// Makes a description.
  public init(chunks: [Chunk]) { self.chunks = chunks }

  init(count: UInt8, parsing reader: inout ByteReader) throws(ParseError) {
    chunks = []
    for _ in 0..<count {
      var chunk = Chunk(ssrc: SSRC(rawValue: try reader.readUInt32()), canonicalName: nil)
      let start = reader.offset
      while true {
        let item = try reader.readUInt8()
        if item == 0 { break }
        let text = try reader.readArray(Int(try reader.readUInt8()))
        if item == Self.canonicalNameItem { chunk.canonicalName = String(validating: text, as: UTF8.self) }
      }
      // Zeros up to the boundary; a writer that left them out at the very end is forgiven.
      let padding = (4 - (reader.offset - start) % 4) % 4
      try reader.skip(min(padding, reader.remaining))
      chunks.append(chunk)
    }
  }

  /// Bytes on the wire.
  public var byteCount: Int { chunks.reduce(4) { $0 + $1.byteCount } }

  /// Writes the packet. Names beyond 255 bytes are a mistake of ours and trap.
  public func write(into writer: inout ByteWriter) {
    RTCPHeader.write(
      count: chunks.count, packetType: RTCPPacketType.sourceDescription, byteCount: byteCount, into: &writer)
    for chunk in chunks {
      writer.write(chunk.ssrc.rawValue)
      if let name = chunk.canonicalName {
        precondition(name.utf8.count <= RTCPLimits.textByteCountMax, "canonical name too long")
        writer.write(Self.canonicalNameItem)
        writer.write(UInt8(name.utf8.count))
        writer.write(name)
      }
      writer.writeZeros(4 - chunk.itemByteCount % 4)
    }
  }
}

extension SenderReport {
  /// Writes a whole compound: this report and the canonical name of its source (RFC 3550 §6.1).
  ///
  /// - Parameter canonicalName: at most 255 bytes of UTF-8.
  public func writeCompound(canonicalName: String, into writer: inout ByteWriter) {
    write(into: &writer)
    SourceDescription(chunks: [.init(ssrc: ssrc, canonicalName: canonicalName)]).write(into: &writer)
  }
}

extension ReceiverReport {
  /// Writes a whole compound: this report and the canonical name of its source (RFC 3550 §6.1).
  ///
  /// - Parameter canonicalName: at most 255 bytes of UTF-8.
  public func writeCompound(canonicalName: String, into writer: inout ByteWriter) {
    write(into: &writer)
    SourceDescription(chunks: [.init(ssrc: ssrc, canonicalName: canonicalName)]).write(into: &writer)
  }
}

/// Sources that leave (RFC 3550 §6.6).
public struct Goodbye: Hashable, Sendable {
  /// Who leaves, at most 31.
  public var sources: [SSRC]
  /// Why, in the peer's words; `nil` where it says nothing.
  public var reason: String?

  /// Makes a goodbye.
  ///
  /// - Parameter reason: at most 255 bytes of UTF-8.
  public init(sources: [SSRC], reason: String? = nil) {
    self.sources = sources
    self.reason = reason
  }

  init(count: UInt8, parsing reader: inout ByteReader) throws(ParseError) {
    sources = []
    for _ in 0..<count { sources.append(SSRC(rawValue: try reader.readUInt32())) }
    if !reader.isAtEnd {
      let text = try reader.readArray(Int(try reader.readUInt8()))
      reason = String(validating: text, as: UTF8.self)
    }
  }

  private var reasonByteCount: Int { reason.map { 1 + $0.utf8.count } ?? 0 }

  /// Bytes on the wire.
  public var byteCount: Int { 4 + 4 * sources.count + (reasonByteCount + 3) / 4 * 4 }

  /// Writes the packet. A reason beyond 255 bytes is a mistake of ours and traps.
  public func write(into writer: inout ByteWriter) {
    RTCPHeader.write(
      count: sources.count, packetType: RTCPPacketType.goodbye, byteCount: byteCount, into: &writer)
    for source in sources { writer.write(source.rawValue) }
    guard let reason else { return }
    precondition(reason.utf8.count <= RTCPLimits.textByteCountMax, "reason too long")
    writer.write(UInt8(reason.utf8.count))
    writer.write(reason)
    writer.writeZeros((4 - reasonByteCount % 4) % 4)
  }
}
