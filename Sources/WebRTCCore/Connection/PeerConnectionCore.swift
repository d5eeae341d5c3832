// SPDX-License-Identifier: Apache-2.0

public import DTLS
public import ICE
public import RTP
public import SDP
public import SansIO

#if DataChannels
  public import SCTP
#endif

/// One WebRTC connection without sockets, clocks or tasks: ICE, DTLS, SRTP, RTP and the offer/answer state.
///
/// Whoever drives it hands in datagrams, calls and the time, and after each of them drains
/// ``pollTransmit(into:at:)`` and ``pollEvent()`` until both are empty and looks at ``nextDeadline`` once:
///
/// ```swift
/// core.receive(datagram, on: route, at: now)       // or: core.handleTimeout(at: now), or any other call
/// while let transmit = core.pollTransmit(into: &memory, at: now) { send(memory, transmit) }
/// while let event = core.pollEvent() { … }
/// schedule(core.nextDeadline)
/// ```
///
/// The order of the protocols is fixed: no DTLS to or from a path that ICE did not validate, no SRTP before the
/// handshake ended and the certificate's fingerprint matched the description (RFC 8827 §6.5).
public struct PeerConnectionCore: ~Copyable {
  /// What a connection is made with.
  public struct Configuration: Sendable {
    /// The shared OpenSSL context.
    public var dtls: DTLSContext
    /// Our certificate; one for each connection.
    public var certificate: DTLSCertificate
    /// Where identifiers and passwords come from.
    public var random: RandomSource
    /// The first four bytes of our STUN transaction ids, by which sockets that are shared tell peers apart.
    public var transactionPrefix: UInt32
    /// Unix time in nanoseconds at ``Instant/zero`` (for NTP timestamps in sender reports).
    public var wallClockNanosecondsAtZero: Int64
    /// The canonical name in RTCP; `nil` picks a random one (RFC 7022).
    public var cname: String?
    /// ICE timings and policy.
    public var ice = ICEAgent.Configuration()
    /// Whether an offered m-line for which no transceiver was added gets one that receives.
    public var acceptsUnsolicitedMedia = true
    /// Whether offered data channels are accepted; without the trait `DataChannels` they never are.
    public var acceptsDataChannels = true
    #if DataChannels
      /// Sizes, limits and policies of data channels. Packets have at most 1,160 bytes, whatever it says.
      public var dataChannels = DataChannels.Configuration()
    #endif
    /// Whether the next offer restarts ICE by itself when the path is lost for good; the application is told by
    /// ``Event/negotiationNeeded`` and has but to negotiate.
    public var restartsICEAutomatically = true
    /// Who yields when two offers cross, as both sides' restarts do after an outage. It has to be one of the two:
    /// the applications agree on it beforehand, for example by who called whom.
    ///
    /// The polite side's ``PeerConnectionCore/setRemoteDescription(_:at:)`` takes its own offer back and the peer's
    /// in; it answers, and ``Event/negotiationNeeded`` comes again for what its own offer was about. The other side
    /// gets ``PeerConnectionError/offerCollision``, forgets the peer's offer and waits for the answer to its own.
    /// That is all of W3C's "perfect negotiation" (WebRTC §10.7).
    public var isPolite = false
    /// Bits per second at which media leaves at most.
    public var pacingRateBitsPerSecond: Int64 = 25_000_000

    /// Makes a configuration; everything else has a default.
    public init(
      dtls: DTLSContext, certificate: DTLSCertificate, random: RandomSource, transactionPrefix: UInt32,
      wallClockNanosecondsAtZero: Int64
    ) {
      self.dtls = dtls
      self.certificate = certificate
      self.random = random
      self.transactionPrefix = transactionPrefix
      self.wallClockNanosecondsAtZero = wallClockNanosecondsAtZero
    }
  }

