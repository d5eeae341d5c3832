// SPDX-License-Identifier: Apache-2.0

import RTP
import SDP
import SRTP
import SansIO

/// One incoming RTP stream: its source and retransmissions, what is missing, and the frames that come out.
///
/// The source is known from the description's SSRC lines or from the identification extension of its packets
/// (RFC 9143 §15); a packet that neither names is not ours (threat T18).
struct ReceiveStream {
  /// A key frame is asked for at most once in this time.
  static let keyFrameRequestInterval = TimeDelta.milliseconds(500)
  /// How long after the last packet a missing key frame is still asked for: a stream that is silent has none.
  static let keyFrameNeedLifetime = TimeDelta.seconds(3)

  let transceiver: TransceiverID
  let kind: MediaKind
  let mid: String
  private(set) var codec: NegotiatedCodec
  /// The source that our reports and requests come from.
  let reporterSSRC: SSRC
  private var midExtensionID: UInt8?

  private var ssrc: SSRC?
  private var rtxSSRC: SSRC?
  private var extender = SequenceExtender()
  private var statistics: ReceptionStatistics
  private var nacks = NACKGenerator()
  private var jitterBuffer: JitterBuffer

  private var applicationWantsKeyFrame = false
  private var lastKeyFrameRequest: Instant?
  private var nextFeedback: Instant?
  private var lastArrival: Instant?
  private var counters = Counters()

  private struct Counters {
    var packetsReceived: UInt64 = 0
    var bytesReceived: UInt64 = 0
    var framesReceived: UInt64 = 0
    var keyFramesReceived: UInt64 = 0
    var nacksSent: UInt64 = 0
    var plisSent: UInt64 = 0
    var retransmissionsReceived: UInt64 = 0
  }

  init(
    transceiver: TransceiverID, kind: MediaKind, codec: NegotiatedCodec, reporterSSRC: SSRC,
    negotiated: NegotiatedMedia, midExtensionID: UInt8?
  ) {
    self.transceiver = transceiver
    self.kind = kind
    self.codec = codec
    self.reporterSSRC = reporterSSRC
    self.midExtensionID = midExtensionID
    mid = negotiated.mid
    (ssrc, rtxSSRC) = Self.sources(in: negotiated)
    statistics = ReceptionStatistics(clockRateHertz: codec.codec.clockRateHertz)
    jitterBuffer = JitterBuffer(payload: kind == .audio ? .opus : .h264)
  }

  /// The described source and its retransmissions: the first source that is nobody's retransmission.
  private static func sources(in negotiated: NegotiatedMedia) -> (media: SSRC?, retransmissions: SSRC?) {
    let retransmissions = Set(negotiated.remoteRTXSSRCs.values)
    let signalled = negotiated.remoteSSRCs.first { !retransmissions.contains($0) }
    return (
      signalled.map { SSRC(rawValue: $0) },
      signalled.flatMap { negotiated.remoteRTXSSRCs[$0] }.map { SSRC(rawValue: $0) }
    )
  }

  /// Follows another exchange of descriptions, with the same codec under perhaps another number.
  mutating func update(codec: NegotiatedCodec, negotiated: NegotiatedMedia, midExtensionID: UInt8?) {
    self.codec = codec
    self.midExtensionID = midExtensionID
    let sources = Self.sources(in: negotiated)
    guard let media = sources.media else { return }
    if media != ssrc { follow(media) }
    rtxSSRC = sources.retransmissions
  }

  /// Goes over to another source: its numbers have nothing to do with those of the one before.
  private mutating func follow(_ source: SSRC) {
    if ssrc != nil {
      extender = SequenceExtender()
      statistics = ReceptionStatistics(clockRateHertz: codec.codec.clockRateHertz)
      let roundTripTime = nacks.roundTripTime
      nacks = NACKGenerator()
      jitterBuffer = JitterBuffer(payload: kind == .audio ? .opus : .h264)
      if let roundTripTime { setRoundTripTime(roundTripTime) }
    }
    ssrc = source
  }

