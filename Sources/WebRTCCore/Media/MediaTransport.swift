// SPDX-License-Identifier: Apache-2.0

import RTP
import SDP
import SRTP
import SansIO

/// All media of a connection: SRTP in both directions, the streams, and RTCP about them.
///
/// Nothing leaves and nothing is taken in before ``install(protector:unprotector:at:)``.
struct MediaTransport: ~Copyable {
  enum Event {
    case frame(TransceiverID, MediaFrame)
    case keyFrameRequested(TransceiverID)
    case firstPacketSent(TransceiverID)
  }

  enum Timer: Int, CaseIterable, Sendable {
    /// Sender and receiver reports are due.
    case reports
  }

  /// Events that wait at most; the core takes them in the same turn.
  static let eventsMax = 512
  /// Report interval. RFC 3550 §6.2 asks for 5 s at low rates, AVPF (RFC 4585 §3.4) allows less: browsers send
  /// video's once a second.
  static let reportInterval = TimeDelta.seconds(1)
  /// A key frame request of a peer is passed on at most once in this time (threat T20).
  static let keyFrameRequestInterval = TimeDelta.milliseconds(500)

  let cname: String
  let wallClockNanosecondsAtZero: Int64
  var random: RandomSource
  var protector: SRTPProtector?
  var unprotector: SRTPUnprotector?
  var senders: [SendStream] = []
  var receivers: [ReceiveStream] = []
  var pacer: Pacer
  var timers = TimerTable<Timer>()
  var events = BoundedQueue<Event>(capacity: eventsMax)
  var drops = DropCounters<MediaDropCause>()
  var outgoingRTCP = OutgoingRTCP()
  /// The path's round trip, as ICE measures it.
  var roundTripTime = TimeDelta.milliseconds(100) {
    didSet {
      guard roundTripTime != oldValue else { return }
      for index in receivers.indices { receivers[index].setRoundTripTime(roundTripTime) }
    }
  }
  private(set) var isClosing = false

  init(
    cname: String, pacingRateBitsPerSecond: Int64, wallClockNanosecondsAtZero: Int64, random: RandomSource
  ) {
    self.cname = cname
    self.wallClockNanosecondsAtZero = wallClockNanosecondsAtZero
    self.random = random
    protector = nil
    unprotector = nil
    pacer = Pacer(rateBitsPerSecond: pacingRateBitsPerSecond)
  }

  /// Takes the keys of the handshake: from here on media flows.
  mutating func install(
    protector: consuming SRTPProtector, unprotector: consuming SRTPUnprotector, at now: Instant
  ) {
    self.protector = consume protector
    self.unprotector = consume unprotector
    timers[.reports] = now + .milliseconds(100)
  }

  // MARK: Configuration

  /// Makes or keeps the streams of one negotiated m-line.
  mutating func configure(_ transceiver: Transceiver, id: TransceiverID, negotiated: NegotiatedMedia) {
    guard let codec = negotiated.codecs.first else { return }
    let canSend = negotiated.direction == .sendrecv || negotiated.direction == .sendonly
    let canReceive = negotiated.direction == .sendrecv || negotiated.direction == .recvonly
    let midExtensionID = negotiated.headerExtensions.first { $0.uri == NegotiationOptions.midExtension }?.id
    if let index = senders.firstIndex(where: { $0.transceiver == id }) {
      senders[index].update(codec: codec, isActive: canSend)
    } else if canSend {
      senders.append(
        SendStream(
          transceiver: id, kind: transceiver.kind, ssrc: SSRC(rawValue: transceiver.ssrc),
          rtxSSRC: SSRC(rawValue: transceiver.rtxSSRC), codec: codec, mid: negotiated.mid,
          midExtensionID: midExtensionID, random: &random))
      // Audio first: it is small and must not wait behind a key frame.
      senders.sort { (left: SendStream, right: SendStream) in left.kind == .audio && right.kind != .audio }
    }
    receivers.removeAll {
      $0.transceiver == id && !(canReceive && $0.codec.codec.mimeType == codec.codec.mimeType)
    }
    if let index = receivers.firstIndex(where: { $0.transceiver == id }) {
      receivers[index].update(codec: codec, negotiated: negotiated, midExtensionID: midExtensionID)
    } else if canReceive {
      receivers.append(
        ReceiveStream(
          transceiver: id, kind: transceiver.kind, codec: codec,
          reporterSSRC: SSRC(rawValue: transceiver.ssrc), negotiated: negotiated,
          midExtensionID: midExtensionID))
    }
  }

  /// Stops the streams of an m-line that was rejected.
  ///
  /// A sender is kept, silent: its sequence numbers go on where they ended if it ever sends again, because no
  /// index may be used twice under a key (threat T42).
  mutating func stop(_ id: TransceiverID) {
    receivers.removeAll { $0.transceiver == id }
    for index in senders.indices where senders[index].transceiver == id { senders[index].deactivate() }
  }

  mutating func emit(_ event: Event) {
    if !events.append(event) { drops[.eventOverflow] += 1 }
  }

  mutating func pollEvent() -> Event? { events.popFirst() }

  // MARK: Application

