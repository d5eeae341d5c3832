// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Connections to TURN servers, from the wish to the end.
extension CandidateGatherer {
  /// Asks the shell for a connection; `nil` where there are too many.
  mutating func open(_ way: RelayWay, for slot: RelaySlot, at now: Instant) -> ServerConnectionID? {
    guard links.count < RelayLimits.connectionsMax else {
      drops[.tableFull] += 1
      return nil
    }
    let (id, socketID) = takeLinkNumber()
    let connection = ServerConnection(
      id: id, transport: way.transport, server: way.address, hostName: way.hostName)
    links[id] = RelayLink(
      connection: connection, way: way, socketID: socketID, family: slot.family, slotID: slot.id,
      openUntil: now + configuration.openTimeout, random: random.split())
    perform(.open(connection))
    return id
  }

  /// Tells that a connection stands, and our own address on it.
  public mutating func connectionOpened(
    _ id: ServerConnectionID, localAddress: TransportAddress, at now: Instant
  ) {
    guard let link = links[id], case .opening = link.phase else { return }
    link.phase = .open
    link.localAddress = localAddress
    link.client.start(at: now)
    queue(link)
    settle(at: now)
  }

  /// Tells that a connection could not be opened, or was lost later. Its number has no meaning any more, and it is
  /// not closed by an action.
  public mutating func connectionFailed(_ id: ServerConnectionID, reason: String, at now: Instant) {
    guard let link = links[id] else { return }
    failed(link, .connectionLost, reason: reason, at: now)
    settle(at: now)
  }

  /// Gives an allocation back, if there may be one, and closes the connection.
  mutating func discard(_ id: ServerConnectionID, at now: Instant) {
    guard let link = links[id] else { return }
    link.slotID = nil
    link.owner = nil
    relays[link.socketID] = nil
    guard link.mayBeAllocated else { return close(link) }
    link.phase = .releasing(until: now + configuration.releaseTimeout)
    link.client.release(at: now)
    serve(link, at: now)
  }

  private mutating func close(_ link: RelayLink) {
    links[link.connection.id] = nil
    perform(.close(link.connection.id))
  }

  /// Forgets a connection that is of no use, and tells its slot.
  private mutating func failed(_ link: RelayLink, _ failure: TURNFailure, reason: String, at now: Instant) {
    links[link.connection.id] = nil
    relays[link.socketID] = nil
    guard let index = slotIndex(link.slotID) else { return }
    switch slots[index].phase {
    case .waiting, .queued: break
    case .standing(_, let since): lost(link, slot: index, since: since, failure, at: now)
    case .racing(var race):
      if race.best?.id == link.connection.id { (race.best, race.graceEndsAt) = (nil, nil) }
      race.failed(link.connection.id, link.way, failure, reason: reason, at: now)
      if let way = alternate(to: link.way, after: failure) { race.add(way, startAt: now) }
      slots[index].phase = .racing(race)
      advance(slots[index].id, at: now)
    }
  }

  /// The way that a server sends us instead of its own (RFC 8489 §10): once, and not to addresses that mean something
  /// else to us than to the server.
  private func alternate(to way: RelayWay, after failure: TURNFailure) -> RelayWay? {
    guard case .alternateServer(let address) = failure, !way.isAlternate,
      Route(sendingFrom: LocalSocket(id: 0, address: way.address), to: address) != nil
    else { return nil }
    return RelayWay(server: way.server, address: address, isAlternate: true)
  }

  /// Lets a connection's requests out, and acts on what its client has found out.
  mutating func serve(_ link: RelayLink, at now: Instant) {
    queue(link)
    while let event = link.client.pollEvent() {
      switch event {
      case .allocated(let relayed, let mapped): allocated(link, relayed, mapped: mapped, at: now)
      case .failed(let failure):
        perform(.close(link.connection.id))
        return failed(link, failure, reason: failure.explanation, at: now)
      case .closed: return close(link)
      case .permitted(let ip): link.held.permit(ip)
      case .permissionRefused(let ip, let failure): refused(link, ip, failure, at: now)
      case .channelBound(let peer):
        let header = link.client.channelHeader(to: peer, payloadByteCount: 0)
        link.channels[peer] = header.flatMap { ChannelNumber(rawValue: UInt16($0 >> 16)) }
      case .channelRefused(let peer, _): link.channels[peer] = nil
      }
    }
  }

