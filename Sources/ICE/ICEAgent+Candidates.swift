// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Candidates, credentials and the pairs that follow from them (RFC 8445 §5.1, §6.1.2; RFC 8838).
extension ICEAgent {
  /// Adds the host candidate of a bound socket and returns what the peer is to be told (RFC 8445 §5.1.1.1).
  ///
  /// A socket id that is known already returns its candidate again. Under the policy `relay` there is none:
  /// the socket stays unused, and what arrives on it unanswered.
  public mutating func addLocalCandidate(socket: LocalSocket, at now: Instant) -> ICECandidate? {
    guard configuration.transportPolicy == .all else { return nil }
    if let known = localCandidates.first(where: { $0.socket.id == socket.id }) { return known.candidate }
    let ip = socket.address.ip
    let localPreference = localPreference(for: ip)
    let candidate = ICECandidate(
      foundation: foundation(of: ip),
      priority: ICECandidate.priority(kind: .host, localPreference: localPreference, component: 1),
      host: .ip(ip), port: socket.address.port, kind: .host,
      usernameFragment: localCredentials.usernameFragment)
    let local = LocalCandidate(candidate: candidate, socket: socket, localPreference: localPreference)
    localCandidates.append(local)
    if isActive, selectedRoute == nil {
      for remote in remoteCandidates { formPair(local, remote, at: now) }
      scheduleChecks(at: now)
      updateState()
    }
    return candidate
  }

  /// Takes families in turns, IPv6 first (RFC 8421 §4); link-local and loopback addresses come last.
  private func localPreference(for ip: IPAddress) -> UInt16 {
    let siblings = localCandidates.filter { $0.socket.address.ip.family == ip.family }.count
    let order = 2 * min(siblings, 0xfff) + (ip.family == .ipv6 ? 0 : 1)
    let penalty = ip.isLoopback ? 0x8000 : ip.isLinkLocal ? 0x4000 : 0
    return UInt16(0xffff - penalty - order)
  }

  /// Equal for candidates of one kind and address (RFC 8445 §5.1.1.3).
  private mutating func foundation(of ip: IPAddress) -> String {
    if let sibling = localCandidates.first(where: { $0.socket.address.ip == ip }) {
      return sibling.candidate.foundation
    }
    defer { nextFoundation += 1 }
    return String(nextFoundation)
  }

  /// Forgets a socket that is gone and all pairs on it. Where that costs the connection, others are tried
  /// until patience ends.
  public mutating func removeLocalSocket(id: UInt32, at now: Instant) {
    localCandidates.removeAll { $0.socket.id == id }
    reflexiveLocalCandidates.removeAll { $0.socket.id == id }
    checklist.removeAll { $0.route.socket.id == id }
    validRoutes.removeAll { $0.socket.id == id }
    guard isActive else { return }
    if selectedRoute?.socket.id == id || sendRoute?.socket.id == id {
      selectedRoute = nil
      isNominationWaitOver = false
      for local in localCandidates {
        for remote in remoteCandidates { formPair(local, remote, at: now) }
      }
      armPatience(at: now)
    }
    updateSendRoute(at: now)
    considerNomination(at: now)
    runChecks(at: now)
    updateState()
  }

  /// Takes the peer's user fragment and password from its description. Checks that came before are followed
  /// by our own at once.
  public mutating func setRemoteCredentials(_ credentials: ICECredentials, at now: Instant) {
    guard credentials.areUsable else {
      drops[.invalidCredentials] += 1
      return
    }
    guard isActive, credentials != remoteCredentials else { return }
    remoteCredentials = credentials
    remoteKey = STUNIntegrityKey(password: credentials.password)
    let fragment = credentials.usernameFragment
    let strangers = remoteCandidates.filter { ($0.usernameFragment ?? fragment) != fragment }
    drops[.candidateGeneration] += UInt64(strangers.count)
    remoteCandidates.removeAll { strangers.contains($0) }
    checklist.removeAll { strangers.contains($0.remote) }
    validRoutes.removeAll { route in checklist.index(of: route) == nil }
    if sendRoute == nil { armPatience(at: now) }
    scheduleChecks(at: now)
    updateState()
  }