  // MARK: Packets

  /// Whether a packet belongs to this stream. One that names our mid makes its source known.
  mutating func claims(_ header: RTPHeader, in packet: RawSpan) -> Bool {
    if header.ssrc == ssrc || header.ssrc == rtxSSRC { return true }
    guard let midExtensionID, header.extensionText(id: midExtensionID, in: packet) == mid else {
      return false
    }
    if header.payloadType == codec.payloadType {
      follow(header.ssrc)
      return true
    }
    guard header.payloadType == codec.rtxPayloadType else { return false }
    rtxSSRC = header.ssrc
    return true
  }

  /// Takes a packet that ``claims(_:in:)`` said yes to.
  ///
  /// - Returns: why it was dropped, if it was.
  mutating func receive(
    _ header: RTPHeader, payload: Range<Int>, in packet: RawSpan, at now: Instant
  ) -> MediaDropCause? {
    if header.payloadType == codec.rtxPayloadType {
      return receiveRetransmission(header, payload: payload, in: packet, at: now)
    }
    guard header.payloadType == codec.payloadType else { return .unknownPayloadType }
    counters.packetsReceived += 1
    _ = statistics.receive(sequenceNumber: header.sequenceNumber, timestamp: header.timestamp, at: now)
    insert(header, payload: packet.extracting(payload), at: now)
    return nil
  }

  private mutating func receiveRetransmission(
    _ header: RTPHeader, payload: Range<Int>, in packet: RawSpan, at now: Instant
  ) -> MediaDropCause? {
    guard let ssrc else { return .unknownStream }
    do throws(ParseError) {
      guard
        let original = try RTXPacket.restore(
          header: header, payload: payload, in: packet, originalPayloadType: codec.payloadType,
          originalSSRC: ssrc)
      else { return nil }
      counters.retransmissionsReceived += 1
      insert(original.header, payload: packet.extracting(original.payload), at: now)
      return nil
    } catch {
      return .malformedRTP
    }
  }

  private mutating func insert(_ header: RTPHeader, payload: RawSpan, at now: Instant) {
    let sequence = extender.extend(header.sequenceNumber)
    lastArrival = now
    counters.bytesReceived += UInt64(payload.byteCount)
    if codec.hasNACK { nacks.receive(sequence: sequence, at: now) }
    jitterBuffer.insert(
      sequence: sequence, timestamp: header.timestamp, marker: header.marker, payload: payload, at: now)
    planFeedback(at: now)
  }

  /// Takes the sender's report for the round trip that ours will give it.
  mutating func receive(_ report: SenderReport, at now: Instant) {
    guard report.ssrc == ssrc else { return }
    statistics.receiveSenderReport(report.ntpTimestamp, at: now)
  }

  // MARK: Frames and time

  mutating func pollFrame() -> MediaFrame? {
    guard let frame = jitterBuffer.pollFrame() else { return nil }
    counters.framesReceived += 1
    if frame.isKeyFrame { counters.keyFramesReceived += 1 }
    return frame
  }

  /// When a gap before frames that wait is given up.
  var frameDeadline: Instant? { jitterBuffer.nextDeadline }

  /// When ``pollFeedback(at:)`` has something to send.
  var feedbackDeadline: Instant? { Instant.earliest(nacks.nextDeadline, nextFeedback) }

  mutating func handleTimeout(at now: Instant) {
    jitterBuffer.handleTimeout(at: now)
    planFeedback(at: now)
  }

  mutating func setRoundTripTime(_ time: TimeDelta) {
    nacks.roundTripTime = time
    jitterBuffer.setRoundTripTime(time)
  }

  // MARK: Feedback

  /// Lets the application ask for a key frame.
  mutating func requestKeyFrame(at now: Instant) {
    applicationWantsKeyFrame = true
    planFeedback(at: now)
  }

  private func wantsKeyFrame(at now: Instant) -> Bool {
    guard kind == .video, !applicationWantsKeyFrame else { return kind == .video }
    guard let lastArrival, now - lastArrival <= Self.keyFrameNeedLifetime else { return false }
    return jitterBuffer.needsKeyFrame || nacks.needsKeyFrame
  }

