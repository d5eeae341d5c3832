// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// An SCTP association over DTLS (RFC 9260, RFC 8261): many streams of messages to one peer.
///
/// A sans-IO core. Its driver hands in decrypted packets and the time, then drains ``pollEvent()`` and
/// ``pollTransmit(into:at:)``, and sets one timer for ``nextDeadline``. Polling after a batch of packets, not
/// after each, is what makes one SACK answer the whole batch.
///
/// ```
///             send                                       pollEvent
///              |                                             ^
///         SendQueue          messages by stream        InboundStreams      order
///              | fragments                                   | messages
///    RetransmissionQueue     until acknowledged        ReassemblyQueue     fragments to messages
///              | chunks                                      | chunks
///        pollTransmit                                   ReceivedTSNs       what to acknowledge
///              v                                             ^ receive
/// ```
public struct SCTPAssociation: ~Copyable {
  /// What both ends' handshake and the network ask for.
  public struct Configuration: Sendable {
    /// The congestion controllers to choose from.
    public enum CongestionAlgorithm: Hashable, Sendable {
      /// RFC 9260 §7.2.
      case newReno
      /// RFC 9438: quicker after a loss on fast or long paths, and as fair as NewReno where that is quick enough.
      case cubic
      /// A model of the path instead of losses as the sign of its end (after draft-ietf-ccwg-bbr): for paths
      /// that lose packets at random.
      case modelBased
    }

    /// Our port; WebRTC's descriptions say 5000 (RFC 8841 `sctp-port`).
    public var localPort: UInt16 = 5000
    /// The peer's port.
    public var remotePort: UInt16 = 5000
    /// Bytes of a packet, at least 576. 1,160 is what DTLS 1.2 with AES-GCM leaves of 1,200 bytes of UDP
    /// payload, cut to a multiple of 4: a size that every path carries (RFC 8831 §5).
    public var packetByteCountMax = 1160
    /// Streams each way. Chromium takes no more than 1,024.
    public var streamCount: UInt16 = 1024
    /// Bytes of the longest message that is taken from the peer; a longer one ends the association.
    public var messageByteCountMax = 262_144
    /// Bytes that the peer may have under way to us, at most; the window grows to it by need. Where two of the
    /// longest messages would not fit, it may grow further, until they do.
    public var receiveWindowByteCountMax = 8 << 20
    /// Bytes that may wait here to be sent or acknowledged.
    public var sendBufferByteCountMax = 16 << 20
    /// Whether I-DATA is offered (RFC 8260).
    public var offersInterleaving = true
    /// Whether packets without checksum are offered (RFC 9653); only ever over DTLS.
    public var offersZeroChecksum = true
    /// How streams share the association.
    public var schedulingPolicy = SchedulingPolicy.weightedFair
    /// Who decides how much may be in flight.
    public var congestionAlgorithm = CongestionAlgorithm.cubic
    /// Until the round-trip time is known. RFC 9260 says 1 s; the DTLS handshake before us knows better.
    public var initialTimeout = TimeDelta.milliseconds(500)

    /// The values that suit WebRTC.
    public init() {}
  }

  /// Where the association stands (RFC 9260 §4).
  public enum State: Hashable, Sendable {
    /// Nothing was agreed on, or all is over.
    case closed
    /// Our INIT is on its way.
    case cookieWait
    /// Our COOKIE ECHO is on its way.
    case cookieEchoed
    /// Messages flow.
    case established
    /// We want to end, and what was handed in is still to be acknowledged.
    case shutdownPending
    /// Our SHUTDOWN is on its way.
    case shutdownSent
    /// The peer wants to end, and what was handed in is still to be acknowledged.
    case shutdownReceived
    /// Our SHUTDOWN ACK is on its way.
    case shutdownAckSent
  }

  /// Why an association is over.
  public enum Closure: Hashable, Sendable {
    /// Both sides agreed, with everything delivered.
    case shutdown
    /// The peer aborted.
    case abortedByPeer(ErrorCause?)
    /// We aborted.
    case aborted(ErrorCause)
    /// The peer did not answer.
    case unreachable
  }

