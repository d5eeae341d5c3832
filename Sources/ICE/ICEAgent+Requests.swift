// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Receiving of datagrams, and answering the peer's checks (RFC 8445 §7.3).
extension ICEAgent {
  /// Takes a STUN datagram that came by a route. What is malformed, forged or late is counted and dropped.
  public mutating func receive(_ datagram: RawSpan, on received: Route, at now: Instant) {
    guard isActive else {
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
    if let (error, cause) = authenticationFailure(of: message) {
      drops[cause] += 1
      respond(error, to: message.transactionID, unknown: [], isAuthentic: false, on: route, at: now)
      return
    }
    let unknown = message.unknownRequiredAttributes(
      known: STUNAttributeType.knownToICE, limit: ICELimits.unknownAttributesListedMax)
    guard unknown.isEmpty else {
      drops[.unknownAttribute] += 1
      respond(
        .unknownAttribute, to: message.transactionID, unknown: unknown, isAuthentic: true, on: route, at: now)
      return
    }
    guard resolveRoleConflict(with: message) else {
      respond(.roleConflict, to: message.transactionID, unknown: [], isAuthentic: true, on: route, at: now)
      return
    }
    respondWithSuccess(to: message.transactionID, on: route)
    notePeerCheck(
      on: route, priority: message.priority, remoteFragment: remoteFragment(of: message),
      nominates: message.usesCandidate, at: now)
  }

  /// What is wrong with a request's credentials (RFC 8489 §9.1.3), or `nil`.
  private func authenticationFailure(
    of message: borrowing STUNMessage
  ) -> (error: STUNErrorCode, cause: ICEDropCause)? {
    guard message.hasIntegrity, let username = message.username else {
      return (.badRequest, .missingIntegrity)
    }
    let expected = Array("\(localCredentials.usernameFragment):".utf8)
    guard username.byteCount > expected.count,
      username.extracting(first: expected.count).isEqualInConstantTime(to: expected.rawSpan)
    else { return (.unauthenticated, .wrongUsername) }
    if let remoteCredentials {
      let claimed = username.extracting(droppingFirst: expected.count)
      let actual = Array(remoteCredentials.usernameFragment.utf8)
      guard claimed.isEqualInConstantTime(to: actual.rawSpan) else {
        return (.unauthenticated, .wrongUsername)
      }
    }
    guard message.isAuthentic(with: localKey) else { return (.unauthenticated, .wrongIntegrity) }
    return nil
  }

  /// The peer's user fragment as an authentic request names it.
  private func remoteFragment(of message: borrowing STUNMessage) -> String? {
    guard let username = message.username else { return nil }
    let colon = localCredentials.usernameFragment.utf8.count
    let remote = [UInt8](copying: username.extracting(droppingFirst: colon + 1))
    guard remote.count <= ICELimits.usernameFragmentByteCountMax else { return nil }
    return String(validating: remote, as: UTF8.self)
  }

  /// Compares tie-breakers where both claim one role (RFC 8445 §7.3.1.1); returns false if the peer is to
  /// yield.
  private mutating func resolveRoleConflict(with message: borrowing STUNMessage) -> Bool {
    switch role {
    case .controlling:
      guard let theirs = message.controllingTieBreaker else { return true }
      if tieBreaker >= theirs { return false }
    case .controlled:
      guard let theirs = message.controlledTieBreaker else { return true }
      if tieBreaker < theirs { return false }
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

  private mutating func respondWithSuccess(to id: STUNTransactionID, on route: Route) {
    var builder = STUNMessageBuilder(.successResponse, transactionID: id)
    builder.append(.xorMappedAddress, route.remote)
    builder.appendIntegrity(with: localKey)
    builder.appendFingerprint()
    enqueue(builder.bytes, on: route)
  }

  private mutating func respond(
    _ error: STUNErrorCode, to id: STUNTransactionID, unknown: [STUNAttributeType], isAuthentic: Bool,
    on route: Route, at now: Instant
  ) {
    guard errorResponses.allows(at: now) else {
      drops[.errorResponseRateLimited] += 1
      return
    }
    var builder = STUNMessageBuilder(.errorResponse, transactionID: id)
    builder.append(error)
    if !unknown.isEmpty { builder.append(unknownAttributes: unknown) }
    if isAuthentic { builder.appendIntegrity(with: localKey) }
    builder.appendFingerprint()
    enqueue(builder.bytes, on: route)
  }

  /// Remembers where an authentic check came from, checks back and notes a nomination (RFC 8445 §7.3.1.3 to
  /// §7.3.1.5).
  private mutating func notePeerCheck(
    on route: Route, priority: UInt32?, remoteFragment: String?, nominates: Bool, at now: Instant
  ) {
    if checklist.index(of: route) == nil {
      learnPair(on: route, priority: priority, remoteFragment: remoteFragment, at: now)
    }
    guard let index = checklist.index(of: route) else { return }
    checklist[index].requestsReceived += 1
    checklist[index].responsesSent += 1
    let isFirst = !checklist[index].hasRemoteChecked
    checklist[index].hasRemoteChecked = true
    switch checklist[index].state {
    case .frozen, .waiting, .failed: trigger(at: index)
    // Later ones add nothing to what the first one told: the check in progress repeats itself.
    case .inProgress: if isFirst { trigger(at: index) }
    case .succeeded: break
    }
    if nominates, role == .controlled { notePeerNomination(of: index, at: now) }
    considerNomination(at: now)
    runChecks(at: now)
    updateState()
  }

  private mutating func trigger(at index: Int) {
    guard checklist[index].checkRequestsSent < ICELimits.requestsPerPairMax else { return }
    if !checklist[index].isInProgress { checklist[index].state = .waiting }
    checklist.trigger(checklist[index].route)
  }

  /// Adds the pair that a check came by, with a peer-reflexive candidate if its source is new
  /// (RFC 8445 §7.3.1.3).
  private mutating func learnPair(
    on route: Route, priority: UInt32?, remoteFragment: String?, at now: Instant
  ) {
    guard let local = localCandidates.first(where: { $0.socket == route.socket }) else { return }
    let known = remoteCandidates.first { candidate in
      candidate.address.flatMap { Route(sendingFrom: route.socket, to: $0) } == route
    }
    if let known {
      _ = insertPair(local, known, route, hasRemoteChecked: true, at: now)
      return
    }
    let learnt = ICECandidate(
      foundation: "prflx\(nextFoundation)",
      priority: priority ?? ICECandidate.priority(kind: .peerReflexive, localPreference: 0, component: 1),
      host: .ip(route.remote.ip), port: route.remote.port, kind: .peerReflexive,
      usernameFragment: remoteFragment)
    nextFoundation += 1
    guard remember(learnt) else { return }
    _ = insertPair(local, learnt, route, hasRemoteChecked: true, at: now)
  }
}
