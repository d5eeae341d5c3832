// SPDX-License-Identifier: Apache-2.0

internal import COpenSSL
public import SansIO

/// The client's side of DTLS 1.2 with a server that has a certificate of an authority: TURN over DTLS (RFC 7350).
///
/// A core like ``DTLSTransport``, but it knows its peer as a web browser does: the chain of certificates has to
/// lead to an authority that the context trusts, and the certificate has to be for the host (RFC 9525). Nothing
/// is sent but the handshake before ``Event/connected``.
public struct DTLSClient: ~Copyable, Sendable {
  /// Why a connection ended for good.
  public enum Failure: Error, Hashable, Sendable {
    /// The server's certificate: OpenSSL's reason, a constant text as "hostname mismatch".
    case certificate(String)
    /// OpenSSL's reason, a constant text: an alert of the server's, a malformed message.
    case handshake(String)
    /// No end after ``DTLSClient/handshakeDurationMax``.
    case timedOut
  }

  /// What happened.
  public enum Event: Hashable, Sendable {
    /// The server is who it should be; messages may be sent.
    case connected
    /// Nothing will flow any more. An alert for the server may wait in the output.
    case failed(Failure)
    /// The server said goodbye. Not reported for ``DTLSClient/close(at:)``.
    case closed
  }

  private enum State {
    case new
    case handshaking
    case connected
    case ended
  }

  private enum Timer: Int, CaseIterable, Sendable {
    /// A flight has to be repeated.
    case retransmission
    /// The handshake has taken too long.
    case patience
  }

  /// How long a handshake may take: with the first timeout of 250 ms it has been tried six times by then.
  public static let handshakeDurationMax = TimeDelta.seconds(10)
  /// When to repeat the first flight unless told otherwise: no round trip is known yet, and a second (RFC 6347
  /// §4.2.4.1) is long for whoever waits for a relay.
  public static let initialTimeout = TimeDelta.milliseconds(250)
  /// The most UDP payload bytes of one datagram unless told otherwise: with IPv6 and a tunnel's header below an
  /// Ethernet's 1,500, and above a media packet in a TURN indication.
  public static let maximumDatagramByteCount = 1400

  private let association: Association
  private var state = State.new
  private var timers = TimerTable<Timer>()
  private var events = BoundedQueue<Event>(capacity: 4)
  private var ownDrops = DropCounters<DTLSDropCause>()

  /// Makes a client that waits for ``start(at:)``.
  ///
  /// - Parameters:
  ///   - context: whom to trust.
  ///   - host: the server's name, or its address as text, which its certificate has to be for.
  ///   - initialTimeout: when to repeat the first flight, then doubled each time; clamped to 50 ms to 1 s.
  ///   - maximumDatagramByteCount: the most UDP payload bytes of one datagram, at least 256.
  /// - Throws: ``DTLSError/unavailable``, also for a host that cannot be one.
  public init(
    context: DTLSClientContext, host: String, initialTimeout: TimeDelta = DTLSClient.initialTimeout,
    maximumDatagramByteCount: Int = DTLSClient.maximumDatagramByteCount
  ) throws(DTLSError) {
    association = try Self.association(
      context: context, host: host, initialTimeout: initialTimeout,
      maximumDatagramByteCount: maximumDatagramByteCount)
  }

  private static func association(
    context: DTLSClientContext, host: String, initialTimeout: TimeDelta, maximumDatagramByteCount: Int
  ) throws(DTLSError) -> Association {
    let association = try Association(
      context: context, contextHandle: context.handle, certificate: nil,
      role: context.isServer ? .server : .client, maximumDatagramByteCount: maximumDatagramByteCount,
      initialTimeout: initialTimeout)
    guard co_dtls_expect_host(association.handle, host) == 1 else { throw .unavailable }
    return association
  }

  /// What was dropped so far.
  public var drops: DropCounters<DTLSDropCause> {
    var drops = association.drops
    for cause in [DTLSDropCause.datagramTooLong, .notDTLS, .notStarted, .ended] {
      drops[cause] = ownDrops[cause]
    }
    return drops
  }

