// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Server-reflexive addresses: what shared sockets look like from outside (RFC 8445 §5.1.1.2).
extension CandidateGatherer {
  /// Takes a shared UDP socket: servers are asked for its address, and the NAT's mapping is kept alive.
  public mutating func addSocket(_ socket: LocalSocket, at now: Instant) {
    guard !isShuttingDown, !sockets.contains(where: { $0.socket.id == socket.id }) else { return }
    guard sockets.count < RelayLimits.socketsMax else {
      drops[.tableFull] += 1
      return
    }
    let isOtherNetwork = !sockets.contains { $0.socket.address.ip == socket.address.ip }
    sockets.append(SharedSocket(socket: socket))
    refreshProbes(of: sockets.count - 1, at: now)
    if isOtherNetwork { beginAgain(isOtherNetwork: true, at: now) }
    settle(at: now)
  }

  /// Forgets a shared socket. If it was the last one of its address, relays on connections from there are verified:
  /// the address may be gone.
  public mutating func removeSocket(id: UInt32, at now: Instant) {
    guard let index = sockets.firstIndex(where: { $0.socket.id == id }) else { return }
    let ip = sockets.remove(at: index).socket.address.ip
    if !sockets.contains(where: { $0.socket.address.ip == ip }) { verifyRelays(from: ip, at: now) }
    settle(at: now)
  }

  /// The servers' addresses that a socket can ask. A TURN server over UDP answers Bindings as well (RFC 8656 §3).
  private func routes(from socket: LocalSocket, to url: ICEServerURL) -> [Route] {
    (names.addresses(of: url) ?? []).compactMap { ip in
      Route(sendingFrom: socket, to: TransportAddress(ip: ip, port: url.port))
    }
  }

  /// Gives a socket one probe for each server that can be asked over plain UDP, and starts those whose name is
  /// known by now.
  mutating func refreshProbes(of index: Int, at now: Instant) {
    var urls: [ICEServerURL] = []
    for url in (servers ?? []).map(\.url) where url.transport == .udp {
      guard urls.count < RelayLimits.probesPerSocketMax,
        !urls.contains(where: { $0.host == url.host && $0.port == url.port })
      else { continue }
      urls.append(url)
    }
    let (socket, known) = (sockets[index].socket, sockets[index].probes)
    sockets[index].probes = urls.map { url in known.first { $0.url == url } ?? ServerReflexiveProbe(url: url)
    }
    if let keeper = sockets[index].keeper, !urls.contains(keeper) { replaceKeeper(of: index, at: now) }
    for probe in sockets[index].probes.indices {
      let url = sockets[index].probes[probe].url
      guard case .idle(nil) = sockets[index].probes[probe].phase, sockets[index].probes[probe].mapped == nil
      else { continue }
      if !routes(from: socket, to: url).isEmpty {
        sockets[index].probes[probe].phase = .idle(until: now)
      } else if !names.isAsking(url.host) {
        sockets[index].probes[probe].hasSettled = true
      }
    }
  }

  /// Begins the Bindings that are due, as far as pacing lets it (RFC 8445 §14.2).
  mutating func beginProbes(at now: Instant) {
    for index in sockets.indices {
      for probe in sockets[index].probes.indices {
        guard now >= nextProbeAt else { return }
        guard case .idle(let until?) = sockets[index].probes[probe].phase, until <= now else { continue }
        beginProbe(socket: index, probe: probe, at: now)
      }
    }
  }

  private mutating func beginProbe(socket index: Int, probe: Int, at now: Instant) {
    let (socket, url) = (sockets[index].socket, sockets[index].probes[probe].url)
    let routes = routes(from: socket, to: url)
    guard !routes.isEmpty else {
      sockets[index].probes[probe].phase = .idle(until: nil)
      return
    }
    let route = routes[sockets[index].probes[probe].addressIndex % routes.count]
    let id = STUNTransactionID(prefix: transactionPrefix, suffix: random.next())
    sockets[index].probes[probe].ask(route, id: id, at: now)
    hasUnsentProbes = true
    let isFirst = probesBegun < RelayLimits.probesFirstCount
    probesBegun += isFirst ? 1 : 0
    nextProbeAt = now + (isFirst ? RelayLimits.probeIntervalFirst : RelayLimits.probeInterval)
  }

