// SPDX-License-Identifier: Apache-2.0

import SansIO

/// A request of a TURN client that waits for its response.
struct TURNTransaction: Sendable {
  /// What is asked for.
  enum Kind: Hashable, Sendable {
    /// An allocation.
    case allocate
    /// More time for the allocation.
    case refresh
    /// The end of the allocation.
    case release
    /// A permission, or more time for it.
    case permission(IPAddress)
    /// A channel, or more time for it.
    case channel(TransportAddress)
  }

  let kind: Kind
  let id: STUNTransactionID
  let bytes: [UInt8]
  /// Whether the request carried credentials, so that 401 means that they are wrong.
  let hasCredentials: Bool
  /// How often the request was made anew because its nonce was stale.
  let staleNonceRetries: Int
  /// How often it was sent, or is about to be.
  var requestsSent = 1
  /// When it is sent again, or given up.
  var nextAt: Instant
  /// Whether it waits to be sent.
  var isUnsent = true
}

/// Requests of a TURN client and the responses to them (RFC 8656 §5, RFC 8489 §6.2, §9.2).
extension TURNClient {
  /// Makes a request, unless one for the same thing is on its way.
  mutating func request(_ kind: TURNTransaction.Kind, staleNonceRetries: Int = 0, at now: Instant) {
    guard !transactions.contains(where: { $0.kind == kind }) else { return }
    precondition(
      transactions.count < TURNLimits.transactionsMax, "more requests than there are things to ask for")
    let id = STUNTransactionID(
      prefix: configuration.transactionPrefix ?? UInt32(truncatingIfNeeded: random.next()),
      suffix: random.next())
    let timeout = configuration.isStream ? configuration.streamTimeout : configuration.retransmissionTimeout
    transactions.append(
      TURNTransaction(
        kind: kind, id: id, bytes: message(kind, id: id), hasCredentials: key != nil,
        staleNonceRetries: staleNonceRetries, nextAt: now + timeout))
  }

  private func message(_ kind: TURNTransaction.Kind, id: STUNTransactionID) -> [UInt8] {
    var builder = STUNMessageBuilder(
      .request, kind.method, transactionID: id, byteCountMax: TURNLimits.messageByteCountMax)
    switch kind {
    case .allocate:
      builder.append(.requestedTransport, number: 17)
      // IPv4 is what a server gives without being asked; one that knows RFC 5766 alone would refuse the word.
      if configuration.family != .ipv4 {
        builder.append(.requestedAddressFamily, number: configuration.family.stunNumber)
      }
      builder.append(.lifetime, configuration.lifetimeSeconds)
    case .refresh: builder.append(.lifetime, configuration.lifetimeSeconds)
    case .release: builder.append(.lifetime, 0 as UInt32)
    case .permission(let ip): builder.append(.xorPeerAddress, TransportAddress(ip: ip, port: 0))
    case .channel(let peer):
      if let channel = channels.first(where: { $0.peer == peer }) { builder.append(channel: channel.number) }
      builder.append(.xorPeerAddress, peer)
    }
    if let key, let realm {
      builder.append(.username, configuration.username)
      builder.append(.realm, realm)
      builder.append(.nonce, nonce)
      builder.appendIntegrity(with: key)
    }
    builder.appendFingerprint()
    return builder.bytes
  }

  /// Repeats or gives up what got no response in time (RFC 8489 §6.2.1).
  mutating func handleTransactionTimeouts(at now: Instant) {
    var expired: [TURNTransaction.Kind] = []
    for index in transactions.indices where transactions[index].nextAt <= now {
      let sent = transactions[index].requestsSent
      guard !configuration.isStream, sent < TURNLimits.requestsMax else {
        expired.append(transactions[index].kind)
        continue
      }
      transactions[index].requestsSent = sent + 1
      transactions[index].isUnsent = true
      let timeout = configuration.retransmissionTimeout
      let isLast = sent + 1 == TURNLimits.requestsMax
      transactions[index].nextAt =
        now + timeout * (isLast ? TURNLimits.lastRequestTimeoutMultiplier : 1 << Int64(sent))
    }
    for kind in expired {
      guard transactions.contains(where: { $0.kind == kind }) else { continue }
      transactions.removeAll { $0.kind == kind }
      isRefreshable(kind, at: now) ? request(kind, at: now) : failed(kind, .timedOut, at: now)
    }
  }

