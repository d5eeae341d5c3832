// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// TCP, as far as servers behind firewalls and ICE's TCP candidates need it: connections that stand or fall with
/// ports and paths, and bytes that arrive late rather than not at all.
///
/// There are no segments or windows: what one call sends arrives in one event, each lost packet costs a
/// retransmission time-out, and a rate is shared with the datagrams of the same link.
extension SimulatedNetwork {
  /// Lets a server accept connections.
  public mutating func listen(on address: TransportAddress, in site: SiteID = .internet) {
    listeners.insert(SimulatedListener(address: address, site: site))
  }

  /// Ends ``listen(on:in:)``; connections that stand go on.
  public mutating func stopListening(on address: TransportAddress, in site: SiteID = .internet) {
    listeners.remove(SimulatedListener(address: address, site: site))
  }

  /// Opens a connection. Whether it stands, an event tells.
  ///
  /// - Parameter handshakeRoundTripCount: round trips beyond TCP's own until it is open: 1 for TLS 1.3. Nothing
  ///   is encrypted here.
  public mutating func openStream(
    from source: TransportAddress, in site: SiteID = .internet, to destination: TransportAddress,
    handshakeRoundTripCount: Int = 0, at now: Instant
  ) -> StreamID {
    let id = StreamID(number: nextStream)
    nextStream += 1
    let client = SimulatedStream.Place(address: source, site: site)
    guard isOpen(source, destination), let stream = connect(client, to: destination, at: now) else {
      post(.refused, id, .client, client, at: now + Self.streamTimeout)
      return id
    }
    guard let there = travelTime(over: stream.forth, byteCount: 40, at: now),
      let back = travelTime(over: stream.back, byteCount: 40, at: now)
    else {
      post(.refused, id, .client, client, at: now + Self.streamTimeout)
      return id
    }
    guard listeners.contains(SimulatedListener(address: destination, site: stream.server.site)) else {
      // A reset comes back at once.
      post(.refused, id, .client, client, at: now + there + back)
      return id
    }
    let opened = now + (there + back) * Int64(1 + handshakeRoundTripCount)
    streams[id] = stream
    streams[id]?.lastArrivals = [.server: opened - back, .client: opened]
    let accepted = StreamEvent.Kind.accepted(from: stream.mappedClient, on: destination)
    post(accepted, id, .server, stream.server, at: opened - back)
    post(.opened, id, .client, client, at: opened)
    return id
  }

  /// Sends bytes from one end to the other.
  public mutating func send(_ bytes: [UInt8], on id: StreamID, from end: StreamEnd, at now: Instant) {
    guard let stream = streams[id], !stream.isBroken, stream.closedEnds.isEmpty else { return }
    let links = end == .client ? stream.forth : stream.back
    guard isUsable(stream, from: end),
      let time = travelTime(over: links, byteCount: bytes.count + 40, at: now)
    else { return breakStream(id, at: now) }
    post(.received(bytes), on: id, to: end.other, at: now + time)
  }

  /// Closes a connection; the other end is told behind all that was sent before.
  public mutating func close(_ id: StreamID, from end: StreamEnd, at now: Instant) {
    guard let stream = streams[id], !stream.closedEnds.contains(end) else { return }
    streams[id]?.closedEnds.insert(end)
    let links = end == .client ? stream.forth : stream.back
    guard stream.closedEnds.isEmpty, !stream.isBroken, isUsable(stream, from: end),
      let time = travelTime(over: links, byteCount: 40, at: now)
    else { return }
    post(.closed, on: id, to: end.other, at: now + time)
  }

  /// Takes the next event of a connection that has happened by `now`.
  public mutating func receiveStreamEvent(at now: Instant) -> StreamEvent? {
    while let event = streamEvents.popFirst(at: now) {
      // Who closed wants to hear no more.
      if let stream = streams[event.stream], stream.closedEnds.contains(event.end) { continue }
      if case .received(let bytes) = event.kind, let stream = streams[event.stream] {
        note(bytes, from: stream.place(of: event.end.other).address, to: event.address, at: event.arrival)
      }
      return event
    }
    return nil
  }

  // MARK: Paths

