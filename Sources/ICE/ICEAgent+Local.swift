// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Our own candidates (RFC 8445 §5.1).
extension ICEAgent {
  /// What the peer is to be told of our addresses, under the user fragment of ``localCredentials``. Connections
  /// that we opened are not among them: whom they lead to learns of them by a check.
  public var signaledCandidates: [ICECandidate] {
    let reflexive = reflexiveLocalCandidates.filter { $0.candidate.kind == .serverReflexive }
    return (localCandidates + reflexive).map(\.candidate).filter { $0.transport == .udp }.map {
      underCurrentFragment($0)
    }
  }

  func underCurrentFragment(_ candidate: ICECandidate) -> ICECandidate {
    var candidate = candidate
    candidate.usernameFragment = localCredentials.usernameFragment
    return candidate
  }

  /// Adds the host candidate of a bound socket and returns what the peer is to be told (RFC 8445 §5.1.1.1).
  ///
  /// A socket id that is known already returns its candidate again. Under the policy `relay` there is none:
  /// the socket stays unused, and what arrives on it unanswered.
  public mutating func addLocalCandidate(socket: LocalSocket, at now: Instant) -> ICECandidate? {
    guard configuration.transportPolicy == .all else { return nil }
    if let known = localCandidates.first(where: { $0.socket.id == socket.id }) {
      return underCurrentFragment(known.candidate)
    }
    let preference = hostPreference(for: socket.address.ip)
    let candidate = ICECandidate(
      foundation: foundation(.host, base: socket.address.ip),
      priority: ICECandidate.priority(kind: .host, localPreference: preference, component: 1),
      host: .ip(socket.address.ip), port: socket.address.port, kind: .host,
      usernameFragment: localCredentials.usernameFragment)
    add(LocalCandidate(candidate: candidate, socket: socket, localPreference: preference), at: now)
    return candidate
  }

  /// Takes the address that a STUN server saw a socket at, and returns what the peer is to be told
  /// (RFC 8445 §5.1.1.2); `nil` where that adds nothing or policy hides it.
  ///
  /// It makes no pairs: checks leave from its base, which has them already (RFC 8445 §6.1.2.4).
  public mutating func addServerReflexiveCandidate(
    _ mapped: TransportAddress, base: LocalSocket, at now: Instant
  ) -> ICECandidate? {
    guard let local = localCandidates.first(where: { $0.socket == base && !$0.isRelayed }),
      mapped.port != 0, !mapped.ip.isUnspecified,
      !localCandidates.contains(where: { $0.candidate.address == mapped })
    else { return nil }
    let twin = reflexiveLocalCandidates.firstIndex {
      $0.socket == base && $0.candidate.address == mapped
    }
    if let twin, reflexiveLocalCandidates[twin].candidate.kind == .serverReflexive { return nil }
    let candidate = ICECandidate(
      foundation: foundation(.serverReflexive, base: base.address.ip),
      priority: ICECandidate.priority(
        kind: .serverReflexive, localPreference: local.localPreference, component: 1),
      host: .ip(mapped.ip), port: mapped.port, kind: .serverReflexive, relatedAddress: base.address,
      usernameFragment: localCredentials.usernameFragment)
    let reflexive = LocalCandidate(
      candidate: candidate, socket: base, localPreference: local.localPreference)
    if let twin {
      reflexiveLocalCandidates[twin] = reflexive
    } else {
      guard reflexiveLocalCandidates.count < ICELimits.reflexiveLocalCandidatesMax else { return nil }
      reflexiveLocalCandidates.append(reflexive)
    }
    return candidate
  }