  /// What a connection tells its application.
  public enum Event: Sendable {
    /// Offer and answer moved on.
    case signalingStateChanged(SignalingState)
    /// The search for our own candidates moved on.
    case iceGatheringStateChanged(ICEGatheringState)
    /// ICE moved on.
    case iceConnectionStateChanged(ICEConnectionState)
    /// The connection as a whole moved on.
    case connectionStateChanged(PeerConnectionState)
    /// A candidate that the peer does not know from the description yet.
    case localCandidate(ICECandidateInit)
    /// No more candidates will follow.
    case endOfLocalCandidates
    /// An offer brought an m-line for which a receiving transceiver was made.
    case transceiverAdded(TransceiverID)
    /// A whole frame arrived.
    case frameReceived(TransceiverID, MediaFrame)
    /// The peer wants a key frame (PLI or FIR), at most twice a second.
    case keyFrameRequested(TransceiverID)
    /// An offer of ours has to be made: for a transceiver that the peer does not know of, or to restart ICE.
    case negotiationNeeded
    /// The peer hides an address behind a name (`….local`); ``PeerConnectionCore/resolved(name:to:at:)`` answers.
    case nameNeedsResolving(String)
    /// The peer takes TCP connections: one from an address of ours would help. Answered by
    /// ``PeerConnectionCore/addTCPConnection(_:to:at:)`` or ``PeerConnectionCore/tcpConnectionFailed(to:at:)``.
    case tcpConnectionWanted(from: IPAddress, to: TransportAddress)
    /// The peer is not heard any more, or looks for other paths: what relays there are may be gone, and their servers
    /// should be asked.
    case relaysInDoubt
    /// The first packet of a transceiver's stream left.
    case firstPacketSent(TransceiverID)
    /// The DTLS handshake ended well.
    case dtlsConnected
    #if DataChannels
      /// The peer opened a data channel, which may be used.
      case dataChannelAdded(DataChannelID, DataChannelParameters)
      /// A data channel of ours may be used.
      case dataChannelOpened(DataChannelID)
      /// A message came; ``PeerConnectionCore/messageConsumed(_:at:)`` is to give it back once it was read.
      case messageReceived(DataChannelID, DataChannelMessage)
      /// The peer closes a data channel; nothing can be sent on it any more.
      case dataChannelClosing(DataChannelID)
      /// A data channel is over, or was never to be.
      case dataChannelClosed(DataChannelID)
      /// What waits on a data channel fell to its threshold.
      case bufferedAmountLow(DataChannelID)
      /// The association of all data channels stands.
      case sctpConnected
      /// The association is over; all channels were told closed before.
      case sctpEnded(SCTPAssociation.Closure)
    #endif
  }

  /// Events that wait for the application at most, those of data channels apart; frames are dropped beyond it.
  static let eventsMax = 1024

  let configuration: Configuration
  var random: RandomSource
  let cname: String
  let sessionID: UInt64
  var sessionVersion: UInt64 = 1

  var ice: ICEAgent
  var dtls: DTLSTransport?
  var dtlsState = DTLSState.new
  var dtlsInfo: DTLSTransport.Connected?
  var heldDTLS = HeldDatagrams()
  var media: MediaTransport
  var data: DataTransport

  var transceivers: [Transceiver] = []
  var descriptions = Descriptions()
  /// What was agreed on with the peer below media; `nil` before the first m-line was accepted.
  var transport: StandingTransport?
  /// Our ICE credentials in the session that stands.
  var credentials: ICECredentials
  var restart = ICERestart()
  var isNegotiationNeeded = false
  var announcedCandidates: [ICECandidate] = []
  var heldCandidates = HeldCandidates()

  var events = BoundedQueue<Event>(capacity: eventsMax)
  var drops = DropCounters<PacketDropCause>()
  var traffic = TrafficCounters()
  var closingRoute: Route?
  /// Whether data channels are first to send where pictures wait too.
  var isDataNext = false
  /// Since when media has had no path.
  var pathLostAt: Instant?
  var selectedCandidatePairChanges: UInt64 = 0

  /// Offer and answer.
  public internal(set) var signalingState = SignalingState.stable
  /// The search for our own candidates.
  public internal(set) var iceGatheringState = ICEGatheringState.new
  /// ICE and DTLS together.
  public internal(set) var connectionState = PeerConnectionState.new

  /// Makes a connection that has not begun.
  public init(configuration: Configuration, at now: Instant) {
    self.configuration = configuration
    var random = configuration.random
    cname = configuration.cname ?? String(random.next(), radix: 36)
    // RFC 8829 §5.2.1: 63 bits, the top one clear.
    sessionID = random.next() >> 1
    var iceConfiguration = configuration.ice
    iceConfiguration.transactionPrefix = configuration.transactionPrefix
    ice = ICEAgent(role: .controlled, configuration: iceConfiguration, random: random.split())
    credentials = ice.localCredentials
    dtls = nil
    media = MediaTransport(
      cname: cname, pacingRateBitsPerSecond: configuration.pacingRateBitsPerSecond,
      wallClockNanosecondsAtZero: configuration.wallClockNanosecondsAtZero, random: random.split())
    #if DataChannels
      data = DataTransport(configuration: configuration.dataChannels)
    #else
      data = DataTransport()
    #endif
    self.random = random
  }

