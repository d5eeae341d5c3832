// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import SansIO

/// Which side of the handshake a transport plays: `active` in `a=setup` is the client.
public enum DTLSRole: Hashable, Sendable {
  /// Sends the first flight.
  case client
  /// Waits for it, and chooses the cipher suite and the SRTP profile.
  case server
}

/// Why a DTLS transport dropped something.
public enum DTLSDropCause: Int, CaseIterable, Sendable {
  /// Longer than any UDP datagram.
  case datagramTooLong
  /// The first byte is not one of DTLS, 20 to 63 (RFC 7983 §7).
  case notDTLS
  /// It came before ``DTLSTransport/start(at:)``.
  case notStarted
  /// It came after the transport had failed or closed.
  case ended
  /// The queue of datagrams to be sent was full.
  case outputQueueFull
  /// The queue of received application data was full.
  case applicationDataQueueFull
}

/// One DTLS 1.2 association that keys SRTP (RFC 5764, RFC 8827 §6.5) and carries data channels (RFC 8261), as a core:
/// datagrams in, datagrams out.
///
/// The peer's certificate is checked against the session description's fingerprints inside the handshake:
/// ``Event/connected(_:)`` is never reported before it matched. A datagram may come by any route that the owner
/// trusts; the transport is not tied to one. Keep feeding it datagrams after it is connected: that is how the loss of
/// the last flight heals. OpenSSL does the protocol, so the time passed in matters for deadlines only, unless
/// CVirtualClock is linked.
public struct DTLSTransport: ~Copyable, Sendable {
  /// What the handshake agreed on for media (RFC 5764).
  public struct SRTPKeying: Sendable {
    /// The IANA number of the SRTP protection profile.
    public let profile: UInt16
    /// The keys and salts of both sides (RFC 5764 §4.2), as long as the profile needs.
    public let material: Secret<[UInt8]>
  }

  /// What the handshake agreed on.
  public struct Connected: Sendable {
    /// The keys for media; `nil` where the peer did without, which only a transport made so lets it.
    public let srtp: SRTPKeying?
    /// Our role: it tells which keys are ours.
    public let role: DTLSRole
    /// The IANA name of the cipher suite.
    public let cipherSuite: String
    /// The version on the wire in hexadecimal digits: `FEFD` is DTLS 1.2.
    public let version: String
    /// SHA-256 of the certificate that the peer proved to hold.
    public let remoteCertificateFingerprint: CertificateFingerprint
  }

  /// Why an association ended for good.
  public enum Failure: Error, Hashable, Sendable {
    /// The peer's certificate is not the one of its session description.
    case fingerprintMismatch
    /// The peer sent no certificate.
    case noPeerCertificate
    /// The peer does not know SRTP keying, or none of our profiles.
    case noCommonSRTPProfile
    /// OpenSSL's reason, a constant text: an alert of the peer's, a malformed message.
    case handshake(String)
    /// No end after ``DTLSTransport/handshakeDurationMax``.
    case timedOut
    /// The session description has no fingerprint of a hash that identifies a certificate.
    case unsupportedFingerprint
  }

  /// What happened.
  public enum Event: Sendable {
    /// The peer is who it should be; media may flow.
    case connected(Connected)
    /// Nothing will flow any more. An alert for the peer may wait in the output.
    case failed(Failure)
    /// The peer said goodbye; the answer waits in the output. Not reported for ``DTLSTransport/close(at:)``.
    case closed
  }

  private enum State {
    /// Made, nothing sent.
    case new
    /// Flights are being exchanged; the timer of patience runs.
    case handshaking
    /// The fingerprint matched and keys are exported.
    case connected
    /// Nothing is taken or made any more; what waits in the output may still be sent.
    case ended
  }

  private enum Timer: Int, CaseIterable, Sendable {
    /// A flight has to be repeated.
    case retransmission
    /// The handshake has taken too long.
    case patience
  }

  /// How long a handshake may take. Lost consent ends a dead connection about as fast (RFC 7675 §5.1).
  public static let handshakeDurationMax = TimeDelta.seconds(30)
  /// The shortest first timeout.
  public static let initialTimeoutMin = Association.initialTimeoutMin
  /// The longest first timeout, RFC 6347's own.
  public static let initialTimeoutMax = Association.initialTimeoutMax

  private let association: Association
  private let role: DTLSRole
  private let hasFingerprint: Bool
  private var state = State.new
  private var timers = TimerTable<Timer>()
  private var events = BoundedQueue<Event>(capacity: 4)
  private var ownDrops = DropCounters<DTLSDropCause>()