  /// When ``handleTimeout(at:)`` wants to be called.
  public var nextDeadline: Instant? { timers.nextDeadline }

  // MARK: input

  /// Begins: the first flight waits in the output then.
  public mutating func start(at now: Instant) {
    guard case .new = state else { return }
    state = .handshaking
    timers[.patience] = now + Self.handshakeDurationMax
    follow(co_dtls_start(association.handle, now.nanoseconds), at: now)
  }

  /// Takes a datagram that came from the server's address.
  public mutating func receive(_ datagram: RawSpan, at now: Instant) {
    if let cause = Association.refusal(of: datagram) { return drop(cause) }
    switch state {
    case .new: drop(.notStarted)
    case .ended: drop(.ended)
    case .handshaking, .connected: follow(association.receive(datagram, at: now), at: now)
    }
  }

  /// Repeats a flight or gives up, whichever is due.
  public mutating func handleTimeout(at now: Instant) {
    switch timers.popExpired(at: now) {
    case .retransmission:
      follow(co_dtls_handle_timeout(association.handle, now.nanoseconds), at: now)
    case .patience: end(with: .failed(.timedOut))
    case nil: break
    }
  }

  /// Encrypts one message to a datagram of its own.
  ///
  /// Throws ``DTLSError/notConnected``, ``DTLSError/messageTooLong`` or ``DTLSError/encryptionFailed``.
  public mutating func send(_ message: RawSpan, at now: Instant) throws(DTLSError) {
    guard case .connected = state else { throw .notConnected }
    try association.send(message, at: now)
  }

  /// Says goodbye if connected and takes nothing more; send what waits in the output.
  public mutating func close(at now: Instant) {
    if case .ended = state { return }
    co_dtls_close(association.handle, now.nanoseconds)
    end()
  }

  // MARK: output

  /// The length of the datagram that ``pollTransmit(into:at:)`` would write, `nil` when there is none.
  public var nextDatagramByteCount: Int? { association.nextDatagramByteCount }

  /// Writes the next datagram for the server and returns true, or returns false when there is none.
  public mutating func pollTransmit(into output: inout OutputRawSpan, at now: Instant) -> Bool {
    association.takeDatagram(into: &output)
  }

  /// Takes the oldest event.
  public mutating func pollEvent() -> Event? { events.popFirst() }

  /// The length of the message that ``pollMessage(into:)`` would write, `nil` when there is none.
  public var nextMessageByteCount: Int? { association.nextMessageByteCount }

  /// Writes the next received message and returns true, or returns false when there is none.
  ///
  /// `output` needs room for ``nextMessageByteCount`` bytes, at most 16,384.
  public mutating func pollMessage(into output: inout OutputRawSpan) -> Bool {
    association.takeMessage(into: &output)
  }

  // MARK: transitions

  /// Draws the consequences of what OpenSSL says after each call.
  private mutating func follow(_ result: co_dtls_state, at now: Instant) {
    switch (state, result) {
    case (.handshaking, CO_DTLS_CONNECTED):
      state = .connected
      timers[.patience] = nil
      report(.connected)
    case (.handshaking, CO_DTLS_CLOSED), (.connected, CO_DTLS_CLOSED): return end(with: .closed)
    case (.handshaking, CO_DTLS_FAILED), (.connected, CO_DTLS_FAILED): return end(with: .failed(failure))
    default: break
    }
    timers[.retransmission] = association.deadline(at: now)
  }

  private var failure: Failure {
    switch co_dtls_failure(association.handle) {
    case CO_FAILURE_CERTIFICATE: .certificate(association.failureReason)
    case CO_FAILURE_NO_PEER_CERTIFICATE: .certificate("no certificate")
    default: .handshake(association.failureReason)
    }
  }

  private mutating func end(with event: Event? = nil) {
    state = .ended
    timers.stopAll()
    if let event { report(event) }
  }

  private mutating func report(_ event: Event) {
    let isQueued = events.append(event)
    precondition(isQueued, "a connection has at most two events")
  }

  private mutating func drop(_ cause: DTLSDropCause) { ownDrops[cause] &+= 1 }
}