  /// Where the DTLS transport stands (W3C WebRTC §5.5.1).
  enum DTLSState: String {
    case new, connecting, connected, closed, failed
  }

  /// Datagrams and bytes in both directions.
  struct TrafficCounters {
    var packetsSent: UInt64 = 0
    var bytesSent: UInt64 = 0
    var packetsReceived: UInt64 = 0
    var bytesReceived: UInt64 = 0
  }

  /// Our ICE user name fragment in the session that stands.
  public var localUsernameFragment: String { credentials.usernameFragment }
  /// All user name fragments that the peer's checks may name us by: during a restart more than one. It changes with
  /// calls that create or set descriptions, and shrinks by itself.
  public var localUsernameFragments: [String] { ice.localUsernameFragments }
  /// The first four bytes of our STUN transaction ids.
  public var transactionPrefix: UInt32 { configuration.transactionPrefix }
  /// Where ICE stands.
  public var iceConnectionState: ICEConnectionState { ice.connectionState }
  /// Why ``iceConnectionState`` is `failed`; `nil` while it is not.
  public var iceFailureReason: ICEFailureReason? { ice.failureReason }
  /// Whether ``close(at:)`` was called or the peer closed.
  public var isClosed: Bool { connectionState == .closed }
  /// The path that media takes now, `nil` without one.
  public var selectedRoute: Route? { ice.selectedRoute }
  /// Whether an authenticated connectivity check of this peer came by this route.
  public func isAuthenticated(_ route: Route) -> Bool { ice.isAuthenticated(route) }
  /// What was dropped, by cause.
  public var dropCounters: DropCounters<PacketDropCause> { drops }

  // MARK: Transceivers

  /// Adds a sender and receiver of one kind; an offer is needed before the peer knows of it.
  public mutating func addTransceiver(_ kind: MediaKind, _ parameters: TransceiverInit) -> TransceiverID {
    let id = appendTransceiver(kind, parameters)
    updateNegotiationNeeded()
    return id
  }

  mutating func appendTransceiver(_ kind: MediaKind, _ parameters: TransceiverInit) -> TransceiverID {
    transceivers.append(
      Transceiver(
        kind: kind, parameters: parameters, ssrc: makeSSRC(), rtxSSRC: makeSSRC(), mid: nil, negotiated: nil))
    return TransceiverID(rawValue: transceivers.count - 1)
  }

  private mutating func makeSSRC() -> UInt32 {
    while true {
      let candidate = UInt32(truncatingIfNeeded: random.next())
      let isTaken = transceivers.contains { $0.ssrc == candidate || $0.rtxSSRC == candidate }
      if candidate != 0, !isTaken { return candidate }
    }
  }

  /// How many transceivers there are; their ids are the positions from 0.
  public var transceiverCount: Int { transceivers.count }

  /// The kind of a transceiver.
  public func kind(of id: TransceiverID) -> MediaKind? {
    transceivers.indices.contains(id.rawValue) ? transceivers[id.rawValue].kind : nil
  }

  /// What was agreed on for a transceiver, `nil` before the first exchange.
  public func negotiatedMedia(of id: TransceiverID) -> NegotiatedMedia? {
    transceivers.indices.contains(id.rawValue) ? transceivers[id.rawValue].negotiated : nil
  }

  // MARK: Events

  mutating func emit(_ event: Event) {
    if !events.append(event) { drops[.eventOverflow] += 1 }
  }

  /// The oldest event that was not taken yet.
  ///
  /// Those of data channels come after all others, but before a connection says that it is closed. Unlike those they wait
  /// without a limit of their own: the peer cannot make more than its window lets it send.
  public mutating func pollEvent() -> Event? {
    #if DataChannels
      if isClosed, let event = data.pollEvent() { return event }
      return events.popFirst() ?? data.pollEvent()
    #else
      return events.popFirst()
    #endif
  }
}