  /// Takes a response that arrived on a shared socket; its transaction id begins with ``transactionPrefix``.
  ///
  /// It is believed if its id is that of a request under way and it came from where the request went; nothing
  /// protects it beyond that, so what it says is an address to tell peers, and no address to send to.
  public mutating func receive(_ datagram: RawSpan, on route: Route, at now: Instant) {
    guard let message = try? STUNMessage(parsing: datagram), message.method == .binding,
      message.messageClass == .successResponse || message.messageClass == .errorResponse
    else {
      drops[.malformed] += 1
      return
    }
    let id = message.transactionID
    guard let index = sockets.firstIndex(where: { $0.socket.id == route.socket.id }),
      let probe = sockets[index].probes.firstIndex(where: { $0.isAnswered(by: id, on: route) })
    else {
      drops[.unknownTransaction] += 1
      return
    }
    if message.messageClass == .errorResponse {
      probeFailed(socket: index, probe: probe, reason: "the server refuses Binding requests", at: now)
    } else if let mapped = message.xorMappedAddress, isPlausible(mapped, for: sockets[index].socket) {
      probeSucceeded(socket: index, probe: probe, mapped: mapped, at: now)
    } else {
      drops[.malformed] += 1
    }
    settle(at: now)
  }

  /// Whether a socket can look like this from outside.
  private func isPlausible(_ mapped: TransportAddress, for socket: LocalSocket) -> Bool {
    mapped.port != 0 && mapped.ip.family == socket.address.ip.family && !mapped.ip.isUnspecified
      && !mapped.ip.isMulticastOrBroadcast && !mapped.ip.isIPv4Mapped
  }

  private mutating func probeSucceeded(
    socket index: Int, probe: Int, mapped: TransportAddress, at now: Instant
  ) {
    let (base, url) = (sockets[index].socket, sockets[index].probes[probe].url)
    let before = sockets[index].probes[probe].mapped
    let isNews = !sockets[index].probes.contains { $0.mapped == mapped }
    if url.service == .stun { failedURLs.remove(url) }
    if sockets[index].keeper == nil { sockets[index].keeper = url }
    let isKeeper = sockets[index].keeper == url
    sockets[index].probes[probe].mapped = mapped
    sockets[index].probes[probe].failureCount = 0
    sockets[index].probes[probe].hasSettled = true
    sockets[index].probes[probe].phase = .idle(until: isKeeper ? now + configuration.keepAliveInterval : nil)
    // Another address than last time: what the other servers saw is out of date as well.
    if let before, before != mapped { askOthers(socket: index, but: probe, at: now) }
    if isNews, mapped != base.address { emit(.serverReflexive(base: base, mapped: mapped)) }
  }

  private mutating func askOthers(socket index: Int, but probe: Int, at now: Instant) {
    for other in sockets[index].probes.indices where other != probe {
      sockets[index].probes[other].mapped = nil
      if case .idle(nil) = sockets[index].probes[other].phase {
        sockets[index].probes[other].phase = .idle(until: now)
      }
    }
  }

  /// Goes on to the server's next address, or leaves it alone for a while.
  private mutating func probeFailed(socket index: Int, probe: Int, reason: String, at now: Instant) {
    let url = sockets[index].probes[probe].url
    let addressCount = routes(from: sockets[index].socket, to: url).count
    sockets[index].probes[probe].addressIndex += 1
    guard sockets[index].probes[probe].addressIndex % max(addressCount, 1) == 0 else {
      sockets[index].probes[probe].phase = .idle(until: now)
      return
    }
    sockets[index].probes[probe].mapped = nil
    sockets[index].probes[probe].hasSettled = true
    sockets[index].probes[probe].failureCount += 1
    let delay = BackOff.delay(
      after: sockets[index].probes[probe].failureCount, min: RelayLimits.probeRetryMin,
      max: RelayLimits.probeRetryMax, random: &random)
    sockets[index].probes[probe].phase = .idle(until: now + delay)
    want(url, isAgain: true, at: now)
    if sockets[index].keeper == url { replaceKeeper(of: index, at: now) }
    let hopes = sockets.contains { socket in
      socket.probes.contains { $0.url == url && ($0.mapped != nil || $0.isAsking) }
    }
    if url.service == .stun, !hopes { report(url, reason: reason) }
  }

  /// Lets the server that answers next keep the mapping.
  private mutating func replaceKeeper(of index: Int, at now: Instant) {
    sockets[index].keeper = nil
    for probe in sockets[index].probes.indices where sockets[index].probes[probe].mapped != nil {
      sockets[index].probes[probe].phase = .idle(until: now)
    }
  }

  mutating func handleProbeTimeouts(at now: Instant) {
    for index in sockets.indices {
      for probe in sockets[index].probes.indices {
        if sockets[index].probes[probe].handleTimeout(at: now) {
          probeFailed(socket: index, probe: probe, reason: "the server does not answer", at: now)
        }
        hasUnsentProbes = hasUnsentProbes || sockets[index].probes[probe].isAsking
      }
    }
  }

  /// Whether all servers have answered all sockets, or are not going to soon.
  var hasSettledReflexive: Bool { sockets.allSatisfy { $0.probes.allSatisfy(\.hasSettled) } }
}