  private mutating func planFeedback(at now: Instant) {
    // Without a source there is nobody to ask; its first packet will plan again.
    guard ssrc != nil, codec.hasPLI, wantsKeyFrame(at: now) else {
      nextFeedback = nil
      return
    }
    nextFeedback = max(now, lastKeyFrameRequest.map { $0 + Self.keyFrameRequestInterval } ?? now)
  }

  /// The next request to the sender that is due: a key frame, or packets that are missing.
  mutating func pollFeedback(at now: Instant) -> [UInt8]? {
    guard let ssrc else { return nil }
    if let due = nextFeedback, due <= now {
      lastKeyFrameRequest = now
      applicationWantsKeyFrame = false
      nacks.needsKeyFrame = false
      planFeedback(at: now)
      counters.plisSent += 1
      let request = PictureLossIndication(senderSSRC: reporterSSRC, mediaSSRC: ssrc)
      return [UInt8](writing: PictureLossIndication.byteCount) { out in request.write(into: &out) }
    }
    guard nacks.nextDeadline.map({ $0 <= now }) ?? false else { return nil }
    var missing: [SequenceNumber] = []
    nacks.collectRequests(into: &missing, at: now)
    guard !missing.isEmpty else { return nil }
    counters.nacksSent += 1
    let nack = GenericNACK(senderSSRC: reporterSSRC, mediaSSRC: ssrc, missing: missing)
    return [UInt8](writing: nack.byteCount) { out in nack.write(into: &out) }
  }

  /// The block about this stream for the next report; it ends the interval that its loss is counted over.
  mutating func makeReportBlock(at now: Instant) -> ReportBlock? {
    guard let ssrc else { return nil }
    return statistics.makeReportBlock(ssrc: ssrc, at: now)
  }

  // MARK: Statistics

  var inboundStatistics: InboundRTPStreamStatistics? {
    guard let ssrc else { return nil }
    return InboundRTPStreamStatistics(
      kind: kind, mid: mid, ssrc: ssrc.rawValue, mimeType: codec.codec.mimeType,
      packetsReceived: counters.packetsReceived + counters.retransmissionsReceived,
      bytesReceived: counters.bytesReceived,
      packetsLost: max(0, statistics.lostPacketCount - Int64(nacks.recoveredCount)),
      jitter: Double(statistics.jitter) / Double(max(1, codec.codec.clockRateHertz)),
      framesReceived: counters.framesReceived, keyFramesReceived: counters.keyFramesReceived,
      nackCount: counters.nacksSent, pliCount: counters.plisSent,
      retransmittedPacketsReceived: counters.retransmissionsReceived)
  }
}

extension MediaTransport {
  /// Takes one SRTP packet: authenticated and not replayed, it goes to the stream that claims it.
  mutating func receiveRTP(_ datagram: RawSpan, at now: Instant) {
    guard var keys = unprotector.take() else { return }
    let index = Self.deliver(datagram, unprotectingWith: &keys, to: &receivers, drops: &drops, at: now)
    unprotector = consume keys
    if let index { takeFrames(of: index) }
  }

  private static func deliver(
    _ datagram: RawSpan, unprotectingWith keys: inout SRTPUnprotector, to receivers: inout [ReceiveStream],
    drops: inout DropCounters<MediaDropCause>, at now: Instant
  ) -> Int? {
    do throws(SRTPError) {
      let packet = try keys.unprotectRTP(datagram)
      do throws(ParseError) {
        let (header, payload) = try RTPHeader.parse(packet)
        for index in receivers.indices where receivers[index].claims(header, in: packet) {
          if let cause = receivers[index].receive(header, payload: payload, in: packet, at: now) {
            drops[cause] += 1
          }
          return index
        }
        drops[.unknownStream] += 1
      } catch {
        drops[.malformedRTP] += 1
      }
    } catch {
      drops[.srtp] += 1
    }
    return nil
  }
}
