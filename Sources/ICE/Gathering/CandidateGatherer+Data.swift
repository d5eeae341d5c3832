// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The bytes between relays, their servers and us.
///
/// The first datagram for a peer asks for a permission and is held for the one round trip to the server that this
/// takes; until then nothing could pass. What is no STUN (the beginning of DTLS) asks for a channel, and goes in
/// indications for the one round trip that the channel takes. So a peer costs one round trip once, a channel none,
/// and a peer that is only checked has no channel that would have to be kept alive.
extension CandidateGatherer {
  /// Takes a datagram of a server, or one frame of a stream (``STUNStreamFramer``), and gives what a peer sent, if
  /// that is what it was.
  @_lifetime(copy frame)
  public mutating func receive(
    _ frame: RawSpan, on connection: ServerConnectionID, at now: Instant
  ) -> RelayedDatagram? {
    guard let link = links[connection] else {
      drops[.unknownConnection] += 1
      return nil
    }
    if let payload = link.client.receive(frame, on: link.route, at: now) {
      guard let relay = link.relay, let owner = link.owner else {
        drops[.unownedData] += 1
        return nil
      }
      return RelayedDatagram(relay: relay, owner: owner, peer: payload.peer, bytes: payload.bytes)
    }
    if !ChannelData.isChannelData(frame) {
      serve(link, at: now)
      settle(at: now)
    }
    return nil
  }

  /// Writes a datagram for a peer in the form that the relay's server takes, and says over which connection it
  /// goes.
  ///
  /// `nil` where nothing was written: the datagram is held until the peer has a permission and then comes out of
  /// ``pollTransmit(into:at:)``, or it is dropped and counted. The lent memory has room for the datagram and
  /// ``TURNLimits/overheadByteCountMax`` bytes.
  public mutating func wrap(
    _ datagram: RawSpan, to peer: TransportAddress, via relaySocketID: UInt32,
    into output: inout OutputRawSpan, at now: Instant
  ) -> ServerConnectionID? {
    guard let link = relays[relaySocketID] else {
      drops[.unknownRelay] += 1
      return nil
    }
    guard let channel = link.channels[peer] else {
      return wrap(datagram, to: peer, withoutChannelOn: link, into: &output, at: now)
    }
    let isPadded = link.connection.transport.isStream
    let byteCount = ChannelData.byteCount(payloadByteCount: datagram.byteCount, isPadded: isPadded)
    guard datagram.byteCount <= TURNLimits.payloadByteCountMax, byteCount <= output.freeCapacity else {
      drops[.oversized] += 1
      return nil
    }
    ChannelData.write(datagram, channel: channel, isPadded: isPadded, into: &output)
    return link.connection.id
  }

  private mutating func wrap(
    _ datagram: RawSpan, to peer: TransportAddress, withoutChannelOn link: RelayLink,
    into output: inout OutputRawSpan, at now: Instant
  ) -> ServerConnectionID? {
    guard peer.port != 0, peer.ip.family == link.family, !peer.ip.isUnspecified,
      !peer.ip.isMulticastOrBroadcast, !peer.ip.isIPv4Mapped
    else {
      drops[.unsendablePeer] += 1
      return nil
    }
    guard !link.held.isRefused(peer.ip, at: now) else {
      drops[.refusedPeer] += 1
      return nil
    }
    defer {
      queue(link)
      nextDeadline = Instant.earliest(nextDeadline, link.client.nextDeadline)
    }
    guard link.client.permit(peer.ip, at: now) else {
      drops[.tooManyPeers] += 1
      return nil
    }
    wishForChannel(to: peer, on: link, for: datagram, at: now)
    guard link.client.canSend(to: peer) else {
      hold(datagram, for: peer, on: link, at: now)
      return nil
    }
    guard link.client.wrap(datagram, to: peer, into: &output) != nil else {
      drops[.oversized] += 1
      return nil
    }
    return link.connection.id
  }

  /// Asks for a channel once something else than a check goes to a peer.
  private func wishForChannel(
    to peer: TransportAddress, on link: RelayLink, for datagram: RawSpan, at now: Instant
  ) {
    guard !STUNPeek.isSTUN(datagram), link.channelWishes.count < TURNLimits.peersMax,
      link.channelWishes.insert(peer).inserted
    else { return }
    link.client.bindChannel(to: peer, at: now)
  }

  private mutating func hold(
    _ datagram: RawSpan, for peer: TransportAddress, on link: RelayLink, at now: Instant
  ) {
    guard datagram.byteCount <= RelayLimits.heldDatagramByteCountMax else {
      drops[.oversized] += 1
      return
    }
    if !link.held.hold(datagram, for: peer, at: now) { drops[.heldOverflow] += 1 }
  }

  /// Writes one datagram or frame and says where it goes, or returns `nil` when there is none. The lent memory has
  /// room for ``RelayLimits/messageByteCountMax`` bytes.
  public mutating func pollTransmit(into output: inout OutputRawSpan, at now: Instant) -> Outgoing? {
    if hasUnsentProbes, let outgoing = pollProbe(into: &output) { return outgoing }
    while let id = queuedLinks.first {
      if let link = links[id] {
        let before = output.byteCount
        if write(link, into: &output, at: now) {
          return Outgoing(destination: .connection(id), byteCount: output.byteCount - before)
        }
        link.isQueued = false
      }
      queuedLinks.removeFirst()
    }
    return nil
  }

  private mutating func pollProbe(into output: inout OutputRawSpan) -> Outgoing? {
    for index in sockets.indices {
      for probe in sockets[index].probes.indices {
        guard let request = sockets[index].probes[probe].takeUnsent() else { continue }
        output.write(request.bytes)
        return Outgoing(destination: .socket(request.route), byteCount: request.bytes.count)
      }
    }
    hasUnsentProbes = false
    return nil
  }

  /// Writes what a connection has to send: requests first, since what is held waits for their answers.
  private mutating func write(
    _ link: RelayLink, into output: inout OutputRawSpan, at now: Instant
  ) -> Bool {
    if case .opening = link.phase { return false }
    if link.client.pollTransmit(into: &output, at: now) != nil { return true }
    while let held = link.held.takePermitted() {
      guard now - held.since <= RelayLimits.heldTimeMax else {
        drops[.heldTooLong] += 1
        continue
      }
      if link.client.wrap(held.bytes.rawSpan, to: held.peer, into: &output) != nil { return true }
    }
    guard link.isKeepAliveDue else { return false }
    link.isKeepAliveDue = false
    let id = STUNTransactionID(prefix: UInt32(truncatingIfNeeded: random.next()), suffix: random.next())
    var indication = STUNMessageBuilder(.indication, transactionID: id)
    indication.appendFingerprint()
    output.write(indication.bytes)
    return true
  }
}