  /// Makes a transport that waits for ``start(at:)``.
  ///
  /// - Parameters:
  ///   - context: The settings, shared by all connections.
  ///   - certificate: Ours; its fingerprint stands in our session description.
  ///   - role: The outcome of the `a=setup` negotiation.
  ///   - remoteFingerprints: All of the peer's session description. The peer's certificate has to match one of those
  ///     with the strongest hash. SHA-1 and SHA-224 are passed over.
  ///   - initialTimeout: When to repeat the first flight, about 1.5 round-trip times; clamped to 50 ms to 1 s, then
  ///     doubled each time, up to 60 s (RFC 6347 §4.2.4.1).
  ///   - requiresSRTP: Whether the handshake fails with a peer that agrees on no SRTP profile. Where no media was
  ///     negotiated it need not know of SRTP (RFC 8831 §5).
  ///   - maximumDatagramByteCount: The most UDP payload bytes of one datagram, at least 256.
  public init(
    context: DTLSContext, certificate: DTLSCertificate, role: DTLSRole,
    remoteFingerprints: [CertificateFingerprint], initialTimeout: TimeDelta, requiresSRTP: Bool = true,
    maximumDatagramByteCount: Int = 1200
  ) throws(DTLSError) {
    try self.init(
      context: context, optionalCertificate: certificate, role: role, remoteFingerprints: remoteFingerprints,
      initialTimeout: initialTimeout, requiresSRTP: requiresSRTP,
      maximumDatagramByteCount: maximumDatagramByteCount)
  }

  /// The same, also without a certificate: how tests play a peer that has none.
  init(
    context: DTLSContext, optionalCertificate certificate: DTLSCertificate?, role: DTLSRole,
    remoteFingerprints: [CertificateFingerprint], initialTimeout: TimeDelta, requiresSRTP: Bool = true,
    maximumDatagramByteCount: Int = 1200
  ) throws(DTLSError) {
    association = try Association(
      context: context, contextHandle: context.handle, certificate: certificate, role: role,
      maximumDatagramByteCount: maximumDatagramByteCount, initialTimeout: initialTimeout)
    self.role = role
    let decisive = CertificateFingerprint.decisive(among: remoteFingerprints)
    hasFingerprint = !decisive.isEmpty
    for fingerprint in decisive { association.accept(fingerprint) }
    if !requiresSRTP { co_dtls_allow_no_srtp(association.handle) }
  }

  /// What was dropped so far.
  public var drops: DropCounters<DTLSDropCause> {
    var drops = ownDrops
    let queues = association.drops
    drops[.outputQueueFull] = queues[.outputQueueFull]
    drops[.applicationDataQueueFull] = queues[.applicationDataQueueFull]
    return drops
  }

  /// When ``handleTimeout(at:)`` wants to be called.
  public var nextDeadline: Instant? { timers.nextDeadline }

  // MARK: input

  /// Begins: the client's first flight waits in the output then, and both roles' patience starts to run.
  public mutating func start(at now: Instant) {
    guard case .new = state else { return }
    guard hasFingerprint else { return fail(.unsupportedFingerprint) }
    state = .handshaking
    timers[.patience] = now + Self.handshakeDurationMax
    follow(co_dtls_start(association.handle, now.nanoseconds), at: now)
  }

  /// Takes a datagram of the peer's. Whatever it holds, it does no harm beyond failing this association.
  public mutating func receive(_ datagram: RawSpan, at now: Instant) {
    guard takes(datagram) else { return }
    follow(association.receive(datagram, at: now), at: now)
  }

  /// The same, but the first message of application data in the datagram goes straight to `output` if the transport is
  /// connected already; all others wait for ``pollApplicationData(into:)``.
  ///
  /// `output` needs room for as many bytes as the datagram has.
  public mutating func receive(_ datagram: RawSpan, into output: inout OutputRawSpan, at now: Instant) {
    guard takes(datagram) else { return }
    if case .connected = state {
      follow(association.open(datagram, into: &output, at: now), at: now)
    } else {
      follow(association.receive(datagram, at: now), at: now)
    }
  }

  /// Whether a datagram may reach OpenSSL.
  private mutating func takes(_ datagram: RawSpan) -> Bool {
    if let cause = Association.refusal(of: datagram) {
      drop(cause)
      return false
    }
    switch state {
    case .new: drop(.notStarted)
    case .ended: drop(.ended)
    case .handshaking, .connected: return true
    }
    return false
  }

