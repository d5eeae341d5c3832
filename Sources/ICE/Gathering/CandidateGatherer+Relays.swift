// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Who has which relay, and the rounds in which relays are won.
extension CandidateGatherer {
  /// Asks for a relay of each family for an owner. A spare is handed out at once, and its place filled again.
  ///
  /// An owner keeps having a relay until it is released: one that is lost is replaced.
  public mutating func requestRelay(for owner: Int, at now: Instant) {
    guard !isShuttingDown, !owners.contains(where: { $0.id == owner }) else { return }
    guard owners.count < RelayLimits.ownersMax else {
      drops[.tableFull] += 1
      return emit(.gatheringComplete(owner: owner))
    }
    owners.append(Owner(id: owner, completeBy: now + configuration.gatheringTimeout))
    for family in configuration.relayFamilies {
      let index = spare(of: family) ?? insertSlot(of: family)
      slots[index].owner = owner
      switch slots[index].phase {
      case .standing(let link, _): handOut(link, to: owner)
      case .racing, .queued: slots[index].hasSettled = false
      case .waiting:
        slots[index].hasSettled = false
        slots[index].failureCount = 0
        beginRound(slots[index].id, at: now)
      }
    }
    settle(at: now)
  }

  /// Gives an owner's relays back. They are not used again: the server would let the peers of one owner send to
  /// the next.
  public mutating func releaseRelays(of owner: Int, at now: Instant) {
    owners.removeAll { $0.id == owner }
    let released = slots.filter { $0.owner == owner }
    slots.removeAll { $0.owner == owner }
    for slot in released { abandon(slot, at: now) }
    settle(at: now)
  }

  /// Has servers asked at once whether an owner's relays still stand: for when the owner's peer is not heard any
  /// more over a relay. A server that denies it, or says nothing within
  /// ``Configuration/verificationTimeout``, costs the relay, and another is allocated.
  public mutating func verifyRelays(of owner: Int, at now: Instant) {
    for slot in slots where slot.owner == owner {
      if case .standing(let id, _) = slot.phase, let link = links[id] { verify(link, at: now) }
    }
    settle(at: now)
  }

  /// Has the relays on connections from an address verified that the host seems to have no more.
  mutating func verifyRelays(from ip: IPAddress, at now: Instant) {
    for slot in slots {
      guard case .standing(let id, _) = slot.phase, let link = links[id], link.localAddress?.ip == ip else {
        continue
      }
      verify(link, at: now)
    }
  }

  private mutating func verify(_ link: RelayLink, at now: Instant) {
    guard link.verifyUntil == nil else { return }
    link.verifyUntil = now + configuration.verificationTimeout
    link.client.verify(at: now)
    queue(link)
  }

  // MARK: Slots

  func slotIndex(_ id: Int?) -> Int? { slots.firstIndex { $0.id == id } }

  private mutating func insertSlot(of family: IPAddress.Family) -> Int {
    slots.append(RelaySlot(id: nextSlotID, family: family, owner: nil))
    nextSlotID += 1
    return slots.count - 1
  }

  /// The spare that is worth most: one that stands under present credentials, one that stands, one to come.
  private func spare(of family: IPAddress.Family) -> Int? {
    let spares = slots.indices.filter { slots[$0].owner == nil && slots[$0].family == family }
    return spares.first { slots[$0].isStanding && !isStale(slots[$0]) }
      ?? spares.first { slots[$0].isStanding } ?? spares.first { slots[$0].isRacing } ?? spares.first
  }

  /// Whether a relay stands under credentials, or on a server, that are not in use any more.
  private func isStale(_ slot: RelaySlot) -> Bool {
    guard case .standing(let id, _) = slot.phase, let link = links[id] else { return false }
    return !isCurrent(link.way.server)
  }

