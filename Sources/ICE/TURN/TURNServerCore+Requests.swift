// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Why a request is refused, and how the answer is protected.
struct TURNRefusal: Error {
  let code: STUNErrorCode
  /// The key of the requester, once it has proved that it has it.
  var key: STUNIntegrityKey?
  var unknownAttributes: [STUNAttributeType] = []

  init(_ code: STUNErrorCode, key: STUNIntegrityKey? = nil, unknownAttributes: [STUNAttributeType] = []) {
    self.code = code
    self.key = key
    self.unknownAttributes = unknownAttributes
  }
}

/// Whoever made a request, proved by its credentials.
struct TURNRequester: Sendable {
  let username: String
  let expiry: Int64
  let identity: String
  let key: STUNIntegrityKey
}

extension STUNAttributeType {
  /// The comprehension-required attributes that our server understands or refuses by their own codes.
  static let knownToTURNServer: Set<STUNAttributeType> = [
    .username, .messageIntegrity, .messageIntegritySHA256, .errorCode, .unknownAttributes, .xorMappedAddress,
    .channelNumber, .lifetime, .xorPeerAddress, .data, .realm, .nonce, .xorRelayedAddress,
    .requestedAddressFamily, .evenPort, .requestedTransport, .reservationToken,
  ]
}

/// Requests of clients and the answers to them (RFC 8489 §9.2.4, RFC 8656 §7 to §12).
extension TURNServerCore {
  mutating func handleRequest(_ message: borrowing STUNMessage, from source: Source, at now: Instant) {
    do throws(TURNRefusal) {
      switch message.method {
      case .binding: try handleBinding(message, from: source, at: now)
      case .allocate: try handleAllocate(message, from: source, at: now)
      case .refresh: try handleRefresh(message, from: source, at: now)
      case .createPermission: try handleCreatePermission(message, from: source, at: now)
      case .channelBind: try handleChannelBind(message, from: source, at: now)
      default: throw TURNRefusal(.badRequest)
      }
    } catch {
      count(error, isChallenge: !message.hasIntegrity || error.code == .staleNonce)
      answer(error, method: message.method, transactionID: message.transactionID, to: source, at: now)
    }
  }

  private mutating func count(_ refusal: TURNRefusal, isChallenge: Bool) {
    switch refusal.code {
    case .unauthenticated, .staleNonce: drops[isChallenge ? .challenged : .unauthenticated] += 1
    default: drops[.refused] += 1
    }
  }

  /// Answers with the source's address (RFC 8489 §3). The answer is no longer than 1.6 times the request, or it
  /// counts as an error does (T1).
  private mutating func handleBinding(
    _ message: borrowing STUNMessage, from source: Source, at now: Instant
  ) throws(TURNRefusal) {
    try refuseUnknownAttributes(of: message, key: nil)
    var builder = STUNMessageBuilder(.successResponse, .binding, transactionID: message.transactionID)
    builder.append(.xorMappedAddress, source.route.remote)
    if message.hasFingerprint { builder.appendFingerprint() }
    let isSmall = 10 * builder.bytes.count <= 16 * message.bytes.byteCount
    guard isSmall || mayAnswerUnauthenticated(source, at: now) else { return }
    enqueue(builder.bytes, to: source.route)
  }

  /// Whether a source that proved nothing may get another answer. A stream's source is who it says.
  private mutating func mayAnswerUnauthenticated(_ source: Source, at now: Instant) -> Bool {
    guard !source.isStream, !limiter.allows(source.route.remote.ip, at: now) else { return true }
    drops[.answerRateLimited] += 1
    return false
  }

  private func refuseUnknownAttributes(
    of message: borrowing STUNMessage, key: STUNIntegrityKey?
  ) throws(TURNRefusal) {
    let unknown = message.unknownRequiredAttributes(
      known: STUNAttributeType.knownToTURNServer, limit: ICELimits.unknownAttributesListedMax)
    guard unknown.isEmpty else {
      throw TURNRefusal(.unknownAttribute, key: key, unknownAttributes: unknown)
    }
  }

