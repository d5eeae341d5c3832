// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Puts H.264 access units together from RTP payloads (RFC 6184, packetization mode 1: single units, STAP-A,
/// FU-A).
///
/// Payloads come in the order of their sequence numbers, gaps included. A frame of which a packet is missing or
/// malformed is dropped, and so is every frame after it up to the next key frame, because its references are
/// gone; ``needsKeyFrame`` tells that one should be asked for. A frame holds at most 8 MB.
public struct H264Depacketizer: Sendable {
  /// Why payloads or frames were dropped.
  public enum DropCause: Int, CaseIterable, Sendable {
    /// A payload that contradicts itself: sizes beyond its end, a unit type that may not stand there.
    case malformedPayload
    /// A part of a unit whose beginning is not there.
    case fragmentWithoutStart
    /// A payload older than one that was pushed already.
    case outOfOrder
    /// A frame with missing or malformed packets.
    case damagedFrame
    /// A frame of more than 8 MB.
    case oversizedFrame
    /// A whole frame that refers to one that was lost, or that stands before the first key frame.
    case undecodableFrame
  }

  /// Bytes of an access unit at most: four times the largest picture of level 5.1 streams at 40 Mbit/s.
  public static let frameByteCountMax = 8_000_000

  private struct Assembly: Sendable {
    var bytes: [UInt8] = []
    var timestamp: UInt32
    var firstSequence: Int64
    var isDamaged = false
    var hasPicture = false
    var hasIDR = false
    /// The type of the unit whose last part has not come yet.
    var openFragment: UInt8?
  }

  /// What was dropped, by cause.
  public private(set) var drops = DropCounters<DropCause>()
  /// Whether frames are withheld until a key frame comes. It becomes true when the first frame is withheld.
  public private(set) var needsKeyFrame = false

  private let deliversUndecodableFrames: Bool
  private var assembly: Assembly?
  private var expectedSequence: Int64?
  private var awaitsKeyFrame = true
  private var hasSequenceParameterSet = false
  private var hasPictureParameterSet = false
  private var lostPacketCount = 0
  /// One payload completes at most two frames: one that ended without a marker, and its own.
  private var ready = BoundedQueue<MediaFrame>(capacity: 4)

  /// Starts before the first packet of a stream.
  ///
  /// - Parameter deliversUndecodableFrames: hands out whole frames also where their references are missing.
  public init(deliversUndecodableFrames: Bool = false) {
    self.deliversUndecodableFrames = deliversUndecodableFrames
  }

  /// The next finished frame.
  public mutating func pollFrame() -> MediaFrame? { ready.popFirst() }

  /// Takes one payload; finished frames are picked up by ``pollFrame()`` after each call.
  ///
  /// - Parameters:
  ///   - payload: without header and padding; an empty one only takes its place in the sequence.
  ///   - marker: whether the packet is the last of its frame.
  ///   - timestamp: the same for all packets of a frame.
  ///   - sequence: the extended sequence number; a gap means that the packets between are lost for good.
  ///   - now: when the packet arrived.
  /// - Throws: `ParseError` for a malformed payload; it is counted, its frame will be dropped.
  public mutating func push(
    payload: RawSpan, marker: Bool, timestamp: UInt32, sequence: Int64, at now: Instant
  ) throws(ParseError) {
    let lost = sequence - (expectedSequence ?? sequence)
    guard lost >= 0 else {
      drops[.outOfOrder] += 1
      return
    }
    let isAfterGap = lost > 0 || expectedSequence == nil
    expectedSequence = sequence + 1
    if lost > 0 { noteLoss(of: lost) }
    guard !payload.isEmpty else { return }
    if let open = assembly, open.timestamp != timestamp { finish(at: now) }
    if assembly == nil {
      assembly = Assembly(timestamp: timestamp, firstSequence: sequence)
      assembly?.isDamaged = isAfterGap && !Self.beginsPicture(payload)
    }
    assembly?.timestamp = timestamp
    defer { if marker { finish(at: now) } }
    do throws(ParseError) {
      try append(payload)
    } catch {
      drops[.malformedPayload] += 1
      assembly?.isDamaged = true
      throw error
    }
  }

  /// Packets are missing: what was begun stays incomplete, and what follows refers to what is lost.
  private mutating func noteLoss(of count: Int64) {
    lostPacketCount += Int(clamping: count)
    awaitsKeyFrame = true
    assembly?.isDamaged = true
  }