  /// Walks from a client to a server through all borders and leaves bindings and state there.
  private mutating func connect(
    _ client: SimulatedStream.Place, to destination: TransportAddress, at now: Instant
  ) -> SimulatedStream? {
    var (source, site, target) = (client.address, client.site, destination)
    var forth: [Link] = []
    var back: [Link] = []
    var borders: [(site: SiteID, bootCount: Int)] = []
    while true {
      switch nextHop(to: target.ip, in: site) {
      case .nowhere: return nil
      case .host:
        forth.append(.inside(site, source))
        back.append(.inside(site, target))
        return SimulatedStream(
          client: client, server: SimulatedStream.Place(address: target, site: site), mappedClient: source,
          forth: forth, back: back, borders: borders)
      case .parent:
        guard sites[site.index].firewall.letsOut(source, to: target, over: .tcp, at: now) else { return nil }
        if sites[site.index].translates(source.ip.family) {
          guard let mapped = sites[site.index].nat?.translateOut(source, to: target, over: .tcp, at: now)
          else { return nil }
          source = mapped
        }
        forth.append(.up(site))
        back.append(.down(site))
        borders.append((site, sites[site.index].bootCount))
        site = sites[site.index].conditions.parent
      case .child(let child):
        if sites[child.index].translates(target.ip.family) {
          guard let inside = sites[child.index].nat?.translateIn(source, to: target, over: .tcp, at: now)
          else { return nil }
          target = inside
        }
        guard sites[child.index].firewall.letsIn(source, to: target, over: .tcp, at: now) else { return nil }
        forth += [.inside(site, source), .down(child)]
        back += [.inside(site, target), .up(child)]
        borders.append((child, sites[child.index].bootCount))
        site = child
      }
    }
  }

  /// Whether a path still leads from one end to the other.
  private func isUsable(_ stream: SimulatedStream, from end: StreamEnd) -> Bool {
    let (source, destination) = (stream.place(of: end).address, stream.place(of: end.other).address)
    return isOpen(source, destination)
      && stream.borders.allSatisfy { sites[$0.site.index].bootCount == $0.bootCount }
  }

  private mutating func breakStream(_ id: StreamID, at now: Instant) {
    streams[id]?.isBroken = true
    for end in [StreamEnd.client, .server] { post(.closed, on: id, to: end, at: now + Self.streamTimeout) }
  }

  /// How long bytes need over some links, `nil` where one of them is cut.
  private mutating func travelTime(over path: [Link], byteCount: Int, at now: Instant) -> TimeDelta? {
    var time = TimeDelta.zero
    for link in path {
      let conditions = conditions(of: link)
      guard conditions.lossProbability < 1 else { return nil }
      var state = links[link] ?? LinkState()
      // RFC 6298: a retransmission takes a round trip and 200 ms at least, as implementations have it.
      while state.losesPacket(conditions, random: &random) {
        time = time + .milliseconds(200) + conditions.delay * 2
      }
      let departure = state.departure(of: byteCount, over: conditions, isPatient: true, at: now + time)
      links[link] = state
      if let departure { time = departure - now }
      time = time + conditions.delay
    }
    return time
  }

  private func conditions(of link: Link) -> LinkConditions {
    switch link {
    case .inside(.internet, _): conditions
    case .inside(let site, _): sites[site.index].conditions.inside
    case .up(let site): sites[site.index].conditions.up
    case .down(let site): sites[site.index].conditions.down
    }
  }

  // MARK: Events

  private mutating func post(
    _ kind: StreamEvent.Kind, on id: StreamID, to end: StreamEnd, at time: Instant
  ) {
    guard let stream = streams[id] else { return }
    let arrival = max(time, stream.lastArrivals[end] ?? time)
    streams[id]?.lastArrivals[end] = arrival
    post(kind, id, end, stream.place(of: end), at: arrival)
  }

  private mutating func post(
    _ kind: StreamEvent.Kind, _ id: StreamID, _ end: StreamEnd, _ place: SimulatedStream.Place,
    at time: Instant
  ) {
    let event = StreamEvent(
      stream: id, end: end, site: place.site, address: place.address, arrival: time, kind: kind)
    streamEvents.insert(event, at: time)
  }
}