  /// Repeats a flight or gives up, whichever is due.
  public mutating func handleTimeout(at now: Instant) {
    while let timer = timers.popExpired(at: now) {
      switch timer {
      case .retransmission: follow(co_dtls_handle_timeout(association.handle, now.nanoseconds), at: now)
      case .patience: fail(.timedOut)
      }
      // OpenSSL may still find its own clock early and set the timer again; once per call is enough.
      if timer == .retransmission { return }
    }
  }

  /// Encrypts one message of application data to a datagram of its own.
  ///
  /// Throws ``DTLSError/notConnected``, ``DTLSError/messageTooLong`` or ``DTLSError/encryptionFailed``.
  public mutating func send(_ applicationData: RawSpan, at now: Instant) throws(DTLSError) {
    guard case .connected = state else { throw .notConnected }
    try association.send(applicationData, at: now)
  }

  /// Encrypts one message of application data to a datagram in lent memory, past the output that waits.
  ///
  /// Throws what ``send(_:at:)`` does; ``DTLSError/encryptionFailed`` also where the memory does not suffice. `output`
  /// needs room for the transport's `maximumDatagramByteCount`.
  public mutating func seal(
    _ applicationData: RawSpan, into output: inout OutputRawSpan, at now: Instant
  ) throws(DTLSError) {
    guard case .connected = state else { throw .notConnected }
    try association.seal(applicationData, into: &output, at: now)
  }

  /// Says goodbye if connected and takes nothing more; send what waits in the output.
  public mutating func close(at now: Instant) {
    if case .ended = state { return }
    co_dtls_close(association.handle, now.nanoseconds)
    end()
  }

  // MARK: output

  /// The most bytes of application data that fit a datagram; 0 before the connection stands.
  public var maximumApplicationDataByteCount: Int {
    guard case .connected = state else { return 0 }
    return association.messageByteCountMax
  }

  /// Writes the next datagram for the peer and returns true, or returns false when there is none.
  ///
  /// `output` needs room for the transport's `maximumDatagramByteCount`.
  public mutating func pollTransmit(into output: inout OutputRawSpan, at now: Instant) -> Bool {
    association.takeDatagram(into: &output)
  }

  /// Takes the oldest event.
  public mutating func pollEvent() -> Event? { events.popFirst() }

  /// The length of the message that ``pollApplicationData(into:)`` would write, `nil` when there is none.
  public var nextApplicationDataByteCount: Int? { association.nextMessageByteCount }

  /// Writes the next received message of application data and returns true, or returns false when there is none.
  ///
  /// `output` needs room for ``nextApplicationDataByteCount`` bytes, at most 16,384.
  public mutating func pollApplicationData(into output: inout OutputRawSpan) -> Bool {
    association.takeMessage(into: &output)
  }

  /// Asks the peer for a new handshake: how tests play a peer that does.
  mutating func renegotiate(at now: Instant) -> Bool {
    co_dtls_renegotiate_for_test(association.handle, now.nanoseconds) == 1
  }

  // MARK: transitions

  /// Draws the consequences of what OpenSSL says after each call.
  private mutating func follow(_ result: co_dtls_state, at now: Instant) {
    switch (state, result) {
    case (.handshaking, CO_DTLS_CONNECTED): connect(at: now)
    case (.handshaking, CO_DTLS_CLOSED):
      // The goodbye came in the same datagram as the end of the handshake.
      end(with: .closed)
    case (.connected, CO_DTLS_CLOSED): end(with: .closed)
    case (.handshaking, CO_DTLS_FAILED), (.connected, CO_DTLS_FAILED): fail(association.failure)
    default: break
    }
    timers[.retransmission] = association.deadline(at: now)
  }

  private mutating func connect(at now: Instant) {
    guard let connected = association.connected(as: role) else {
      co_dtls_close(association.handle, now.nanoseconds)
      return fail(.handshake("keying material"))
    }
    state = .connected
    timers[.patience] = nil
    report(.connected(connected))
  }

  private mutating func fail(_ failure: Failure) { end(with: .failed(failure)) }

  private mutating func end(with event: Event? = nil) {
    state = .ended
    timers.stopAll()
    if let event { report(event) }
  }

  private mutating func report(_ event: Event) {
    let isQueued = events.append(event)
    precondition(isQueued, "an association has at most two events")
  }

  private mutating func drop(_ cause: DTLSDropCause) { ownDrops[cause] &+= 1 }
}
