// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// What a peer sent through the relay: a view of the frame that brought it.
public struct TURNPayload: ~Escapable {
  /// The peer that the server names.
  public let peer: TransportAddress
  /// What the peer sent.
  public let bytes: RawSpan

  @_lifetime(copy bytes)
  init(peer: TransportAddress, bytes: RawSpan) {
    self.peer = peer
    self.bytes = bytes
  }
}

/// Data to and from peers (RFC 8656 §11, §12).
extension TURNClient {
  /// Takes a datagram, or one frame of a stream, and gives what a peer sent, if that is what it was. What is
  /// malformed, forged or late is counted and dropped.
  @_lifetime(copy datagram)
  public mutating func receive(_ datagram: RawSpan, on route: Route, at now: Instant) -> TURNPayload? {
    guard route == configuration.route else {
      drops[.unknownRoute] += 1
      return nil
    }
    if ChannelData.isChannelData(datagram) { return receiveChannelData(datagram) }
    do throws(ParseError) {
      let message = try STUNMessage(parsing: datagram)
      switch message.messageClass {
      case .successResponse, .errorResponse: handleResponse(message, at: now)
      case .indication where message.method == .data: return receiveIndication(message)
      case .indication, .request: drops[.unknownMethod] += 1
      }
    } catch {
      drops[.malformed] += 1
    }
    return nil
  }

  @_lifetime(copy datagram)
  private mutating func receiveChannelData(_ datagram: RawSpan) -> TURNPayload? {
    guard relayedAddress != nil else {
      drops[.inactive] += 1
      return nil
    }
    guard let message = try? ChannelData(parsing: datagram) else {
      drops[.malformed] += 1
      return nil
    }
    let number = message.channel
    // The number counts from the moment it is asked for: data may overtake the server's success.
    guard let channel = channels.first(where: { $0.number == number }) else {
      drops[.unknownChannel] += 1
      return nil
    }
    return TURNPayload(peer: channel.peer, bytes: message.payload)
  }

  @_lifetime(copy message)
  private mutating func receiveIndication(_ message: borrowing STUNMessage) -> TURNPayload? {
    guard relayedAddress != nil else {
      drops[.inactive] += 1
      return nil
    }
    guard let peer = message.xorPeerAddress, let payload = message.value(of: .data) else {
      drops[.malformed] += 1
      return nil
    }
    guard permissions.contains(where: { $0.ip == peer.ip }) else {
      drops[.unknownPeer] += 1
      return nil
    }
    return TURNPayload(peer: peer, bytes: payload)
  }

  /// Whether data may be sent to a peer now.
  public func canSend(to peer: TransportAddress) -> Bool {
    relayedAddress != nil && peer.port != 0 && permissions.contains { $0.ip == peer.ip && $0.isGranted }
  }

  /// The four bytes that turn a payload into ChannelData, most significant first, or `nil` where the peer has no
  /// channel yet: for callers that leave ``ChannelData/headerByteCount`` bytes of headroom and write the payload
  /// in place. On a stream up to three zero bytes have to follow.
  public func channelHeader(to peer: TransportAddress, payloadByteCount: Int) -> UInt32? {
    guard (0...TURNLimits.payloadByteCountMax).contains(payloadByteCount), relayedAddress != nil,
      let channel = channels.first(where: { $0.peer == peer && $0.isBound })
    else { return nil }
    return ChannelData.header(channel.number, payloadByteCount: payloadByteCount)
  }

  /// Writes a payload for a peer in the form that the server takes: ChannelData where a channel stands, else a
  /// Send indication. Returns `nil`, writes nothing and counts where the peer has no permission, or the lent
  /// memory is smaller than the payload and ``TURNLimits/overheadByteCountMax``.
  public mutating func wrap(
    _ payload: RawSpan, to peer: TransportAddress, into output: inout OutputRawSpan
  ) -> Transmit? {
    let before = output.byteCount
    guard payload.byteCount <= TURNLimits.payloadByteCountMax, canSend(to: peer) else {
      drops[.unsendable] += 1
      return nil
    }
    if let channel = channels.first(where: { $0.peer == peer && $0.isBound }) {
      let byteCount = ChannelData.byteCount(
        payloadByteCount: payload.byteCount, isPadded: configuration.isStream)
      guard output.freeCapacity >= byteCount else {
        drops[.unsendable] += 1
        return nil
      }
      ChannelData.write(payload, channel: channel.number, isPadded: configuration.isStream, into: &output)
    } else {
      let byteCount = TURNIndication.byteCount(payloadByteCount: payload.byteCount, family: peer.ip.family)
      guard output.freeCapacity >= byteCount else {
        drops[.unsendable] += 1
        return nil
      }
      let id = STUNTransactionID(prefix: UInt32(truncatingIfNeeded: random.next()), suffix: random.next())
      TURNIndication.write(.send, transactionID: id, peer: peer, payload: payload, into: &output)
    }
    return Transmit(route: configuration.route, segmentByteCount: output.byteCount - before)
  }
}
