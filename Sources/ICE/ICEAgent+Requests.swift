// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Receiving of datagrams, and answering the peer's checks (RFC 8445 §7.3).
extension ICEAgent {
  /// Takes a STUN datagram that came by a route. What is malformed, forged or late is counted and dropped.
  public mutating func receive(_ datagram: RawSpan, on received: Route, at now: Instant) {
    // An agent that failed hears of a restart by checks for the session that it prepared.
    guard isActive || (connectionState == .failed && preparedSession != nil) else {
      drops[.inactive] += 1
      return
    }
    guard STUNPeek.isSTUN(datagram) else {
      drops[.notSTUN] += 1
      return
    }
    guard localCandidates.contains(where: { $0.socket == received.socket }) else {
      drops[.unknownSocket] += 1
      return
    }
    guard let route = Route(sendingFrom: received.socket, to: received.remote) else {
      drops[.unsendableSource] += 1
      return
    }
    do throws(ParseError) {
      let message = try STUNMessage(parsing: datagram)
      handle(message, on: route, at: now)
    } catch {
      drops[.malformed] += 1
    }
  }

  private mutating func handle(_ message: borrowing STUNMessage, on route: Route, at now: Instant) {
    guard message.method == .binding else {
      drops[.unknownMethod] += 1
      return
    }
    switch message.messageClass {
    case .request: handleRequest(message, on: route, at: now)
    case .indication: drops[.indication] += 1
    case .successResponse, .errorResponse: handleResponse(message, on: route, at: now)
    }
  }

  private mutating func handleRequest(_ message: borrowing STUNMessage, on route: Route, at now: Instant) {
    let (addressee, failure) = authenticate(message)
    if let failure {
      drops[failure.cause] += 1
      respond(failure.error, to: message.transactionID, on: route, at: now)
      return
    }
    guard let addressee, let session = addressedSession(addressee), isActive || addressee == .prepared else {
      drops[.inactive] += 1
      return
    }
    let unknown = message.unknownRequiredAttributes(
      known: STUNAttributeType.knownToICE, limit: ICELimits.unknownAttributesListedMax)
    guard unknown.isEmpty else {
      drops[.unknownAttribute] += 1
      respond(
        .unknownAttribute, to: message.transactionID, unknown: unknown, key: session.localKey, on: route,
        at: now)
      return
    }
    // Roles are the current session's affair.
    guard addressee != .current || resolveRoleConflict(with: message, at: now) else {
      respond(.roleConflict, to: message.transactionID, key: session.localKey, on: route, at: now)
      return
    }
    respondWithSuccess(to: message.transactionID, key: session.localKey, on: route)
    let check = EarlyCheck(
      route: route, priority: message.priority,
      remoteFragment: remoteFragment(of: message, localFragment: session.local.usernameFragment),
      nominates: message.usesCandidate)
    switch addressee {
    case .current: notePeerCheck(check, at: now)
    case .prepared: noteEarlyCheck(check)
    case .previous: notePreviousCheck(on: route, at: now)
    }
  }

  /// Which of our sessions a request is for.
  private enum Addressee: CaseIterable {
    case current
    case prepared
    case previous
  }

  private func addressedSession(_ addressee: Addressee) -> ICESession? {
    switch addressee {
    case .current: session
    case .prepared: preparedSession
    case .previous: previousSession
    }
  }

  /// Finds the session whose credentials a request has (RFC 8489 §9.1.3), or what is wrong with them.
  private func authenticate(
    _ message: borrowing STUNMessage
  ) -> (addressee: Addressee?, failure: (error: STUNErrorCode, cause: ICEDropCause)?) {
    guard message.hasIntegrity, let username = message.username else {
      return (nil, (.badRequest, .missingIntegrity))
    }
    for addressee in Addressee.allCases {
      guard let session = addressedSession(addressee) else { continue }
      let expected = Array("\(session.local.usernameFragment):".utf8)
      guard username.byteCount > expected.count,
        username.extracting(first: expected.count).isEqualInConstantTime(to: expected.rawSpan)
      else { continue }
      if let remote = session.remote {
        let claimed = username.extracting(droppingFirst: expected.count)
        let actual = Array(remote.usernameFragment.utf8)
        guard claimed.isEqualInConstantTime(to: actual.rawSpan) else { continue }
      }
      guard message.isAuthentic(with: session.localKey) else {
        return (nil, (.unauthenticated, .wrongIntegrity))
      }
      return (addressee, nil)
    }
    return (nil, (.unauthenticated, .wrongUsername))
  }

  /// The peer's user fragment as an authentic request names it.
  private func remoteFragment(of message: borrowing STUNMessage, localFragment: String) -> String? {
    guard let username = message.username else { return nil }
    let colon = localFragment.utf8.count
    let remote = [UInt8](copying: username.extracting(droppingFirst: colon + 1))
    guard remote.count <= ICELimits.usernameFragmentByteCountMax else { return nil }
    return String(validating: remote, as: UTF8.self)
  }

  /// Compares tie-breakers where both claim one role (RFC 8445 §7.3.1.1); returns false if the peer is to
  /// yield.
  private mutating func resolveRoleConflict(
    with message: borrowing STUNMessage, at now: Instant
  ) -> Bool {
    switch role {
    case .controlling:
      guard let theirs = message.controllingTieBreaker else { return true }
      if tieBreaker >= theirs { return false }
    case .controlled:
      guard let theirs = message.controlledTieBreaker else { return true }
      if tieBreaker < theirs { return false }
    }
    return yieldRole(at: now)
  }