  /// Whether there is time left for what a request was to prolong, so that asking goes on.
  private func isRefreshable(_ kind: TURNTransaction.Kind, at now: Instant) -> Bool {
    let end: Instant? =
      switch kind {
      case .allocate, .release: nil
      case .refresh: expiresAt
      case .permission(let ip): permissions.first { $0.ip == ip }?.expiresAt
      case .channel(let peer): channels.first { $0.peer == peer }?.expiresAt
      }
    return end.map { $0 > now } ?? false
  }

  /// Takes a response of the server.
  mutating func handleResponse(_ message: borrowing STUNMessage, at now: Instant) {
    let id = message.transactionID
    guard let index = transactions.firstIndex(where: { $0.id == id }),
      transactions[index].kind.method == message.method
    else {
      drops[.unknownTransaction] += 1
      return
    }
    guard isAcceptable(message, for: transactions[index]) else {
      drops[.unauthenticatedResponse] += 1
      return
    }
    let transaction = transactions.remove(at: index)
    if message.messageClass == .successResponse {
      succeeded(transaction.kind, message, at: now)
    } else {
      handleError(message, for: transaction, at: now)
    }
    rearm()
  }

  /// A success has to be authentic. An error may come without integrity, because a challenge has no other way,
  /// and servers differ for the others; whoever forged one has seen our request's transaction id.
  private func isAcceptable(_ message: borrowing STUNMessage, for transaction: TURNTransaction) -> Bool {
    guard transaction.hasCredentials, let key else { return true }
    if message.messageClass == .errorResponse && !message.hasIntegrity { return true }
    return message.isAuthentic(with: key)
  }

  private mutating func handleError(
    _ message: borrowing STUNMessage, for transaction: TURNTransaction, at now: Instant
  ) {
    let code = message.errorCode ?? .badRequest
    let isChallenge = code == .unauthenticated && !transaction.hasCredentials
    if code == .tryAlternate, transaction.kind == .allocate, let alternate = message.alternateServer {
      return failed(transaction.kind, .alternateServer(alternate), at: now)
    }
    guard isChallenge || code == .staleNonce else {
      failed(transaction.kind, TURNFailure(code), at: now)
      return
    }
    guard transaction.staleNonceRetries < TURNLimits.staleNonceRetriesMax else {
      failed(transaction.kind, .staleNonce, at: now)
      return
    }
    guard let nonce = message.nonce, let realm = message.realm ?? realm else {
      failed(transaction.kind, .malformedResponse, at: now)
      return
    }
    self.nonce = nonce
    if realm != self.realm || key == nil {
      self.realm = realm
      key = STUNIntegrityKey(username: configuration.username, realm: realm, password: configuration.password)
    }
    request(transaction.kind, staleNonceRetries: transaction.staleNonceRetries + 1, at: now)
  }

  private mutating func succeeded(
    _ kind: TURNTransaction.Kind, _ message: borrowing STUNMessage, at now: Instant
  ) {
    switch kind {
    case .allocate: allocated(message, at: now)
    case .refresh: armRefresh(lifetimeSeconds: message.lifetimeSeconds, at: now)
    case .release: close()
    case .permission(let ip):
      guard let index = permissions.firstIndex(where: { $0.ip == ip }) else { return }
      if !permissions[index].isGranted { emit(.permitted(ip)) }
      permissions[index].isGranted = true
      permissions[index].refreshAt = now + configuration.permissionInterval
      permissions[index].expiresAt = now + .seconds(300)
      bindWantedChannels(at: now)
    case .channel(let peer):
      guard let index = channels.firstIndex(where: { $0.peer == peer }) else { return }
      if !channels[index].isBound { emit(.channelBound(peer)) }
      channels[index].isBound = true
      channels[index].refreshAt = now + configuration.channelInterval
      channels[index].expiresAt = now + .seconds(600)
    }
  }