  mutating func send(_ frame: PacketizedFrame, on id: TransceiverID, at now: Instant) {
    guard let index = senders.firstIndex(where: { $0.transceiver == id }) else { return }
    senders[index].enqueue(frame)
  }

  /// Throws away what waits to be sent and asks for key frames, after a time without a path.
  mutating func startOver(at now: Instant) {
    for index in senders.indices {
      senders[index].startOver()
      guard senders[index].isActive, senders[index].kind == .video else { continue }
      senders[index].lastKeyFrameRequest = now
      emit(.keyFrameRequested(senders[index].transceiver))
    }
  }

  mutating func requestKeyFrame(_ id: TransceiverID, at now: Instant) {
    guard let index = receivers.firstIndex(where: { $0.transceiver == id }) else { return }
    receivers[index].requestKeyFrame(at: now)
  }

  /// Ends all streams; media and reports that still wait are not sent any more.
  ///
  /// - Parameter saysGoodbye: whether the peer is to be told (RFC 3550 §6.6); not when it left itself.
  mutating func close(saysGoodbye: Bool) {
    guard !isClosing else { return }
    isClosing = true
    timers.stopAll()
    outgoingRTCP = OutgoingRTCP()
    outgoingRTCP.goodbyeIsDue = saysGoodbye && !senders.isEmpty
    for index in senders.indices { senders[index].deactivate() }
  }

  // MARK: Time

  /// When to be called again.
  ///
  /// - Parameter canTransmit: whether there is a path. Without one, what waits to be sent wakes nobody: it
  ///   would be due for ever.
  func nextDeadline(canTransmit: Bool) -> Instant? {
    // A connection of data channels alone has nothing to report.
    guard protector != nil, !isClosing, !senders.isEmpty || !receivers.isEmpty else { return nil }
    var deadline = timers.nextDeadline
    for receiver in receivers { deadline = Instant.earliest(deadline, receiver.frameDeadline) }
    guard canTransmit else { return deadline }
    if senders.contains(where: { $0.kind != .audio && ($0.hasMedia || $0.hasRetransmissions) }) {
      deadline = Instant.earliest(deadline, pacer.deadline)
    }
    for receiver in receivers { deadline = Instant.earliest(deadline, receiver.feedbackDeadline) }
    return deadline
  }

  mutating func handleTimeout(at now: Instant) {
    while let timer = timers.popExpired(at: now) {
      switch timer {
      case .reports:
        outgoingRTCP.reportIsDue = true
        // RFC 3550 §6.2: spread by half, so that many connections do not report in step.
        timers[.reports] = now + Self.reportInterval / 2 + randomShare(of: Self.reportInterval)
      }
    }
    for index in receivers.indices {
      receivers[index].handleTimeout(at: now)
      takeFrames(of: index)
    }
  }

  private mutating func randomShare(of interval: TimeDelta) -> TimeDelta {
    TimeDelta(nanoseconds: Int64(random.next() % UInt64(interval.nanoseconds)))
  }

  mutating func takeFrames(of index: Int) {
    while let frame = receivers[index].pollFrame() {
      emit(.frame(receivers[index].transceiver, frame))
    }
  }

  // MARK: Transmission

  /// Writes what is due now: RTCP, then audio, then retransmissions and video as the pacer allows.
  ///
  /// - Parameter allowsPaced: false for RTCP and audio only.
  mutating func pollTransmit(
    allowsPaced: Bool, into out: inout OutputRawSpan, at now: Instant
  ) -> (segmentByteCount: Int, segmentCount: Int)? {
    guard protector != nil else { return nil }
    if let byteCount = writeRTCP(into: &out, at: now) { return (byteCount, 1) }
    guard !isClosing else { return nil }
    for index in senders.indices where allowsPaced || senders[index].kind == .audio {
      if let written = writeStream(index, into: &out, at: now) { return written }
    }
    return nil
  }

  private mutating func writeStream(
    _ index: Int, into out: inout OutputRawSpan, at now: Instant
  ) -> (segmentByteCount: Int, segmentCount: Int)? {
    let isPaced = senders[index].kind != .audio
    guard !isPaced || pacer.maySend(at: now), var keys = protector.take() else { return nil }
    let isFirst = senders[index].counters.packetsSent == 0
    let written = senders[index].write(
      packetsMax: Pacer.burstPacketsMax, with: &keys, into: &out, at: now)
    protector = consume keys
    guard let written else { return nil }
    if isPaced { pacer.sent(byteCount: out.byteCount, at: now) }
    if isFirst { emit(.firstPacketSent(senders[index].transceiver)) }
    return written
  }
}

/// Why media or its control packets were dropped.
public enum MediaDropCause: Int, CaseIterable, Sendable {
  /// No RTP.
  case malformedRTP
  /// No RTCP.
  case malformedRTCP
  /// Wrong tag, replayed, too old, too many sources.
  case srtp
  /// RTP of a source that no description and no header extension names.
  case unknownStream
  /// RTP of a payload type that was not agreed on.
  case unknownPayloadType
  /// RTCP about a source that is not ours.
  case unknownReportedSource
  /// More events than the queue holds.
  case eventOverflow
}