  /// Takes a candidate from the peer's description or a trickled one (RFC 8838 §10), before or after its
  /// credentials. What cannot be checked is counted and left alone.
  public mutating func addRemoteCandidate(_ candidate: ICECandidate, at now: Instant) {
    guard isActive, let address = usableAddress(of: candidate) else { return }
    if let index = remoteCandidates.firstIndex(where: { $0.address == address }) {
      guard remoteCandidates[index].kind == .peerReflexive, candidate.kind != .peerReflexive else { return }
      remoteCandidates[index] = candidate
      checklist.replaceRemote(at: address, with: candidate, role: role)
      return
    }
    guard remember(candidate), selectedRoute == nil else { return }
    for local in localCandidates { formPair(local, candidate, at: now) }
    scheduleChecks(at: now)
    updateState()
  }

  /// The peer has no more candidates: once all checks are done the connection is completed or, after
  /// patience, failed.
  public mutating func setEndOfRemoteCandidates(at now: Instant) {
    hasAllRemoteCandidates = true
    updateState()
  }

  /// The address to check, or `nil` with the reason counted.
  private mutating func usableAddress(of candidate: ICECandidate) -> TransportAddress? {
    var cause: ICEDropCause?
    if candidate.component != 1 {
      cause = .candidateComponent
    } else if candidate.transport != .udp {
      cause = .candidateTransport
    } else if let fragment = candidate.usernameFragment, let remoteCredentials,
      fragment != remoteCredentials.usernameFragment
    {
      cause = .candidateGeneration
    } else if candidate.address == nil {
      cause = .candidateName
    } else if let address = candidate.address, !address.mayBeChecked {
      cause = .candidateAddress
    }
    if let cause { drops[cause] += 1 }
    return cause == nil ? candidate.address : nil
  }

  /// Adds a remote candidate to the list if there is room; candidates without any pair make room.
  mutating func remember(_ candidate: ICECandidate) -> Bool {
    if remoteCandidates.count >= ICELimits.remoteCandidatesMax {
      let unused = remoteCandidates.firstIndex { remote in
        remote.kind == .peerReflexive && !checklist.pairs.contains { $0.remote == remote }
      }
      guard let unused else {
        drops[.candidateLimit] += 1
        return false
      }
      remoteCandidates.remove(at: unused)
    }
    remoteCandidates.append(candidate)
    return true
  }

  /// Adds the pair of two candidates to the checklist where data can be sent between them and no pair of the
  /// same base and address exists (RFC 8445 §6.1.2.2, §6.1.2.4).
  mutating func formPair(_ local: LocalCandidate, _ remote: ICECandidate, at now: Instant) {
    guard let address = remote.address, let route = Route(sendingFrom: local.socket, to: address),
      checklist.index(of: route) == nil
    else { return }
    _ = insertPair(local, remote, route, hasRemoteChecked: false, at: now)
  }

  /// Adds a pair whose route is not on the checklist; returns whether there was room.
  mutating func insertPair(
    _ local: LocalCandidate, _ remote: ICECandidate, _ route: Route, hasRemoteChecked: Bool, at now: Instant
  ) -> Bool {
    var pair = CandidatePair(local: local, remote: remote, route: route)
    pair.updatePriority(role: role)
    pair.hasRemoteChecked = hasRemoteChecked
    pair.state = hasRemoteChecked ? .waiting : checklist.initialState(for: pair)
    let hadRoom = checklist.insert(pair, keeping: selectedRoute ?? sendRoute, at: now)
    if hadRoom {
      validRoutes.removeAll { checklist.index(of: $0) == nil }
    } else {
      drops[.pairLimit] += 1
    }
    return hadRoom
  }
}

extension TransportAddress {
  /// Whether a description may make us send checks there: a unicast address and no port of a well-known
  /// service, as browsers hold it (80 and 443 at public addresses are where relays listen).
  var mayBeChecked: Bool {
    guard port != 0, !ip.isUnspecified, !ip.isMulticastOrBroadcast, !ip.isIPv4Mapped else { return false }
    return port >= 1024 || ((port == 80 || port == 443) && !ip.isPrivate)
  }
}

extension IPAddress {
  /// Whether the address belongs to the own host, link or site (RFC 1918, RFC 6598, RFC 4193).
  fileprivate var isPrivate: Bool {
    if isLoopback || isLinkLocal { return true }
    guard family == .ipv4 else { return high >> 57 == 0x7e }
    return low >> 24 == 10 || low >> 20 == 0xac1 || low >> 16 == 0xc0a8 || low >> 22 == 0x191
  }
}
