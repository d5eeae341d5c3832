// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Data between clients and peers (RFC 8656 §11, §12).
extension TURNServerCore {
  /// Takes a client's datagram, or one frame of its stream, and gives what is to be sent to a peer, if that is
  /// what it was. What is malformed, forged or forbidden is counted and dropped, or answered.
  ///
  /// Over a stream the route's socket stands for the connection: no two connections have the same route.
  @_lifetime(copy datagram)
  public mutating func receive(
    _ datagram: RawSpan, on received: Route, isStream: Bool = false, at now: Instant
  ) -> TURNForward? {
    guard let route = isStream ? received : Route(sendingFrom: received.socket, to: received.remote) else {
      drops[.unsendableSource] += 1
      return nil
    }
    if ChannelData.isChannelData(datagram) { return receiveChannelData(datagram, on: route, at: now) }
    do throws(ParseError) {
      let message = try STUNMessage(parsing: datagram)
      switch message.messageClass {
      case .request: handleRequest(message, from: Source(route: route, isStream: isStream), at: now)
      case .indication where message.method == .send: return receiveSend(message, on: route, at: now)
      case .indication where message.method == .binding: break
      case .indication, .successResponse, .errorResponse: drops[.unknownMethod] += 1
      }
    } catch {
      drops[.malformed] += 1
    }
    return nil
  }

  @_lifetime(copy datagram)
  private mutating func receiveChannelData(
    _ datagram: RawSpan, on route: Route, at now: Instant
  ) -> TURNForward? {
    guard let message = try? ChannelData(parsing: datagram) else {
      drops[.malformed] += 1
      return nil
    }
    guard let relay = liveRelay(on: route, at: now) else { return nil }
    let number = message.channel
    guard let channel = allocations[route]?.channels[number], channel.expiresAt > now else {
      drops[.noPermission] += 1
      return nil
    }
    guard isAllowed(channel.peer) else {
      drops[.forbiddenPeer] += 1
      return nil
    }
    return TURNForward(relay: relay, peer: channel.peer, payload: message.payload)
  }

  @_lifetime(copy message)
  private mutating func receiveSend(
    _ message: borrowing STUNMessage, on route: Route, at now: Instant
  ) -> TURNForward? {
    guard let peer = message.xorPeerAddress, let payload = message.value(of: .data),
      message.unknownRequiredAttributes(known: STUNAttributeType.knownToTURNServer, limit: 1).isEmpty
    else {
      drops[.malformed] += 1
      return nil
    }
    guard let relay = liveRelay(on: route, at: now) else { return nil }
    guard hasPermission(peer.ip, on: route, at: now) else {
      drops[.noPermission] += 1
      return nil
    }
    guard isAllowed(peer) else {
      drops[.forbiddenPeer] += 1
      return nil
    }
    return TURNForward(relay: relay, peer: peer, payload: payload)
  }

  private mutating func liveRelay(on route: Route, at now: Instant) -> RelayID? {
    guard let allocation = allocations[route], allocation.relayed != nil, allocation.expiresAt > now else {
      drops[.noAllocation] += 1
      return nil
    }
    return allocation.relay
  }

  private func hasPermission(_ ip: IPAddress, on route: Route, at now: Instant) -> Bool {
    guard let expiresAt = allocations[route]?.permissions[ip] else { return false }
    return expiresAt > now
  }

  /// Takes a datagram that a peer sent to a relay socket and writes what its client gets. Returns `nil` and
  /// counts where the peer has no permission, policy forbids it, or the lent memory is smaller than the payload
  /// and ``TURNLimits/overheadByteCountMax``.
  public mutating func relay(
    _ payload: RawSpan, from peer: TransportAddress, on relay: RelayID, into output: inout OutputRawSpan,
    at now: Instant
  ) -> Transmit? {
    guard let route = routes[relay], liveRelay(on: route, at: now) != nil,
      let isStream = allocations[route]?.source.isStream
    else { return nil }
    guard hasPermission(peer.ip, on: route, at: now) else {
      drops[.noPermission] += 1
      return nil
    }
    guard isAllowed(peer) else {
      drops[.forbiddenPeer] += 1
      return nil
    }
    guard payload.byteCount <= TURNLimits.payloadByteCountMax,
      output.freeCapacity >= payload.byteCount + TURNLimits.overheadByteCountMax
    else {
      drops[.oversized] += 1
      return nil
    }
    let before = output.byteCount
    if let number = channelNumber(of: peer, on: route, at: now) {
      ChannelData.write(payload, channel: number, isPadded: isStream, into: &output)
    } else {
      let id = STUNTransactionID(prefix: UInt32(truncatingIfNeeded: random.next()), suffix: random.next())
      TURNIndication.write(.data, transactionID: id, peer: peer, payload: payload, into: &output)
    }
    return Transmit(route: route, segmentByteCount: output.byteCount - before)
  }

  private func channelNumber(of peer: TransportAddress, on route: Route, at now: Instant) -> ChannelNumber? {
    guard let number = allocations[route]?.numbers[peer], let channel = allocations[route]?.channels[number],
      channel.expiresAt > now
    else { return nil }
    return number
  }
}