  /// Whether a payload can be the first of a frame: after a gap only such a frame may be whole.
  private static func beginsPicture(_ payload: RawSpan) -> Bool {
    switch H264NALUnit.type(of: payload) {
    case .fuA:
      guard let header = payload.byte(at: 1), header & 0x80 != 0, let first = payload.byte(at: 2) else {
        return false
      }
      let type = H264NALUnitType(header: header)
      return !type.isPictureContent || first & 0x80 != 0
    case .stapA:
      guard payload.byteCount > 4 else { return false }
      let unit = payload.extracting(3..<payload.byteCount)
      return !H264NALUnit.type(of: unit).isPictureContent || H264NALUnit.isFirstSlice(unit)
    case let type:
      return !type.isPictureContent || H264NALUnit.isFirstSlice(payload)
    }
  }

  private mutating func append(_ payload: RawSpan) throws(ParseError) {
    let type = H264NALUnit.type(of: payload)
    switch type {
    case .fuA: try appendFragment(payload)
    case .stapA:
      var reader = ByteReader(payload)
      try reader.skip(1)
      while !reader.isAtEnd {
        let count = Int(try reader.readUInt16())
        let unit = try reader.readBytes(count)
        guard H264NALUnit.type(of: unit).isCodedUnit else { throw .invalid("STAP-A unit") }
        try begin(H264NALUnit.type(of: unit))
        appendBytes(unit)
      }
    default:
      guard type.isCodedUnit else { throw .invalid("H.264 payload type") }
      try begin(type)
      appendBytes(payload)
    }
  }

  /// RFC 6184 §5.8.
  private mutating func appendFragment(_ payload: RawSpan) throws(ParseError) {
    var reader = ByteReader(payload)
    let indicator = try reader.readUInt8()
    let header = try reader.readUInt8()
    let isStart = header & 0x80 != 0
    let isEnd = header & 0x40 != 0
    let type = H264NALUnitType(header: header)
    guard type.isCodedUnit, !(isStart && isEnd), !reader.isAtEnd else { throw .invalid("FU-A header") }
    if isStart {
      try begin(type)
      assembly?.bytes.append(indicator & 0xe0 | type.rawValue)
      assembly?.openFragment = type.rawValue
    } else if assembly?.openFragment != type.rawValue {
      drops[.fragmentWithoutStart] += 1
      assembly?.isDamaged = true
      return
    }
    appendBytes(reader.readRest())
    if isEnd { assembly?.openFragment = nil }
  }

  /// Writes the start code of a unit and takes note of its type.
  private mutating func begin(_ type: H264NALUnitType) throws(ParseError) {
    guard assembly?.openFragment == nil else {
      assembly?.openFragment = nil
      throw .invalid("FU-A without end")
    }
    assembly?.bytes += AnnexB.startCode
    if type.isPictureContent { assembly?.hasPicture = true }
    switch type {
    case .idrSlice: assembly?.hasIDR = true
    case .sequenceParameterSet: hasSequenceParameterSet = true
    case .pictureParameterSet: hasPictureParameterSet = true
    default: break
    }
  }

  private mutating func appendBytes(_ bytes: RawSpan) {
    guard let count = assembly?.bytes.count, assembly?.isDamaged == false else { return }
    guard count + bytes.byteCount <= Self.frameByteCountMax else {
      drops[.oversizedFrame] += 1
      assembly?.isDamaged = true
      assembly?.bytes = []
      return
    }
    assembly?.bytes += [UInt8](copying: bytes)
  }

  /// Hands out or drops what was put together.
  private mutating func finish(at now: Instant) {
    guard let done = assembly else { return }
    assembly = nil
    guard !done.isDamaged, done.openFragment == nil else {
      drops[.damagedFrame] += 1
      awaitsKeyFrame = true
      needsKeyFrame = true
      return
    }
    guard done.hasPicture else {
      // Parameter sets under a marker or timestamp of their own belong to the picture that follows.
      assembly = done
      return
    }
    let isKeyFrame = done.hasIDR && hasSequenceParameterSet && hasPictureParameterSet
    if isKeyFrame {
      awaitsKeyFrame = false
      needsKeyFrame = false
    }
    guard !awaitsKeyFrame || deliversUndecodableFrames else {
      drops[.undecodableFrame] += 1
      needsKeyFrame = true
      return
    }
    let frame = MediaFrame(
      bytes: done.bytes, timestamp: done.timestamp, isKeyFrame: isKeyFrame, receivedAt: now,
      firstSequence: done.firstSequence, lostPacketCount: lostPacketCount)
    lostPacketCount = 0
    if ready.isFull { _ = ready.popFirst() }
    _ = ready.append(frame)
  }
}
