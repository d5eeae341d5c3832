// SPDX-License-Identifier: Apache-2.0

import RTP
import SDP
import SRTP
import SansIO

/// One outgoing RTP stream with its retransmissions: a queue of shared frames, sequence numbers of its own, a
/// history for NACKs and the counters of its sender reports.
///
/// A frame is never copied: what is per peer (header, keys, sequence number) is made while the packet is written
/// into the caller's memory.
struct SendStream {
  /// Frames that wait for the pacer at most; beyond it the oldest are dropped up to the next key frame.
  static let queuedFramesMax = 128
  /// Retransmissions that wait at most; a NACK beyond it is not answered.
  static let queuedRetransmissionsMax = 256

  /// Packets kept for retransmission: 3 s at 3.2 Mbit/s.
  static let historyPacketsMax = 1024

  let transceiver: TransceiverID
  let kind: MediaKind
  let ssrc: SSRC
  let rtxSSRC: SSRC
  private(set) var codec: NegotiatedCodec
  let mid: String
  /// Whether the last descriptions let us send.
  private(set) var isActive = true
  /// The identification extension, sent until the peer has reported on the SSRC (RFC 9143 §15).
  private let identification: RTPHeaderExtensions
  private(set) var isKnownToPeer = false

  private var nextIndex: Int64
  private var nextRTXIndex: Int64
  private let timestampOffset: UInt32

  private var queue = BoundedQueue<PacketizedFrame>(capacity: queuedFramesMax)
  private var nextPacket = 0
  private var needsKeyFrame = false
  private var retransmissions: BoundedQueue<RetransmissionHistory.Packet>
  private var history: RetransmissionHistory

  var counters = SendStreamCounters()
  /// The last frame whose first packet left: where the sender report's clock mapping comes from.
  private(set) var lastCapture: (time: Instant, timestamp: UInt32)?
  /// What the peer reported last.
  private(set) var remoteReport: RemoteReport?
  /// When the peer's wish for a key frame was passed on last.
  var lastKeyFrameRequest: Instant?

  init(
    transceiver: TransceiverID, kind: MediaKind, ssrc: SSRC, rtxSSRC: SSRC, codec: NegotiatedCodec,
    mid: String, midExtensionID: UInt8?, random: inout RandomSource
  ) {
    self.transceiver = transceiver
    self.kind = kind
    self.ssrc = ssrc
    self.rtxSSRC = rtxSSRC
    self.codec = codec
    self.mid = mid
    if let midExtensionID, (1...14).contains(midExtensionID), (1...16).contains(mid.utf8.count) {
      identification = RTPHeaderExtensions([.init(id: midExtensionID, text: mid)])
    } else {
      identification = .none
    }
    // Below 2^15, so that the first wrap is far off and an early loss cannot confuse the peer's roll-over count.
    nextIndex = Int64(random.next() & 0x7fff)
    nextRTXIndex = Int64(random.next() & 0x7fff)
    timestampOffset = UInt32(truncatingIfNeeded: random.next())
    let isRepairable = codec.rtxPayloadType != nil
    retransmissions = BoundedQueue(capacity: isRepairable ? Self.queuedRetransmissionsMax : 1)
    history = RetransmissionHistory(capacity: isRepairable ? Self.historyPacketsMax : 1)
  }

  var hasMedia: Bool { !queue.isEmpty }
  var hasRetransmissions: Bool { !retransmissions.isEmpty }

  // MARK: Application

  /// Follows another exchange of descriptions. Sequence numbers go on.
  mutating func update(codec: NegotiatedCodec, isActive: Bool) {
    guard isActive else { return deactivate() }
    self.isActive = true
    // Another codec would need another transceiver's frames; another number of the same one does not.
    if codec.codec.mimeType == self.codec.codec.mimeType { self.codec = codec }
  }

  /// Sends nothing more until it is made active again, then from a key frame on.
  mutating func deactivate() {
    guard isActive else { return }
    isActive = false
    dropQueueToKeyFrame()
    retransmissions.removeAll()
  }

