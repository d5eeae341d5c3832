// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The peer's credentials and candidates (RFC 8445 §5.3, RFC 8838).
extension ICEAgent {
  /// Takes the peer's user fragment and password from its first description. Checks that came before are
  /// followed by our own at once. ``restart(remote:at:)`` takes later ones.
  public mutating func setRemoteCredentials(_ credentials: ICECredentials, at now: Instant) {
    guard credentials.areUsable else {
      drops[.invalidCredentials] += 1
      return
    }
    guard isActive, credentials != session.remote else { return }
    session.setRemote(credentials)
    let fragment = credentials.usernameFragment
    let strangers = remoteCandidates.filter { ($0.usernameFragment ?? fragment) != fragment }
    drops[.candidateGeneration] += UInt64(strangers.count)
    remoteCandidates.removeAll { strangers.contains($0) }
    checklist.removeAll { strangers.contains($0.remote) }
    refreshWelcomeRoutes()
    if sendPair == nil { armPatience(at: now) }
    scheduleChecks(at: now)
    updateState()
  }

  /// Takes a candidate from the peer's description or a trickled one (RFC 8838 §10), before or after its
  /// credentials. What cannot be checked is counted and left alone; what belongs to another session is kept for
  /// a restart that may bring it.
  public mutating func addRemoteCandidate(_ candidate: ICECandidate, at now: Instant) {
    guard connectionState != .closed else { return }
    guard isOfSession(candidate) else {
      drops[.candidateGeneration] += 1
      if futureCandidates.count >= ICELimits.futureCandidatesMax { futureCandidates.removeFirst() }
      futureCandidates.append(candidate)
      return
    }
    guard isActive else { return }
    guard candidate.component == 1 else {
      drops[.candidateComponent] += 1
      return
    }
    switch candidate.host {
    case .name(let name): addNamedCandidate(candidate, name: name, at: now)
    case .ip: addRemoteCandidateWithAddress(candidate, at: now)
    }
  }

  private func isOfSession(_ candidate: ICECandidate) -> Bool {
    guard let fragment = candidate.usernameFragment, let remote = session.remote else { return true }
    return fragment == remote.usernameFragment
  }

  /// Adds a candidate of the current session whose address is known: a literal one, or that of a name.
  mutating func addRemoteCandidateWithAddress(_ candidate: ICECandidate, at now: Instant) {
    guard let address = usableAddress(of: candidate) else { return }
    let twin = remoteCandidates.firstIndex {
      $0.address == address && $0.transport == candidate.transport
    }
    if let twin {
      let known = remoteCandidates[twin]
      guard known.kind == .peerReflexive, candidate.kind != .peerReflexive else { return }
      remoteCandidates[twin] = candidate
      checklist.replace(known, with: candidate, role: role)
      return
    }
    guard remember(candidate) else { return }
    if candidate.transport == .tcpPassive { noteTCPCandidate(at: address) }
    for local in localCandidates { formPair(local, candidate, at: now) }
    scheduleChecks(at: now)
    // A candidate in the midst of a call: the peer may have lost the path before we miss an answer on it.
    hastenConsentCheck(at: now)
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
    guard candidate.transport == .udp || mayConnect(to: candidate) else {
      drops[.candidateTransport] += 1
      return nil
    }
    guard let address = candidate.address, address.mayBeChecked else {
      drops[.candidateAddress] += 1
      return nil
    }
    return address
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
}

/// The pairs that follow from candidates (RFC 8445 §6.1.2).
extension ICEAgent {
  mutating func formPairs(of local: LocalCandidate, at now: Instant) {
    for remote in remoteCandidates { formPair(local, remote, at: now) }
  }

  /// Adds the pair of two candidates to the checklist where data can be sent between them and no pair of the
  /// same base and address exists (RFC 8445 §6.1.2.2, §6.1.2.4).
  mutating func formPair(_ local: LocalCandidate, _ remote: ICECandidate, at now: Instant) {
    guard local.mayPair(with: remote), let address = remote.address,
      let route = Route(sendingFrom: local.socket, to: address),
      checklist.index(of: PairID(route: route, generation: generation)) == nil
    else { return }
    _ = insertPair(local, remote, route, hasRemoteChecked: false, at: now)
    extendPatience(at: now)
  }

  /// Adds a pair of the current session that is not on the checklist; returns whether there was room.
  mutating func insertPair(
    _ local: LocalCandidate, _ remote: ICECandidate, _ route: Route, hasRemoteChecked: Bool, at now: Instant
  ) -> Bool {
    var pair = CandidatePair(
      local: local, remote: remote, id: PairID(route: route, generation: generation))
    pair.updatePriority(role: role)
    pair.hasRemoteChecked = hasRemoteChecked
    if hasRemoteChecked {
      pair.state = .waiting
    } else {
      pair.state = isWorthChecking(pair) ? checklist.initialState(for: pair) : .idle
    }
    let hadRoom = checklist.insert(pair, keeping: [selectedPair, sendPair].compactMap { $0 }, at: now)
    if hadRoom {
      refreshWelcomeRoutes()
    } else {
      drops[.pairLimit] += 1
    }
    return hadRoom
  }

  mutating func refreshWelcomeRoutes() {
    welcomeRoutes = checklist.pairs.filter(\.isWelcome).map(\.route)
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