  /// Takes the other role because of a conflict, unless that happens too often.
  mutating func yieldRole(at now: Instant) -> Bool {
    guard roleChanges.allows(at: now) else {
      drops[.roleConflictLimited] += 1
      return false
    }
    setRole(role.opposite)
    return true
  }

  /// Takes a role: from the description, or because of a conflict. Priorities change with it, and a
  /// nomination that is under way ends (RFC 8445 §7.3.1.1).
  public mutating func setRole(_ role: ICERole) {
    guard role != self.role else { return }
    self.role = role
    for index in checklist.pairs.indices {
      switch checklist[index].nomination {
      case .wanted, .inFlight, .requestedByPeer: checklist[index].nomination = .none
      case .none, .done: break
      }
    }
    checklist.updatePriorities(role: role)
  }

  private mutating func respondWithSuccess(
    to id: STUNTransactionID, key: STUNIntegrityKey, on route: Route
  ) {
    var builder = STUNMessageBuilder(.successResponse, transactionID: id)
    builder.append(.xorMappedAddress, route.remote)
    builder.appendIntegrity(with: key)
    builder.appendFingerprint()
    enqueue(builder.bytes, on: route)
  }

  /// Answers with an error, authenticated where the request was.
  private mutating func respond(
    _ error: STUNErrorCode, to id: STUNTransactionID, unknown: [STUNAttributeType] = [],
    key: STUNIntegrityKey? = nil, on route: Route, at now: Instant
  ) {
    guard errorResponses.allows(at: now) else {
      drops[.errorResponseRateLimited] += 1
      return
    }
    var builder = STUNMessageBuilder(.errorResponse, transactionID: id)
    builder.append(error)
    if !unknown.isEmpty { builder.append(unknownAttributes: unknown) }
    if let key { builder.appendIntegrity(with: key) }
    builder.appendFingerprint()
    enqueue(builder.bytes, on: route)
  }

  /// Remembers where an authentic check came from, checks back and notes a nomination (RFC 8445 §7.3.1.3 to
  /// §7.3.1.5).
  mutating func notePeerCheck(_ check: EarlyCheck, at now: Instant) {
    let id = PairID(route: check.route, generation: generation)
    let isFirst = !(checklist.index(of: id).map { checklist[$0].hasRemoteChecked } ?? false)
    if checklist.index(of: id) == nil { learnPair(of: check, at: now) }
    guard let index = checklist.index(of: id) else { return }
    checklist[index].requestsReceived += 1
    checklist[index].responsesSent += 1
    checklist[index].hasRemoteChecked = true
    noteUnexpectedCheck(on: index, at: now)
    switch checklist[index].state {
    case .idle, .frozen, .waiting, .failed: trigger(at: index)
    // Later ones add nothing to what the first one told: the check in progress repeats itself. What the peer
    // has chosen is worth more than the next step of an exponential back-off.
    case .inProgress:
      let lastRequestAt = checklist[index].lastRequestAt ?? now
      let isSlow = now - lastRequestAt >= configuration.retransmissionTimeoutMin
      if isFirst || (check.nominates && isSlow) { trigger(at: index) }
    case .succeeded: break
    }
    if check.nominates, role == .controlled { notePeerNomination(of: index, at: now) }
    considerNomination(at: now)
    runChecks(at: now)
    updateState()
  }

  /// A check of the session before the last restart: the peer keeps its consent until it has a new path.
  private mutating func notePreviousCheck(on route: Route, at now: Instant) {
    if timers[.previousSession] != nil { timers[.previousSession] = now + configuration.restartGrace }
    let previous = checklist.pairs.firstIndex { $0.route == route && $0.id.generation != generation }
    guard let previous else { return }
    checklist[previous].requestsReceived += 1
    checklist[previous].responsesSent += 1
  }

  private mutating func trigger(at index: Int) {
    guard checklist[index].mayBeChecked else { return }
    if !checklist[index].isInProgress { checklist[index].state = .waiting }
    checklist.trigger(checklist[index].id)
  }

  /// Adds the pair that a check came by, with a peer-reflexive candidate if its source is new
  /// (RFC 8445 §7.3.1.3).
  private mutating func learnPair(of check: EarlyCheck, at now: Instant) {
    let route = check.route
    guard let local = localCandidates.first(where: { $0.socket == route.socket }) else { return }
    let known = remoteCandidates.first { candidate in
      local.mayPair(with: candidate)
        && candidate.address.flatMap { Route(sendingFrom: route.socket, to: $0) } == route
    }
    if let known {
      _ = insertPair(local, known, route, hasRemoteChecked: true, at: now)
      return
    }
    // What comes by a connection comes from whom it was made to.
    guard local.connectedRemote == nil else { return }
    let learnt = ICECandidate(
      foundation: "prflx\(nextFoundation)",
      priority: check.priority
        ?? ICECandidate.priority(kind: .peerReflexive, localPreference: 0, component: 1),
      host: .ip(route.remote.ip), port: route.remote.port, kind: .peerReflexive,
      usernameFragment: check.remoteFragment)
    nextFoundation += 1
    guard remember(learnt) else { return }
    _ = insertPair(local, learnt, route, hasRemoteChecked: true, at: now)
  }
}