  /// Keeps as many spares as are wanted, and lets stale ones go when their successors stand.
  mutating func balanceSpares(at now: Instant) {
    guard !isShuttingDown else { return }
    let wanted = relayServers.isEmpty ? 0 : configuration.relaySpareCount
    for family in configuration.relayFamilies {
      let spares = slots.filter { $0.owner == nil && $0.family == family }
      var (stale, fresh) = ([RelaySlot](), [RelaySlot]())
      for slot in spares {
        if isStale(slot) { stale.append(slot) } else { fresh.append(slot) }
      }
      for _ in fresh.count..<max(wanted, fresh.count) {
        let index = insertSlot(of: family)
        beginRound(slots[index].id, at: now)
      }
      let standing = fresh.count { $0.isStanding } + stale.count
      let surplus = stale.prefix(max(0, standing - wanted)) + fresh.dropFirst(wanted)
      for slot in surplus {
        slots.removeAll { $0.id == slot.id }
        abandon(slot, at: now)
      }
    }
  }

  /// Gives up all connections of a slot that is no more.
  mutating func abandon(_ slot: RelaySlot, at now: Instant) {
    switch slot.phase {
    case .waiting, .queued: break
    case .racing(let race):
      for link in race.running { discard(link.id, at: now) }
      if let best = race.best { discard(best.id, at: now) }
    case .standing(let id, _): discard(id, at: now)
    }
  }

  private mutating func handOut(_ id: ServerConnectionID, to owner: Int) {
    guard let link = links[id], let relay = link.relay else { return }
    link.owner = owner
    relays[link.socketID] = link
    emit(.relayed(relay, mapped: link.mapped, over: link.connection.transport, owner: owner))
  }

  /// Tells owners that gathering is complete where it is, or where its time is over.
  mutating func tellCompletion(at now: Instant) {
    for index in owners.indices {
      guard let completeBy = owners[index].completeBy else { continue }
      let owner = owners[index].id
      let isSettled =
        servers != nil && hasSettledReflexive && slots.allSatisfy { $0.owner != owner || $0.hasSettled }
      guard isSettled || completeBy <= now else { continue }
      owners[index].completeBy = nil
      emit(.gatheringComplete(owner: owner))
    }
  }

  // MARK: Rounds

  /// Lets slots that have no relay try again: the servers or the network have changed.
  mutating func beginAgain(isOtherNetwork: Bool, at now: Instant) {
    if isOtherNetwork
      || provenWay.map({ way in relayServers.contains { $0.url == way.way.server.url } }) != true
    {
      provenWay = nil
    }
    for index in slots.indices { slots[index].failureCount = 0 }
    for slot in slots {
      switch slot.phase {
      case .waiting: beginRound(slot.id, at: now)
      case .racing: addNewServers(to: slot.id, at: now)
      case .queued, .standing: break
      }
    }
  }

  /// Lets servers that were not there when a round began take part in it.
  private mutating func addNewServers(to id: Int, at now: Instant) {
    guard let index = slotIndex(id), case .racing(var race) = slots[index].phase else { return }
    for server in relayServers where !race.ways.contains(where: { $0.server.url == server.url }) {
      addWays(of: server, to: &race, from: now)
    }
    slots[index].phase = .racing(race)
    advance(id, at: now)
  }

  /// The way that worked before, under present credentials.
  private func provenWay(at now: Instant) -> RelayWay? {
    guard let provenWay, let server = relayServers.first(where: { $0.url == provenWay.way.server.url }),
      provenWay.way.transport.rank == 0 || now - provenWay.provenAt < RelayLimits.provenWayLifetime
    else { return nil }
    return RelayWay(server: server, address: provenWay.way.address, isAlternate: provenWay.way.isAlternate)
  }

  /// Begins a round: with the way that is known to work and all others a little later, or with all at once. While
  /// no way is known only one slot looks for one; the others wait for what it finds.
  mutating func beginRound(_ id: Int, at now: Instant) {
    guard let index = slotIndex(id), slots[index].isIdle else { return }
    let servers = relayServers
    guard !servers.isEmpty else {
      slots[index].phase = .waiting(until: nil)
      slots[index].hasSettled = self.servers != nil
      return
    }
    let proven = provenWay(at: now)
    guard proven != nil || !slots.contains(where: \.isRacing) else {
      slots[index].phase = .queued
      return
    }
    var race = RelayRace(isFirst: proven == nil)
    if let proven { race.add(proven, startAt: now) }
    for server in servers {
      want(server.url, isAgain: slots[index].failureCount > 0, at: now)
      addWays(of: server, to: &race, from: proven == nil ? now : now + configuration.fallbackDelay)
    }
    slots[index].phase = .racing(race)
    advance(id, at: now)
  }

