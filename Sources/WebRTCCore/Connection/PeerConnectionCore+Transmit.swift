// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
public import SansIO

/// The way out: one function for each layer, the lowest first.
///
/// No datagram is longer than 1,200 bytes. A relay's driver adds to that 4 bytes of ChannelData, before the channel
/// stands at most 51 of a Send indication (RFC 8656 §11.5, §12.4), and a stream's or DTLS record's header: with UDP and
/// IP it stays below 1,400, which every path in use carries.
extension PeerConnectionCore {
  /// Writes the next datagrams into memory that the caller lends, 1,200 bytes at least; 12,000 to be quick with media,
  /// 57,600 with data channels.
  ///
  /// - Returns: where they go and how they are cut; `nil` when nothing is due now.
  public mutating func pollTransmit(into out: inout OutputRawSpan, at now: Instant) -> Transmit? {
    guard let transmit = pollLayers(into: &out, at: now) else { return nil }
    traffic.packetsSent += UInt64(transmit.segmentCount)
    traffic.bytesSent += UInt64(out.byteCount)
    return transmit
  }

  private mutating func pollLayers(into out: inout OutputRawSpan, at now: Instant) -> Transmit? {
    guard !isClosed else { return pollClosing(into: &out, at: now) }
    let check = ice.pollTransmit(into: &out, at: now)
    // A check that is given up only now may end the session, and a connection over TCP be wanted in its place:
    // whoever waits has to hear of it.
    if takeICEEvents(at: now) { advance(at: now) }
    if let check { return check }
    // Nothing but checks leaves without consent (RFC 7675 §5.1).
    guard let route = ice.sendRoute else { return nil }
    if let handshake = pollDTLS(into: &out, on: route, at: now) { return handshake }
    guard dtlsState == .connected else { return nil }
    return pollPayload(into: &out, on: route, at: now)
  }

  /// Reports and audio always come first; pictures and data channels take turns, burst by burst, so that neither has to
  /// wait for the other's end.
  private mutating func pollPayload(
    into out: inout OutputRawSpan, on route: Route, at now: Instant
  ) -> Transmit? {
    if isDataNext {
      if let written = media.pollTransmit(allowsPaced: false, into: &out, at: now) {
        return transmitMedia(written, on: route)
      }
      isDataNext = false
      if let burst = pollData(into: &out, on: route, at: now) { return burst }
      return pollMedia(into: &out, on: route, at: now)
    }
    if let burst = pollMedia(into: &out, on: route, at: now) {
      isDataNext = true
      return burst
    }
    return pollData(into: &out, on: route, at: now)
  }

  private mutating func pollData(
    into out: inout OutputRawSpan, on route: Route, at now: Instant
  ) -> Transmit? {
    guard let written = data.pollTransmit(through: &dtls, into: &out, at: now) else { return nil }
    return Transmit(
      route: route, segmentByteCount: written.segmentByteCount, segmentCount: written.segmentCount)
  }

  private mutating func pollDTLS(
    into out: inout OutputRawSpan, on route: Route, at now: Instant
  ) -> Transmit? {
    guard dtls != nil, dtls?.pollTransmit(into: &out, at: now) == true else { return nil }
    return Transmit(route: route, segmentByteCount: out.byteCount)
  }

  private mutating func pollMedia(
    into out: inout OutputRawSpan, on route: Route, at now: Instant
  ) -> Transmit? {
    guard let written = media.pollTransmit(allowsPaced: true, into: &out, at: now) else { return nil }
    return transmitMedia(written, on: route)
  }

  private mutating func transmitMedia(
    _ written: (segmentByteCount: Int, segmentCount: Int), on route: Route
  ) -> Transmit {
    takeMediaEvents()
    return Transmit(
      route: route, segmentByteCount: written.segmentByteCount, segmentCount: written.segmentCount)
  }

  /// After ``close(at:)``: the goodbyes, on the path that stood.
  private mutating func pollClosing(into out: inout OutputRawSpan, at now: Instant) -> Transmit? {
    guard let route = closingRoute else { return nil }
    if let goodbye = pollMedia(into: &out, on: route, at: now) { return goodbye }
    if let alert = pollDTLS(into: &out, on: route, at: now) { return alert }
    closingRoute = nil
    return nil
  }
}