  /// A message from the peer.
  public struct Message: Sendable {
    /// The stream it came on.
    public let stream: StreamID
    /// What it is.
    public let payloadProtocol: PayloadProtocol
    /// Whether it was sent without order.
    public let isUnordered: Bool
    /// Its bytes, at least one.
    public var bytes: [UInt8]
  }

  /// What the association has to say.
  public enum Event: Sendable {
    /// The handshake is done.
    case connected
    /// A message arrived.
    case message(Message)
    /// The peer counts anew on these streams; none means all (RFC 6525 §5.2.2).
    case incomingStreamsReset([StreamID])
    /// The peer answered our reset of these streams; `false`: it would not.
    case outgoingStreamsReset([StreamID], isPerformed: Bool)
    /// What waits on a stream fell to its threshold.
    case bufferedAmountLow(StreamID)
    /// The peer began anew; all that was under way is lost (RFC 9260 §5.2.4 A).
    case restarted
    /// The association is over. Nothing follows.
    case closed(Closure)
  }

  /// Why a message cannot be sent.
  public enum SendError: Error, Hashable, Sendable {
    /// The association is over, or on its way to the end.
    case closed
    /// A message has at least one byte.
    case empty
    /// Longer than what may wait here at all.
    case tooLong
    /// Too much waits already; try again when less does.
    case bufferFull
    /// The stream's number is beyond what the handshake agreed on.
    case noSuchStream
    /// The stream is being reset.
    case isResetting
  }

  /// Why a packet or chunk was dropped.
  public enum DropCause: Int, CaseIterable, Sendable {
    /// It broke off, or a field holds what it may not.
    case malformed
    /// The checksum is wrong.
    case checksum
    /// Not our ports.
    case port
    /// The verification tag is not ours.
    case verificationTag
    /// A cookie that we did not make, or an old one.
    case cookie
    /// Nothing that belongs in the present state.
    case unexpected
    /// The receive window is full.
    case windowFull
    /// Beyond what can be acknowledged, or one hole or piece too many.
    case tooManyGaps
    /// A message number that came before.
    case duplicateMessage
    /// A SACK of what was never sent.
    case forgedAcknowledgement
    /// A reply that found its queue full.
    case replyQueueFull
  }

  enum Timer: Int, CaseIterable, Sendable {
    /// INIT or COOKIE ECHO again (T1).
    case handshake
    /// Chunks again (T3-rtx).
    case retransmission
    /// The last chunk again, to hear what is missing (TLP).
    case tailLossProbe
    /// Credit for the next burst, when the congestion controller sets a rate.
    case pacing
    /// The SACK that waited for a second packet.
    case acknowledgement
    case heartbeat
    /// SHUTDOWN or SHUTDOWN ACK again (T2).
    case shutdown
    /// The shutdown takes too long altogether (T5).
    case shutdownGuard
    /// The stream reset again.
    case streamReset
  }

  /// The configuration as it was given, the packet size cut to a multiple of 4.
  public internal(set) var configuration: Configuration
  /// Where the association stands.
  public internal(set) var state = State.closed
  /// What was dropped, by cause.
  public internal(set) var drops = DropCounters<DropCause>()
  var statistics = SCTPStatistics()

  var random: RandomSource
  let cookieKey: Secret<[UInt8]>
  var timers = TimerTable<Timer>()
  var events = RingBuffer<Event>()
  /// Whether ``Event/closed(_:)`` was told.
  var isOver = false

  // Who we are and who the peer is.
  var localTag: UInt32 = 0
  var localInitialTSN: UInt32 = 0
  var peerTag: UInt32 = 0
  var capabilities: Capabilities = []
  var outboundStreamCount: UInt16
  var inboundStreamCount: UInt16
  var handshakeBeganAt = Instant.zero
  var handshakeAttempts = 0
  var staleCookieCount = 0
  var handshakeSentAt = Instant.zero
  var cookieEcho: [UInt8] = []
  var isCookieEchoPending = false
  var isShutdownDue = false