  /// Adds the addresses of a URL one after the other (RFC 8305 §5), those that our sockets' families can reach.
  private mutating func addWays(of server: UsedServer, to race: inout RelayRace, from start: Instant) {
    guard let addresses = names.addresses(of: server.url) else {
      if !names.isAsking(server.url.host) {
        race.note(server, .timedOut, reason: "the name does not resolve")
      }
      return
    }
    var startAt = start
    for ip in addresses {
      let isForProxy = ip.isUnspecified
      let hasFamily = sockets.isEmpty || sockets.contains { $0.socket.address.ip.family == ip.family }
      guard isForProxy ? server.url.transport.isStream : hasFamily else { continue }
      race.add(
        RelayWay(server: server, address: TransportAddress(ip: ip, port: server.url.port)), startAt: startAt)
      startAt += configuration.addressStagger
    }
    if startAt == start {
      race.note(server, .timedOut, reason: "the name has no address that this host can reach")
    }
  }

  /// Gives the addresses of a name to the rounds under way.
  mutating func nameSettledForRaces(_ host: String, at now: Instant) {
    for id in slots.map(\.id) {
      guard let index = slotIndex(id), case .racing(var race) = slots[index].phase else { continue }
      for server in relayServers where server.url.host == host { addWays(of: server, to: &race, from: now) }
      slots[index].phase = .racing(race)
      advance(id, at: now)
    }
  }

  /// Opens what is due in a round, and ends the round where it is decided.
  mutating func advance(_ id: Int, at now: Instant) {
    guard let index = slotIndex(id), case .racing(var race) = slots[index].phase else { return }
    for way in race.takeDue(at: now) where race.best.map({ way.transport.rank < $0.rank }) ?? true {
      guard let link = open(way, for: slots[index], at: now) else { continue }
      race.running.append((link, way.transport.rank))
    }
    let isGraceOver = race.graceEndsAt.map { $0 <= now } ?? false
    let isOver = race.best != nil && (!race.isFirst || isGraceOver || !race.hasBetterAhead)
    if race.best != nil, race.graceEndsAt == nil { race.graceEndsAt = now + configuration.transportGrace }
    let isHopeless =
      race.best == nil && race.running.isEmpty && race.starts.isEmpty
      && !relayServers.contains { names.isAsking($0.url.host) && names.addresses(of: $0.url) == nil }
    slots[index].phase = .racing(race)
    if isOver { win(index, race, at: now) } else if isHopeless { lose(index, race, at: now) }
  }

  /// Takes an allocation into its round: the best one stays.
  mutating func allocated(_ link: RelayLink, at now: Instant) {
    guard let index = slotIndex(link.slotID), case .racing(var race) = slots[index].phase else { return }
    let (id, rank) = (link.connection.id, link.connection.transport.rank)
    race.running.removeAll { $0.id == id }
    if let best = race.best, best.rank <= rank {
      discard(id, at: now)
    } else {
      if let best = race.best { discard(best.id, at: now) }
      race.best = (id, rank)
    }
    slots[index].phase = .racing(race)
    advance(slots[index].id, at: now)
  }

  /// Ends a round with its best allocation. All others are given back.
  private mutating func win(_ index: Int, _ race: RelayRace, at now: Instant) {
    guard let best = race.best, let link = links[best.id] else { return }
    slots[index].phase = .standing(best.id, since: now)
    slots[index].hasSettled = true
    provenWay = ProvenWay(way: link.way, provenAt: now)
    failedURLs.remove(link.way.server.url)
    if let owner = slots[index].owner { handOut(best.id, to: owner) }
    for loser in race.running { discard(loser.id, at: now) }
  }