  /// The steps of RFC 8489 §9.2.4. The nonce is looked at before the integrity: it costs less, and whoever has
  /// it receives what is sent to its address.
  private func authenticate(
    _ message: borrowing STUNMessage, from source: Source, at now: Instant
  ) throws(TURNRefusal) -> TURNRequester {
    guard message.hasIntegrity else { throw TURNRefusal(.unauthenticated) }
    guard let username = message.usernameText, let realm = message.realm, let nonce = message.nonce else {
      throw TURNRefusal(.badRequest)
    }
    guard nonces.isValid(nonce, for: source.route.remote, at: now) else { throw TURNRefusal(.staleNonce) }
    guard realm == configuration.realm, let parts = TURNCredentials.parts(of: username) else {
      throw TURNRefusal(.unauthenticated)
    }
    let key = key(of: username, from: source)
    guard message.isAuthentic(with: key) else { throw TURNRefusal(.unauthenticated) }
    try refuseUnknownAttributes(of: message, key: key)
    return TURNRequester(username: username, expiry: parts.expiry, identity: parts.identity, key: key)
  }

  private func key(of username: String, from source: Source) -> STUNIntegrityKey {
    if let allocation = allocations[source.route], allocation.username == username { return allocation.key }
    return STUNIntegrityKey(
      username: username, realm: configuration.realm,
      password: TURNCredentials.password(for: username, secret: configuration.secret))
  }

  /// RFC 8656 §7.2. The time of the user name is looked at here only: an allocation that runs goes on.
  private mutating func handleAllocate(
    _ message: borrowing STUNMessage, from source: Source, at now: Instant
  ) throws(TURNRefusal) {
    let requester = try authenticate(message, from: source, at: now)
    let key = requester.key
    if let existing = allocations[source.route], existing.expiresAt > now {
      guard existing.transactionID == message.transactionID else {
        throw TURNRefusal(.allocationMismatch, key: key)
      }
      if existing.relayed != nil { answerAllocate(existing) }
      return
    }
    remove(source.route)
    let unixTime = configuration.unixTimeAtOrigin + (now - .zero)
    guard unixTime.nanoseconds / 1_000_000_000 < requester.expiry else {
      throw TURNRefusal(.unauthenticated, key: key)
    }
    let family = try requestedFamily(of: message, key: key)
    guard allocationsByIdentity[requester.identity, default: 0] < configuration.allocationsPerUserMax else {
      throw TURNRefusal(.allocationQuotaReached, key: key)
    }
    guard allocations.count < configuration.allocationsMax, actions.count < configuration.allocationsMax
    else {
      throw TURNRefusal(.insufficientCapacity, key: key)
    }
    let lifetimeSeconds = grantedLifetime(message.lifetimeSeconds)
    let (id, wantsFingerprint) = (message.transactionID, message.hasFingerprint)
    insert { relay in
      Allocation(
        relay: relay, source: source, username: requester.username, identity: requester.identity, key: key,
        family: family, transactionID: id, wantsFingerprint: wantsFingerprint,
        lifetimeSeconds: lifetimeSeconds,
        expiresAt: now + .seconds(Int64(lifetimeSeconds)))
    }
  }

  /// What a request for a relay asks for, where it is something that we have.
  private func requestedFamily(
    of message: borrowing STUNMessage, key: STUNIntegrityKey
  ) throws(TURNRefusal) -> IPAddress.Family {
    guard let transport = message.requestedTransport else { throw TURNRefusal(.badRequest, key: key) }
    guard transport == 17 else { throw TURNRefusal(.unsupportedTransport, key: key) }
    let wantsPair = message.value(of: .evenPort) != nil
    let hasToken = message.value(of: .reservationToken) != nil
    guard !wantsPair, !hasToken else { throw TURNRefusal(.insufficientCapacity, key: key) }
    var family = IPAddress.Family.ipv4
    if message.value(of: .requestedAddressFamily) != nil {
      guard let number = message.requestedAddressFamily, let named = IPAddress.Family(stunNumber: number)
      else {
        throw TURNRefusal(.addressFamilyNotSupported, key: key)
      }
      family = named
    }
    guard configuration.families.contains(family) else {
      throw TURNRefusal(.addressFamilyNotSupported, key: key)
    }
    return family
  }