  /// Throws away what waits; sending goes on from the next key frame.
  mutating func startOver() {
    dropQueueToKeyFrame()
    retransmissions.removeAll()
  }

  mutating func enqueue(_ frame: PacketizedFrame) {
    guard isActive else { return }
    if queue.isFull { dropQueueToKeyFrame() }
    if needsKeyFrame, kind == .video {
      guard frame.isKeyFrame else {
        counters.framesDropped += 1
        return
      }
      needsKeyFrame = false
    }
    if !queue.append(frame) { counters.framesDropped += 1 }
  }

  /// Video that could not leave in time is worth nothing without what it refers to: start over at a key frame.
  private mutating func dropQueueToKeyFrame() {
    counters.framesDropped += UInt64(queue.count)
    queue.removeAll()
    nextPacket = 0
    needsKeyFrame = true
  }

  // MARK: Transmission

  /// Writes a retransmission if one waits, otherwise a burst of media.
  mutating func write(
    packetsMax: Int, with protector: inout SRTPProtector, into out: inout OutputRawSpan, at now: Instant
  ) -> (segmentByteCount: Int, segmentCount: Int)? {
    if let byteCount = writeRetransmission(with: &protector, into: &out, at: now) { return (byteCount, 1) }
    return writeMedia(packetsMax: packetsMax, with: &protector, into: &out, at: now)
  }

  /// Writes packets of one size side by side, at most `packetsMax`; the last may be shorter.
  ///
  /// - Returns: the size of the first packet and the number of packets; `nil` when nothing was written.
  private mutating func writeMedia(
    packetsMax: Int, with protector: inout SRTPProtector, into out: inout OutputRawSpan, at now: Instant
  ) -> (segmentByteCount: Int, segmentCount: Int)? {
    var segmentByteCount = 0
    var segmentCount = 0
    while segmentCount < packetsMax, let frame = queue.first {
      let range = frame.packets[nextPacket]
      let byteCount = 12 + extensions.bytes.count + range.count + protector.profile.rtpOverheadByteCount
      guard out.freeCapacity >= byteCount, segmentCount == 0 || byteCount <= segmentByteCount else { break }
      let isWritten = writePacket(of: frame, range: range, with: &protector, into: &out, at: now)
      advance(in: frame)
      guard isWritten else { continue }
      if segmentCount == 0 { segmentByteCount = byteCount }
      segmentCount += 1
      if byteCount < segmentByteCount { break }
    }
    return segmentCount == 0 ? nil : (segmentByteCount, segmentCount)
  }

  private var extensions: RTPHeaderExtensions { isKnownToPeer ? .none : identification }

  private mutating func writePacket(
    of frame: PacketizedFrame, range: Range<Int>, with protector: inout SRTPProtector,
    into out: inout OutputRawSpan, at now: Instant
  ) -> Bool {
    let index = nextIndex
    nextIndex += 1
    let timestamp = frame.timestamp &+ timestampOffset
    let header = OutgoingHeader(
      RTPHeader(
        marker: frame.hasMarker(at: nextPacket), payloadType: codec.payloadType,
        sequenceNumber: SequenceNumber(rawValue: UInt16(truncatingIfNeeded: index)), timestamp: timestamp,
        ssrc: ssrc),
      extensions: extensions)
    do throws(SRTPError) {
      let bytes = frame.bytes
      try protector.protectRTP(
        header: header.bytes, prefix: bytes.rawSpan.extracting(first: 0),
        payload: bytes.rawSpan.extracting(range), packetIndex: index, into: &out)
    } catch {
      counters.packetsFailed += 1
      return false
    }
    if nextPacket == 0 { lastCapture = (frame.captureTime, timestamp) }
    if codec.rtxPayloadType != nil {
      history.record(
        sequence: index, frame: frame, packetIndex: nextPacket, timestamp: timestamp,
        marker: frame.hasMarker(at: nextPacket), at: now)
    }
    counters.packetsSent += 1
    counters.bytesSent += UInt64(range.count)
    counters.headerBytesSent += UInt64(header.byteCount)
    return true
  }