  /// Ends a round that gave nothing.
  private mutating func lose(_ index: Int, _ race: RelayRace, at now: Instant) {
    let failures = race.failures
    let isSpare = slots[index].owner == nil
    // A server that answered has shown that the way works, whatever it said.
    if !failures.allSatisfy({ $0.failure.isExpected(ofSpare: true) }) { provenWay = nil }
    for failed in failures where !failed.failure.isExpected(ofSpare: isSpare) {
      report(failed.server.url, reason: failed.reason)
    }
    let (id, family) = (slots[index].id, slots[index].family)
    if failures.contains(where: { $0.failure == .unauthenticated && !isCurrent($0.server) }) {
      // The credentials were renewed while the round ran.
      slots[index].phase = .waiting(until: nil)
      return beginRound(id, at: now)
    }
    for index in slots.indices where slots[index].id == id || slots[index].isQueued(family: family) {
      slots[index].hasSettled = true
      slots[index].failureCount += 1
      let wait = pause(after: failures.map(\.failure), failureCount: slots[index].failureCount)
      slots[index].phase = .waiting(until: wait.map { now + $0 })
    }
  }

  /// How long to wait after a round that failed; `nil` where another would fail like it.
  private mutating func pause(after failures: [TURNFailure], failureCount: Int) -> TimeDelta? {
    let isFamilyMissing = !failures.isEmpty && failures.allSatisfy { $0 == .addressFamilyNotSupported }
    guard !isFamilyMissing, failureCount < RelayLimits.roundsMax else { return nil }
    let isFull = failures.contains { $0 == .quotaReached || $0 == .insufficientCapacity }
    let delay = BackOff.delay(after: failureCount, random: &random)
    return isFull ? delay + RelayLimits.quotaPause : delay
  }

  /// Lets slots go on that waited for another's round. If the first of them begins a first round itself, the others
  /// wait for that.
  mutating func beginQueued(at now: Instant) {
    for slot in slots {
      guard case .queued = slot.phase else { continue }
      guard provenWay(at: now) != nil || !slots.contains(where: \.isRacing) else { return }
      beginRound(slot.id, at: now)
    }
  }

  /// Replaces a relay that is gone: at once if it had lasted, else after a while.
  mutating func lost(
    _ link: RelayLink, slot index: Int, since: Instant, _ failure: TURNFailure, at now: Instant
  ) {
    if now - since >= RelayLimits.lastingTime { slots[index].failureCount = 0 }
    let failureCount = slots[index].failureCount
    slots[index].failureCount += 1
    if let owner = slots[index].owner {
      emit(.relayLost(socketID: link.socketID, owner: owner, reason: failure))
    }
    guard failureCount < RelayLimits.roundsMax else {
      slots[index].phase = .waiting(until: nil)
      return
    }
    let wait = failureCount == 0 ? .zero : BackOff.delay(after: failureCount, random: &random)
    slots[index].phase = .waiting(until: now + wait)
    if wait == .zero { beginRound(slots[index].id, at: now) }
  }

  mutating func handleSlotTimeouts(at now: Instant) {
    for slot in slots {
      guard let deadline = slot.nextDeadline, deadline <= now else { continue }
      if slot.isRacing { advance(slot.id, at: now) } else { beginRound(slot.id, at: now) }
    }
  }
}

extension RelaySlot {
  /// Whether it waits for the round of another slot of the same family.
  fileprivate func isQueued(family: IPAddress.Family) -> Bool {
    guard case .queued = phase else { return false }
    return self.family == family
  }
}

extension TURNFailure {
  /// Whether nobody has to be told: a server without IPv6 is an ordinary one, and a spare may be one too many.
  fileprivate func isExpected(ofSpare isSpare: Bool) -> Bool {
    switch self {
    case .addressFamilyNotSupported: true
    case .quotaReached, .insufficientCapacity: isSpare
    default: false
    }
  }
}