  // Sending.
  var sendQueue: SendQueue
  var retransmissions: RetransmissionQueue
  var congestion: CongestionController
  var pacer: Pacer
  var timeout: RetransmissionTimeout
  var peerWindow = 0
  var packetNumber: Int64 = 0
  /// While set, a loss up to this TSN was already answered by a smaller window.
  var recoveryPoint: Int64?
  /// Bytes that may be sent again although the congestion window is full, for packets have left the network.
  var recoveryCredit = 0
  var consecutiveTimeouts = 0
  /// When the first of the consecutive timeouts was.
  var silentSince: Instant?
  /// Whether nothing that is sent would arrive; time stands still then.
  var isPathLost = false
  var isForwardTSNPending = false
  var forwardTSNSentAt = Instant.zero
  var replies: [[UInt8]] = []
  var controlChunks: [[UInt8]] = []
  /// What the heartbeat under way said, and when it was sent: a peer may not tell us our own time. It is not known
  /// which of several was answered.
  var heartbeatNonce: UInt64?
  var heartbeatSentAt: Instant?

  // Receiving.
  var received: ReceivedTSNs
  var reassembly: ReassemblyQueue
  var inboundStreams: InboundStreams
  var window: ReceiveWindow
  /// What the messages weigh that the application has not read.
  var unreadByteCount = 0
  var advertisedWindow = 0
  var packetsSinceAcknowledgement = 0
  var isAcknowledgementDue = false

  var resets = StreamResets()

  /// Makes an association that waits for either side to begin.
  public init(configuration: Configuration, random: RandomSource) {
    var configuration = configuration
    precondition(configuration.packetByteCountMax >= 576, "a packet has to hold a handshake")
    configuration.packetByteCountMax &= ~3
    self.configuration = configuration
    self.random = random
    cookieKey = Secret(self.random.bytes(32))
    outboundStreamCount = configuration.streamCount
    inboundStreamCount = configuration.streamCount
    sendQueue = SendQueue(policy: configuration.schedulingPolicy)
    retransmissions = RetransmissionQueue(initialTSN: 0, isInterleaved: false)
    congestion = CongestionController(
      configuration.congestionAlgorithm, packetByteCount: configuration.packetByteCountMax)
    pacer = Pacer(packetByteCount: configuration.packetByteCountMax)
    timeout = RetransmissionTimeout(initial: configuration.initialTimeout)
    received = ReceivedTSNs(initial: 0)
    reassembly = ReassemblyQueue(messageByteCountMax: configuration.messageByteCountMax)
    inboundStreams = InboundStreams(isInterleaved: false)
    window = ReceiveWindow(
      maximum: max(configuration.receiveWindowByteCountMax, 2 * configuration.messageByteCountMax))
    advertisedWindow = window.byteCount
  }

  /// When ``handleTimeout(at:)`` wants to be called.
  public var nextDeadline: Instant? { isPathLost ? nil : timers.nextDeadline }

  /// Streams that we may send on; known once connected.
  public var sendStreamCount: UInt16 { outboundStreamCount }

  /// Streams that the peer may send on.
  public var receiveStreamCount: UInt16 { inboundStreamCount }

  /// Payload bytes that were handed in and not sent yet.
  public var bufferedAmount: Int { sendQueue.bufferedByteCount }

  /// Payload bytes that wait on one stream.
  public func bufferedAmount(of stream: StreamID) -> Int { sendQueue.bufferedByteCount(of: stream) }

  /// Bytes that the peer's data occupy here: pieces, messages that wait for their turn, to be polled or to be read.
  public var receiveBufferedByteCount: Int {
    reassembly.byteCount + inboundStreams.byteCount + unreadByteCount
  }

  /// At which amount ``Event/bufferedAmountLow(_:)`` is told; 0 unless set.
  public mutating func setBufferedAmountLowThreshold(_ byteCount: Int, of stream: StreamID) {
    sendQueue.setLowThreshold(byteCount, of: stream)
  }

  /// How important a stream is: 128 very low, 256 low (as all begin), 512 medium, 1024 high (RFC 8831 §6.4).
  public mutating func setPriority(_ priority: UInt16, of stream: StreamID) {
    sendQueue.setPriority(priority, of: stream)
  }