  private func grantedLifetime(_ requested: UInt32?) -> UInt32 {
    let least = configuration.lifetimeSecondsMin
    return min(max(requested ?? least, least), configuration.lifetimeSecondsMax)
  }

  /// The user's own allocation on the way that a request came by.
  private func allocation(
    of requester: TURNRequester, from source: Source, at now: Instant
  ) throws(TURNRefusal) -> Allocation {
    guard let allocation = allocations[source.route], allocation.relayed != nil, allocation.expiresAt > now
    else { throw TURNRefusal(.allocationMismatch, key: requester.key) }
    guard allocation.username == requester.username else {
      throw TURNRefusal(.wrongCredentials, key: requester.key)
    }
    return allocation
  }

  /// RFC 8656 §8.
  private mutating func handleRefresh(
    _ message: borrowing STUNMessage, from source: Source, at now: Instant
  ) throws(TURNRefusal) {
    let requester = try authenticate(message, from: source, at: now)
    let allocation = try allocation(of: requester, from: source, at: now)
    if let number = message.requestedAddressFamily, number != allocation.family.stunNumber {
      throw TURNRefusal(.peerAddressFamilyMismatch, key: requester.key)
    }
    let isRelease = message.lifetimeSeconds == 0
    let seconds = isRelease ? 0 : grantedLifetime(message.lifetimeSeconds)
    if isRelease {
      remove(source.route)
    } else {
      allocations[source.route]?.expiresAt = now + .seconds(Int64(seconds))
      nextDeadline = Instant.earliest(nextDeadline, now + .seconds(Int64(seconds)))
    }
    answerSuccess(to: message, key: requester.key, source) { $0.append(.lifetime, seconds) }
  }

  /// RFC 8656 §10.2: all of the addresses or none.
  private mutating func handleCreatePermission(
    _ message: borrowing STUNMessage, from source: Source, at now: Instant
  ) throws(TURNRefusal) {
    let requester = try authenticate(message, from: source, at: now)
    let allocation = try allocation(of: requester, from: source, at: now)
    let limit = configuration.permissionsPerAllocationMax
    guard let peers = message.xorPeerAddresses(limit: limit), !peers.isEmpty else {
      throw TURNRefusal(.badRequest, key: requester.key)
    }
    for peer in peers { try refuse(peer.ip, for: allocation, isAllowed: isAllowed(peer.ip)) }
    try permit(Set(peers.map(\.ip)), for: allocation, at: now)
    answerSuccess(to: message, key: requester.key, source) { _ in }
  }

  /// RFC 8656 §12.2.
  private mutating func handleChannelBind(
    _ message: borrowing STUNMessage, from source: Source, at now: Instant
  ) throws(TURNRefusal) {
    let requester = try authenticate(message, from: source, at: now)
    let allocation = try allocation(of: requester, from: source, at: now)
    guard let number = message.channelNumber.flatMap(ChannelNumber.init(rawValue:)),
      let peer = message.xorPeerAddress
    else { throw TURNRefusal(.badRequest, key: requester.key) }
    try refuse(peer.ip, for: allocation, isAllowed: isAllowed(peer))
    var (channels, numbers) = (allocation.channels, allocation.numbers)
    if channels.count >= configuration.channelsPerAllocationMax {
      channels = channels.filter { $0.value.expiresAt > now }
    }
    if let bound = channels[number], bound.expiresAt <= now { channels[number] = nil }
    numbers = numbers.filter { channels[$0.value]?.peer == $0.key }
    guard channels[number].map({ $0.peer == peer }) ?? true,
      numbers[peer].map({ $0 == number || (channels[$0]?.expiresAt ?? now) <= now }) ?? true
    else { throw TURNRefusal(.badRequest, key: requester.key) }
    if let old = numbers[peer], old != number { channels[old] = nil }
    guard channels[number] != nil || channels.count < configuration.channelsPerAllocationMax else {
      throw TURNRefusal(.insufficientCapacity, key: requester.key)
    }
    try permit([peer.ip], for: allocation, at: now)
    channels[number] = Channel(peer: peer, expiresAt: now + .seconds(600))
    numbers[peer] = number
    allocations[source.route]?.channels = channels
    allocations[source.route]?.numbers = numbers
    answerSuccess(to: message, key: requester.key, source) { _ in }
  }