  /// Adds an address that a TURN server relays for us, and returns what the peer is to be told
  /// (RFC 8445 §5.1.1.2).
  ///
  /// - Parameters:
  ///   - socket: stands for the relay; its address is the relayed one.
  ///   - mapped: the address that the server sees us at; the policy `relay` keeps it from the peer.
  ///   - transport: how we speak to the server.
  public mutating func addRelayedCandidate(
    socket: LocalSocket, mapped: TransportAddress?, over transport: TURNTransport, at now: Instant
  ) -> ICECandidate {
    if let known = localCandidates.first(where: { $0.socket.id == socket.id }) {
      return underCurrentFragment(known.candidate)
    }
    let ip = socket.address.ip
    let nowhere = TransportAddress(
      ip: ip.family == .ipv4 ? IPAddress(ipv4: 0) : IPAddress(ipv6High: 0, low: 0), port: 0)
    let preference = relayPreference(for: ip, over: transport)
    var candidate = ICECandidate(
      foundation: foundation(.relayed, base: ip, over: transport),
      priority: ICECandidate.priority(kind: .relayed, localPreference: preference, component: 1),
      host: .ip(ip), port: socket.address.port, kind: .relayed,
      relatedAddress: configuration.transportPolicy == .relay ? nowhere : mapped ?? nowhere,
      usernameFragment: localCredentials.usernameFragment)
    candidate.relayProtocol = transport
    add(LocalCandidate(candidate: candidate, socket: socket, localPreference: preference), at: now)
    return candidate
  }

  /// Adds a candidate with its pairs.
  mutating func add(_ local: LocalCandidate, at now: Instant) {
    localCandidates.append(local)
    guard isActive else { return }
    formPairs(of: local, at: now)
    scheduleChecks(at: now)
    updateState()
  }

  /// Takes families in turns, IPv6 first (RFC 8421 §4); link-local and loopback addresses come last.
  func hostPreference(for ip: IPAddress) -> UInt16 {
    let penalty = ip.isLoopback ? 0x8000 : ip.isLinkLocal ? 0x4000 : 0
    return UInt16(0xffff - penalty - order(of: ip, isRelayed: false))
  }

  /// The best way to the server first: datagrams before streams, what the server need not decrypt before what
  /// it must.
  private func relayPreference(for ip: IPAddress, over transport: TURNTransport) -> UInt16 {
    let penalty =
      switch transport {
      case .udp: 0
      case .dtls: 0x2000
      case .tcp: 0x4000
      case .tls: 0x6000
      }
    return UInt16(0xffff - penalty - order(of: ip, isRelayed: true))
  }

  private func order(of ip: IPAddress, isRelayed: Bool) -> Int {
    let siblings = localCandidates.count {
      $0.socket.address.ip.family == ip.family && $0.isRelayed == isRelayed
    }
    return 2 * min(siblings, 0xfff) + (ip.family == .ipv6 ? 0 : 1)
  }

  /// Equal for candidates of one kind, base address and transport (RFC 8445 §5.1.1.3).
  mutating func foundation(
    _ kind: ICECandidate.Kind, base: IPAddress, over transport: TURNTransport? = nil, isTCP: Bool = false
  ) -> String {
    let sibling = (localCandidates + reflexiveLocalCandidates).first {
      $0.candidate.kind == kind && $0.socket.address.ip == base && $0.candidate.relayProtocol == transport
        && ($0.connectedRemote != nil) == isTCP
    }
    if let sibling { return sibling.candidate.foundation }
    defer { nextFoundation += 1 }
    return String(nextFoundation)
  }

  /// Forgets a socket, connection or relay that is gone, and all pairs on it. Where that costs the connection,
  /// others are tried until patience ends.
  public mutating func removeLocalSocket(id: UInt32, at now: Instant) {
    for local in localCandidates where local.socket.id == id {
      if let remote = local.connectedRemote { noteTCPLoss(to: remote) }
    }
    localCandidates.removeAll { $0.socket.id == id }
    reflexiveLocalCandidates.removeAll { $0.socket.id == id }
    checklist.removeAll { $0.route.socket.id == id }
    refreshWelcomeRoutes()
    guard isActive else { return }
    if selectedPair?.route.socket.id == id || sendPair?.route.socket.id == id {
      if selectedPair?.route.socket.id == id { selectedPair = nil }
      isNominationWaitOver = false
      armPatience(at: now)
      resumeIdlePairs(at: now)
      seekAnotherPath(at: now)
    }
    updateSendRoute(at: now)
    considerNomination(at: now)
    runChecks(at: now)
    updateState()
  }
}