  private mutating func advance(in frame: PacketizedFrame) {
    nextPacket += 1
    guard nextPacket == frame.packets.count else { return }
    nextPacket = 0
    _ = queue.popFirst()
    counters.framesSent += 1
    if frame.isKeyFrame { counters.keyFramesSent += 1 }
  }

  /// Writes one retransmission: RTX where it was negotiated (RFC 4588 §4), nothing otherwise, because the same
  /// SRTP index must not be encrypted twice.
  private mutating func writeRetransmission(
    with protector: inout SRTPProtector, into out: inout OutputRawSpan, at now: Instant
  ) -> Int? {
    while let stored = retransmissions.popFirst() {
      guard let rtxPayloadType = codec.rtxPayloadType else { continue }
      let range = stored.frame.packets[stored.packetIndex]
      let byteCount = 12 + 2 + range.count + protector.profile.rtpOverheadByteCount
      guard out.freeCapacity >= byteCount else { return nil }
      let rtxIndex = nextRTXIndex
      nextRTXIndex += 1
      let header = OutgoingHeader(
        RTPHeader(
          marker: stored.marker, payloadType: rtxPayloadType,
          sequenceNumber: SequenceNumber(rawValue: UInt16(truncatingIfNeeded: rtxIndex)),
          timestamp: stored.timestamp, ssrc: rtxSSRC))
      let original: InlineArray<2, UInt8> = [
        UInt8(truncatingIfNeeded: stored.sequence >> 8), UInt8(truncatingIfNeeded: stored.sequence),
      ]
      do throws(SRTPError) {
        let bytes = stored.frame.bytes
        try protector.protectRTP(
          header: header.bytes, prefix: unsafe original.span.bytes, payload: bytes.rawSpan.extracting(range),
          packetIndex: rtxIndex, into: &out)
      } catch {
        counters.packetsFailed += 1
        continue
      }
      counters.retransmittedPacketsSent += 1
      counters.retransmittedBytesSent += UInt64(range.count)
      return byteCount
    }
    return nil
  }

  // MARK: Feedback

  /// Queues what a NACK asks for, each packet at most once in a round trip (threat T20).
  mutating func receive(nack: GenericNACK, roundTripTime: TimeDelta, at now: Instant) {
    counters.nacksReceived += 1
    guard isActive, codec.rtxPayloadType != nil else { return }
    for number in nack.missing {
      guard let packet = history.packetToResend(number, roundTripTime: roundTripTime, at: now) else {
        continue
      }
      guard retransmissions.append(packet) else { return }
    }
  }

  /// Takes a report block about this stream (RFC 3550 §6.4.1): the peer knows the SSRC from here on.
  mutating func receive(report: RemoteReport) {
    isKnownToPeer = true
    remoteReport = report
  }

  // MARK: Reports

  /// The RTP timestamp that belongs to `now`, by the clock of the last frame that left.
  func timestamp(at now: Instant) -> UInt32? {
    guard let lastCapture else { return nil }
    let units = RTPTimestamp.units(in: now - lastCapture.time, clockRateHertz: codec.codec.clockRateHertz)
    return lastCapture.timestamp &+ UInt32(truncatingIfNeeded: units)
  }
}

/// What a stream has sent, in packets and payload bytes (W3C webrtc-stats §8.7).
struct SendStreamCounters: Sendable {
  var packetsSent: UInt64 = 0
  var bytesSent: UInt64 = 0
  var headerBytesSent: UInt64 = 0
  var framesSent: UInt64 = 0
  var keyFramesSent: UInt64 = 0
  var framesDropped: UInt64 = 0
  var packetsFailed: UInt64 = 0
  var retransmittedPacketsSent: UInt64 = 0
  var retransmittedBytesSent: UInt64 = 0
  var nacksReceived: UInt64 = 0
  var plisReceived: UInt64 = 0
  var firsReceived: UInt64 = 0
}

/// The last report block about a stream, with the round trip that it gave.
struct RemoteReport: Sendable {
  var fractionLost: Double
  var packetsLost: Int64
  var jitterSeconds: Double
  var roundTripTime: TimeDelta?
  var roundTripTimeMeasurements: UInt64
}