  private func refuse(
    _ ip: IPAddress, for allocation: borrowing Allocation, isAllowed: Bool
  ) throws(TURNRefusal) {
    guard isAllowed else { throw TURNRefusal(.forbidden, key: allocation.key) }
    guard ip.family == allocation.family else {
      throw TURNRefusal(.peerAddressFamilyMismatch, key: allocation.key)
    }
  }

  private mutating func permit(
    _ ips: Set<IPAddress>, for allocation: borrowing Allocation, at now: Instant
  ) throws(TURNRefusal) {
    var permissions = allocation.permissions
    for ip in ips { permissions[ip] = now + .seconds(300) }
    if permissions.count > configuration.permissionsPerAllocationMax {
      permissions = permissions.filter { $0.value > now }
    }
    guard permissions.count <= configuration.permissionsPerAllocationMax else {
      throw TURNRefusal(.insufficientCapacity, key: allocation.key)
    }
    allocations[allocation.source.route]?.permissions = permissions
  }

  /// Tells a client its relayed address, also a second time.
  mutating func answerAllocate(_ allocation: Allocation) {
    guard let relayed = allocation.relayed else { return }
    var builder = STUNMessageBuilder(
      .successResponse, .allocate, transactionID: allocation.transactionID)
    builder.append(.xorRelayedAddress, relayed)
    builder.append(.xorMappedAddress, allocation.source.route.remote)
    builder.append(.lifetime, allocation.lifetimeSeconds)
    builder.appendIntegrity(with: allocation.key)
    if allocation.wantsFingerprint { builder.appendFingerprint() }
    enqueue(builder.bytes, to: allocation.source.route)
  }

  private mutating func answerSuccess(
    to message: borrowing STUNMessage, key: STUNIntegrityKey, _ source: Source,
    attributes: (inout STUNMessageBuilder) -> Void
  ) {
    var builder = STUNMessageBuilder(
      .successResponse, message.method, transactionID: message.transactionID)
    attributes(&builder)
    builder.appendIntegrity(with: key)
    if message.hasFingerprint { builder.appendFingerprint() }
    enqueue(builder.bytes, to: source.route)
  }

  /// Sends an error. To whom has proved nothing it goes without words, and not too often (T1).
  mutating func answer(
    _ refusal: TURNRefusal, method: STUNMethod, transactionID: STUNTransactionID, to source: Source,
    at now: Instant
  ) {
    guard refusal.key != nil || mayAnswerUnauthenticated(source, at: now) else { return }
    var builder = STUNMessageBuilder(.errorResponse, method, transactionID: transactionID)
    if refusal.key != nil {
      builder.append(refusal.code)
    } else {
      builder.append(
        .errorCode, [0, 0, UInt8(refusal.code.rawValue / 100), UInt8(refusal.code.rawValue % 100)])
    }
    if !refusal.unknownAttributes.isEmpty { builder.append(unknownAttributes: refusal.unknownAttributes) }
    if refusal.code == .staleNonce || refusal.code == .unauthenticated {
      builder.append(.realm, configuration.realm)
      builder.append(.nonce, nonces.nonce(for: source.route.remote, at: now))
    }
    if let key = refusal.key { builder.appendIntegrity(with: key) }
    enqueue(builder.bytes, to: source.route)
  }
}