  private mutating func allocated(
    _ link: RelayLink, _ relayed: TransportAddress, mapped: TransportAddress?, at now: Instant
  ) {
    guard !relayed.ip.isUnspecified, !relayed.ip.isMulticastOrBroadcast, !relayed.ip.isIPv4Mapped else {
      let failure = TURNFailure.malformedResponse
      perform(.close(link.connection.id))
      return failed(link, failure, reason: failure.explanation, at: now)
    }
    link.relay = LocalSocket(id: link.socketID, address: relayed)
    link.mapped = mapped ?? link.localAddress
    link.keepAliveAt = now + configuration.keepAliveInterval
    allocated(link, at: now)
  }

  /// Forgets what was for peers that the server does not relay to.
  private mutating func refused(_ link: RelayLink, _ ip: IPAddress, _ failure: TURNFailure, at now: Instant) {
    // Silence may end; a refusal is asked about again when a permission would have ended.
    let until = failure == .timedOut ? nil : now + RelayLimits.refusalTime
    drops[.refusedPeer] += UInt64(link.held.refuse(ip, until: until))
    for peer in link.channels.keys where peer.ip == ip { link.channels[peer] = nil }
    link.channelWishes = link.channelWishes.filter { $0.ip != ip }
  }

  /// Notes that a connection may have something to send.
  mutating func queue(_ link: RelayLink) {
    guard !link.isQueued else { return }
    link.isQueued = true
    queuedLinks.append(link.connection.id)
  }

  mutating func handleLinkTimeouts(at now: Instant) {
    let due = links.values.filter { $0.nextDeadline.map { $0 <= now } ?? false }
    for link in due.sorted(by: { $0.connection.id.rawValue < $1.connection.id.rawValue }) {
      guard links[link.connection.id] === link else { continue }
      switch link.phase {
      case .opening(let until) where until <= now:
        perform(.close(link.connection.id))
        failed(link, .timedOut, reason: "the connection did not open in time", at: now)
      case .releasing(let until) where until <= now: close(link)
      case .opening: break
      case .open, .releasing: handleTimeout(of: link, at: now)
      }
    }
  }

  private mutating func handleTimeout(of link: RelayLink, at now: Instant) {
    if let keepAliveAt = link.keepAliveAt, keepAliveAt <= now {
      link.keepAliveAt = now + configuration.keepAliveInterval
      link.isKeepAliveDue = true
    }
    if let verifyUntil = link.verifyUntil, verifyUntil <= now {
      link.verifyUntil = nil
      guard !link.client.isVerifying else {
        perform(.close(link.connection.id))
        return failed(link, .timedOut, reason: TURNFailure.timedOut.explanation, at: now)
      }
    }
    link.client.handleTimeout(at: now)
    serve(link, at: now)
  }
}

extension TURNFailure {
  /// The failure in words, for logs.
  var explanation: String {
    switch self {
    case .unauthenticated: "the server does not accept the credentials"
    case .forbidden: "the server forbids it"
    case .allocationMismatch: "the server has another idea of the allocation"
    case .staleNonce: "the server's nonces are stale at once"
    case .addressFamilyNotSupported: "the server does not relay for the address family"
    case .wrongCredentials: "the allocation belongs to other credentials"
    case .unsupportedTransport: "the server does not relay over UDP"
    case .quotaReached: "the user has as many allocations as one may have"
    case .insufficientCapacity: "the server has no room left"
    case .alternateServer: "the server sent us to another, which did not serve either"
    case .rejected(let code): "the server answered \(code.rawValue)"
    case .malformedResponse: "the server's answer makes no sense"
    case .timedOut: "the server does not answer"
    case .connectionLost: "the connection is gone"
    }
  }
}