  private mutating func allocated(_ message: borrowing STUNMessage, at now: Instant) {
    guard let relayed = message.xorRelayedAddress, relayed.ip.family == configuration.family,
      relayed.port != 0, message.lifetimeSeconds != 0
    else {
      fail(.malformedResponse)
      return
    }
    guard !isReleaseWanted else {
      beginRelease(at: now)
      return
    }
    state = .allocated(relayed: relayed)
    emit(.allocated(relayed: relayed, mapped: message.xorMappedAddress))
    armRefresh(lifetimeSeconds: message.lifetimeSeconds, at: now)
    for permission in permissions { request(.permission(permission.ip), at: now) }
  }

  /// Takes the lifetime that the server granted: between 1 s and a day, so that neither a busy loop nor an
  /// overflow can be granted.
  private mutating func armRefresh(lifetimeSeconds: UInt32?, at now: Instant) {
    let seconds = Int64(min(max(lifetimeSeconds ?? configuration.lifetimeSeconds, 1), 86_400))
    let lifetime = TimeDelta.seconds(seconds)
    expiresAt = now + lifetime
    refreshAt = now + max(lifetime - configuration.refreshMargin, lifetime / 2)
  }

  /// Asks for the channels of peers whose permission stands.
  mutating func bindWantedChannels(at now: Instant) {
    guard relayedAddress != nil else { return }
    for peer in wantedChannels where permissions.contains(where: { $0.ip == peer.ip && $0.isGranted }) {
      channels.append(Channel(peer: peer, number: takeChannelNumber(for: peer)))
      wantedChannels.removeAll { $0 == peer }
      request(.channel(peer), at: now)
    }
  }

  /// The number that the peer had before, else the next that nobody has.
  private mutating func takeChannelNumber(for peer: TransportAddress) -> ChannelNumber {
    if let index = retiredChannels.firstIndex(where: { $0.peer == peer }) {
      return retiredChannels.remove(at: index).number
    }
    while isInUse(nextChannel) { nextChannel = nextChannel.next }
    defer { nextChannel = nextChannel.next }
    return nextChannel
  }

  private func isInUse(_ number: ChannelNumber) -> Bool {
    channels.contains { $0.number == number } || retiredChannels.contains { $0.number == number }
  }

  private mutating func retireChannels(where isGone: (TransportAddress) -> Bool) {
    retiredChannels += channels.filter { isGone($0.peer) }.map { ($0.peer, $0.number) }
    retiredChannels.removeFirst(max(0, retiredChannels.count - TURNLimits.peersMax))
    channels.removeAll { isGone($0.peer) }
  }

  private mutating func failed(_ kind: TURNTransaction.Kind, _ failure: TURNFailure, at now: Instant) {
    switch kind {
    case .allocate, .refresh: fail(failure)
    case .release: close()
    case .permission(let ip): failure.endsAllocation ? fail(failure) : refusePermission(ip, failure)
    case .channel(let peer): failure.endsAllocation ? fail(failure) : refuseChannel(peer, failure)
    }
  }

  /// Forgets an address and its peers.
  mutating func refusePermission(_ ip: IPAddress, _ failure: TURNFailure) {
    permissions.removeAll { $0.ip == ip }
    retireChannels { $0.ip == ip }
    wantedChannels.removeAll { $0.ip == ip }
    transactions.removeAll { transaction in
      switch transaction.kind {
      case .permission(let other): other == ip
      case .channel(let peer): peer.ip == ip
      case .allocate, .refresh, .release: false
      }
    }
    emit(.permissionRefused(ip, failure))
  }

  /// Forgets a channel; its peer keeps its permission.
  mutating func refuseChannel(_ peer: TransportAddress, _ failure: TURNFailure) {
    retireChannels { $0 == peer }
    transactions.removeAll { $0.kind == .channel(peer) }
    emit(.channelRefused(peer, failure))
  }
}

extension TURNTransaction.Kind {
  /// The method of the request.
  var method: STUNMethod {
    switch self {
    case .allocate: .allocate
    case .refresh, .release: .refresh
    case .permission: .createPermission
    case .channel: .channelBind
    }
  }
}