  /// Hands in a message. It may be sent before the association stands; it goes out when it does.
  public mutating func send(
    _ bytes: [UInt8], on stream: StreamID, payloadProtocol: PayloadProtocol,
    options: DeliveryOptions = DeliveryOptions(), at now: Instant
  ) throws(SendError) {
    switch state {
    case .closed: guard !isOver else { throw .closed }
    case .cookieWait, .cookieEchoed, .established: break
    case .shutdownPending, .shutdownSent, .shutdownReceived, .shutdownAckSent: throw .closed
    }
    guard !bytes.isEmpty else { throw .empty }
    guard stream.rawValue < outboundStreamCount else { throw .noSuchStream }
    guard !resets.isResetting(stream) else { throw .isResetting }
    guard bytes.count <= configuration.sendBufferByteCountMax else { throw .tooLong }
    let held = sendQueue.messages.byteCount + sendQueue.messages.count * SCTPLimits.entryByteCount
    guard held + bytes.count <= configuration.sendBufferByteCountMax else { throw .bufferFull }
    sendQueue.append(
      OutboundMessage(
        stream: stream, payloadProtocol: payloadProtocol, bytes: bytes, options: options, at: now))
  }

  /// Hands in a short message of the layer above's own, reliable and ordered, whatever waits already.
  mutating func sendControl(
    _ bytes: [UInt8], on stream: StreamID, payloadProtocol: PayloadProtocol, at now: Instant
  ) {
    guard !isOver else { return }
    sendQueue.append(
      OutboundMessage(
        stream: stream, payloadProtocol: payloadProtocol, bytes: bytes, options: DeliveryOptions(), at: now))
  }

  /// Drops the messages of a stream of which nothing was sent.
  mutating func discardUnsent(on stream: StreamID) { sendQueue.discard(stream) }

  /// The next thing that happened. Messages make room for others when they are ``consumed(byteCount:)``, not here.
  public mutating func pollEvent() -> Event? {
    if let stream = sendQueue.streamsBelowThreshold.popFirst() { return .bufferedAmountLow(stream) }
    return events.popFirst()
  }

  /// Gives back what messages weighed that have been read: their bytes, and ``SCTPLimits/entryByteCount`` for each.
  ///
  /// The next packet tells the peer if the window was nearly shut and is open again (RFC 9260 §6.2).
  public mutating func consumed(byteCount: Int) {
    unreadByteCount = max(0, unreadByteCount - byteCount)
    guard state != .closed else { return }
    let isOpenAgain = freeWindow >= window.byteCount / 2
    if advertisedWindow < window.byteCount / 4, isOpenAgain { isAcknowledgementDue = true }
  }

  /// What the peer may still send.
  var freeWindow: Int { max(0, window.byteCount - receiveBufferedByteCount) }

  mutating func tell(_ event: Event) { events.append(event) }

  mutating func deliver(_ message: AssembledMessage) {
    unreadByteCount += message.chargedByteCount
    statistics.messagesReceived += 1
    statistics.bytesReceived += UInt64(message.bytes.count)
    events.append(
      .message(
        Message(
          stream: message.stream, payloadProtocol: message.payloadProtocol,
          isUnordered: message.isUnordered, bytes: message.bytes)))
  }

  /// Ends the association and lets everything go but the events that are still to be told.
  mutating func finish(_ closure: Closure) {
    guard !isOver else { return }
    state = .closed
    isOver = true
    timers.stopAll()
    controlChunks = []
    isCookieEchoPending = false
    isShutdownDue = false
    isAcknowledgementDue = false
    sendQueue = SendQueue(policy: configuration.schedulingPolicy)
    retransmissions = RetransmissionQueue(initialTSN: 0, isInterleaved: false)
    reassembly = ReassemblyQueue(messageByteCountMax: configuration.messageByteCountMax)
    inboundStreams = InboundStreams(isInterleaved: false)
    resets = StreamResets()
    tell(.closed(closure))
  }
}
