// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// A connection to a remote candidate that accepts them, and how far it is.
struct TCPAttempt: Sendable {
  enum State: Sendable {
    /// It may be asked for.
    case wanted
    /// The driver tries.
    case asked
    /// It stands, and is a local candidate.
    case connected
    /// It could not be made, or is lost.
    case failed
  }

  let remote: TransportAddress
  var state = State.wanted
}

/// Connections to the peer's passive TCP candidates (RFC 6544).
///
/// For each, one active connection is asked for, after all checks over UDP, at the pace of checks and while
/// nothing better works. It is a local candidate with one pair. Our own side never listens.
extension ICEAgent {
  /// Whether a candidate accepts connections, and room is left for one more.
  func mayConnect(to candidate: ICECandidate) -> Bool {
    guard configuration.transportPolicy == .all, candidate.transport == .tcpPassive,
      candidate.kind != .relayed
    else { return false }
    return tcpAttempts.count < ICELimits.tcpConnectionsMax
      || tcpAttempts.contains { $0.remote == candidate.address }
  }

  mutating func noteTCPCandidate(at remote: TransportAddress) {
    guard !tcpAttempts.contains(where: { $0.remote == remote }) else { return }
    tcpAttempts.append(TCPAttempt(remote: remote))
  }

  /// The connection that is to be asked for next, and our address for it.
  private var nextTCPAttempt: (index: Int, from: IPAddress)? {
    guard mayUseStreams else { return nil }
    for index in tcpAttempts.indices {
      guard case .wanted = tcpAttempts[index].state else { continue }
      let local = localCandidates.first { local in
        local.candidate.kind == .host && local.connectedRemote == nil
          && Route(sendingFrom: local.socket, to: tcpAttempts[index].remote) != nil
      }
      if let local { return (index, local.socket.address.ip) }
    }
    return nil
  }

  /// Streams are worth their trouble while nothing works, or only what costs more.
  private var mayUseStreams: Bool {
    !checklist.pairs.contains { pair in
      pair.id.generation == generation && pair.isValid && !pair.isSilent && pair.cost <= .stream
    }
  }

  var hasTCPToAskFor: Bool { nextTCPAttempt != nil }

  /// Asks for the next connection; returns whether there was one.
  mutating func askForTCPConnection() -> Bool {
    guard let (index, from) = nextTCPAttempt else { return false }
    tcpAttempts[index].state = .asked
    emit(.tcpConnectionWanted(from: from, to: tcpAttempts[index].remote))
    return true
  }

  /// Takes a TCP connection that was asked for and stands (RFC 6544 §7.1). Others are ignored.
  public mutating func addTCPConnection(
    _ socket: LocalSocket, to remote: TransportAddress, at now: Instant
  ) {
    guard let index = tcpAttempts.firstIndex(where: { $0.remote == remote }),
      case .asked = tcpAttempts[index].state,
      !localCandidates.contains(where: { $0.socket.id == socket.id })
    else { return }
    tcpAttempts[index].state = .connected
    let ip = socket.address.ip
    // RFC 6544 §4.2: the direction preference of active candidates is 6, in the upper three bits.
    let preference = 6 << 13 | hostPreference(for: ip) >> 3
    let candidate = ICECandidate(
      foundation: foundation(.host, base: ip, isTCP: true), transport: .tcpActive,
      priority: ICECandidate.priority(
        typePreference: ICECandidate.tcpHostTypePreference, localPreference: preference, component: 1),
      host: .ip(ip), port: Self.discardPort, kind: .host, usernameFragment: localCredentials.usernameFragment)
    add(
      LocalCandidate(
        candidate: candidate, socket: socket, localPreference: preference, connectedRemote: remote),
      at: now)
  }

  /// The port that active candidates name, since theirs is not known beforehand (RFC 6544 §4.5).
  private static var discardPort: UInt16 { 9 }

  /// Notes that a TCP connection that was asked for could not be made, or is lost.
  public mutating func tcpConnectionFailed(to remote: TransportAddress, at now: Instant) {
    noteTCPLoss(to: remote)
    if let local = localCandidates.first(where: { $0.connectedRemote == remote }) {
      removeLocalSocket(id: local.socket.id, at: now)
    }
  }

  mutating func noteTCPLoss(to remote: TransportAddress) {
    guard let index = tcpAttempts.firstIndex(where: { $0.remote == remote }) else { return }
    tcpAttempts[index].state = .failed
  }
}
