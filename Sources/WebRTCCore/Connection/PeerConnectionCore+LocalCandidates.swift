// SPDX-License-Identifier: Apache-2.0

public import ICE
import SDP
public import SansIO

/// Our own candidates: whoever drives the connection finds them, ICE uses them, the peer hears of them.
///
/// Those that are known when a description is written stand in it, under its user fragment; later ones come as
/// ``Event/localCandidate(_:)`` as soon as a description is set.
extension PeerConnectionCore {
  // MARK: What was found

  /// Adds a bound socket as a host candidate (RFC 8445 §5.1.1.1), also when the connection stands.
  public mutating func addLocalSocket(_ socket: LocalSocket, at now: Instant) {
    guard !isClosed else { return }
    _ = ice.addLocalCandidate(socket: socket, at: now)
    localCandidatesChanged(at: now)
  }

  /// Adds the address that a STUN server sees a socket at (RFC 8445 §5.1.1.2).
  public mutating func addServerReflexiveAddress(
    _ mapped: TransportAddress, base: LocalSocket, at now: Instant
  ) {
    guard !isClosed else { return }
    _ = ice.addServerReflexiveCandidate(mapped, base: base, at: now)
    localCandidatesChanged(at: now)
  }

  /// Adds an address that a TURN server relays for us. Datagrams to and from it name `socket` in their routes; the
  /// driver wraps them.
  ///
  /// - Parameter mapped: where the server sees us, if it is to be told.
  public mutating func addRelay(
    _ socket: LocalSocket, mapped: TransportAddress?, over transport: TURNTransport, at now: Instant
  ) {
    guard !isClosed else { return }
    _ = ice.addRelayedCandidate(socket: socket, mapped: mapped, over: transport, at: now)
    localCandidatesChanged(at: now)
  }

  /// Adds a TCP connection that ``Event/tcpConnectionWanted(from:to:)`` asked for and that stands (RFC 6544 §7.1).
  public mutating func addTCPConnection(_ socket: LocalSocket, to remote: TransportAddress, at now: Instant) {
    guard !isClosed else { return }
    ice.addTCPConnection(socket, to: remote, at: now)
    advance(at: now)
  }

  /// Notes that a TCP connection could not be made.
  public mutating func tcpConnectionFailed(to remote: TransportAddress, at now: Instant) {
    guard !isClosed else { return }
    ice.tcpConnectionFailed(to: remote, at: now)
    advance(at: now)
  }

  /// Takes a socket, a relay or a TCP connection away that is gone, and all paths over it.
  public mutating func removeLocalSocket(id: UInt32, at now: Instant) {
    guard !isClosed else { return }
    ice.removeLocalSocket(id: id, at: now)
    forgetAnnouncements()
    advance(at: now)
  }

  /// Answers ``Event/nameNeedsResolving(_:)``.
  ///
  /// - Parameter addresses: what the name stands for; none if that could not be found out.
  public mutating func resolved(name: String, to addresses: [IPAddress], at now: Instant) {
    guard !isClosed else { return }
    ice.resolved(name: name, to: addresses, at: now)
    advance(at: now)
  }

  /// Says that all gathering is done: host addresses, servers' answers and relays. Descriptions written from now on
  /// say so too (RFC 8840 §8.2).
  ///
  /// What is added afterwards, after a change of interfaces, is used and told to the peer all the same.
  public mutating func setEndOfLocalCandidates(at now: Instant) {
    guard !isClosed, iceGatheringState != .complete else { return }
    change(to: .complete)
    emit(.endOfLocalCandidates)
  }

  private mutating func localCandidatesChanged(at now: Instant) {
    if iceGatheringState == .new { change(to: .gathering) }
    announceLocalCandidates()
    advance(at: now)
  }

  private mutating func change(to state: ICEGatheringState) {
    iceGatheringState = state
    emit(.iceGatheringStateChanged(state))
  }

  // MARK: What the peer knows

  /// Our candidates as a description or an event names them, in one ICE generation.
  func localCandidates(of credentials: ICECredentials) -> [ICECandidate] {
    ice.signaledCandidates.map { candidate in
      var candidate = candidate
      candidate.usernameFragment = credentials.usernameFragment
      return candidate
    }
  }

  /// Reports the candidates that stand neither in the description in force nor in an earlier event of its generation.
  mutating func announceLocalCandidates() {
    guard let section = announcedSection else { return }
    let generation = restart.isOffered ? restart.prepared ?? credentials : credentials
    for candidate in localCandidates(of: generation) where !announcedCandidates.contains(candidate) {
      announcedCandidates.append(candidate)
      emit(
        .localCandidate(
          ICECandidateInit(
            candidate: candidate.attributeValue, sdpMid: section.mid, sdpMLineIndex: section.mLineIndex,
            usernameFragment: generation.usernameFragment)))
    }
  }

  /// The candidates of our description that is being set need no event.
  mutating func noteCandidatesInDescription() {
    announcedCandidates += descriptions.createdCandidates.filter { !announcedCandidates.contains($0) }
  }

  /// The m-line that candidates are for: the transport's, before there is one the first that we offer.
  private var announcedSection: (mid: String, mLineIndex: Int)? {
    if let transport { return (transport.mid, transport.mLineIndex) }
    guard let offer = descriptions.pendingLocal, let index = offer.media.firstIndex(where: { !$0.isRejected })
    else { return nil }
    return (offer.media[index].mid ?? String(index), index)
  }

  /// Drops what was reported under generations that ended, or of sockets that are gone.
  mutating func forgetAnnouncements() {
    let generations = [credentials, restart.prepared].compactMap { $0 }
    let valid = generations.flatMap { localCandidates(of: $0) }
    announcedCandidates.removeAll { !valid.contains($0) }
  }
}
